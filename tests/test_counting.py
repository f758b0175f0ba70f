from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txinfer.counting import BLOCK, HARD_BODY, deeper_than, elements, hard_numbers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\,:a\n'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\,:'), inner),
)


def depth(value: Any) -> int:
    """By recursion, of small values."""
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


def count(value: Any) -> int:
    """Values and names, one for each value that is the first of its array."""
    if isinstance(value, list):
        return 1 + sum(map(count, value)) + max(len(value) - 1, 0)
    if isinstance(value, dict):
        inner = sum(map(count, value.values()))
        return 1 + inner + len(value) + max(len(value) - 1, 0)
    return 0


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"", 0),
        (b"1", 0),
        (b"[]", 1),
        (b"[1]", 1),
        (b"[1,2,3]", 3),
        (b"[[1],[2]]", 4),
        (b'{"a":1,"b":{}}', 5),
        (b'["a,b"]', 2),
        (b"\xff" * 100, 0),
    ],
)
def test_elements_are_values_and_names(body: bytes, found: int) -> None:
    assert elements(body) == found


@given(JSON)
def test_no_element_is_missed(value: Any) -> None:
    assert elements(json.dumps(value).encode()) >= count(value)


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_elements_of_large_bodies_are_all_counted(size: int) -> None:
    assert elements(b"," * size) == size


@given(JSON)
def test_depth_is_that_of_arrays_and_objects_not_of_text(value: Any) -> None:
    for separators in ((",", ":"), (" , ", " : ")):
        body = json.dumps(value, separators=separators).encode()
        deep = depth(value)
        assert not deeper_than(body, deep)
        assert deep == 0 or deeper_than(body, deep - 1)


@pytest.mark.parametrize("body", [b"[" * 9, b'"[[[', b'["\\', b"]]]]", b"\xff[\xff["])
def test_depth_has_an_answer_for_what_is_not_json(body: bytes) -> None:
    assert deeper_than(body, 1) in (True, False)


def numbers(number: bytes, size: int = 10 * HARD_BODY) -> bytes:
    return b"[" + b",".join([number] * (size // (len(number) + 1))) + b"]"


@pytest.mark.parametrize(
    "number",
    [
        b"1",
        b"-0.12345678901234567",
        b"1.2345678901234567e-300",
        b"123456789012345.67",
        b"0.00000000000000000000000001",
        b"1234567890123456789",
        b"-1234567890123456.0",
    ],
)
def test_numbers_as_programs_print_them_are_not_hard(number: bytes) -> None:
    assert not hard_numbers(numbers(number))


@pytest.mark.parametrize(
    "number",
    [
        b"1.234567890123456789",
        b"0.00001234567890123456789",
        b"1234567890.123456789",
        b"1234567890123456789.0",
        b"1234567890123456789e10",
        b"1234567890123456789E10",
        b"1." + b"0" * 100 + b"1",
    ],
)
def test_many_numbers_of_many_digits_are_hard(number: bytes) -> None:
    assert hard_numbers(numbers(number))
    assert not hard_numbers(numbers(number, HARD_BODY // 2))


def test_a_hard_number_is_found_where_blocks_meet() -> None:
    number = b"1.2345678901234567890"
    for shift in range(len(number) + 2):
        gap = b" " * (BLOCK - len(number) - 1)
        body = b" " * shift + (gap + number + b",") * 3000
        assert hard_numbers(body)
