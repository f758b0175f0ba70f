"""The bounds of a JSON body; what is read is tried in test_native and test_numeric."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest

from tests.memory import spec
from txinfer.errors import InferenceError, InputTooLarge, InvalidBody, TooManyElements
from txinfer.forms import Asked, Form
from txinfer.jsonin import read
from txinfer.limits import CallLimits
from txinfer.tensors import Signature

NUMBERS = Signature({"x": spec("float32", None)}, {"y": spec("float32", None)})
STRINGS = Signature({"x": spec("string", None)}, {"y": spec("string", None)})
ROWS = Signature({"x": spec("float32", (None,))}, {"y": spec("float32", (None,))})
TEXTS = Signature({"x": spec("string", (None,))}, {"y": spec("string", (None,))})


def ask(value: object, signature: Signature, **limits: Any) -> Asked:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read(body, signature, CallLimits(**limits))


def nested(depth: int, leaf: object) -> object:
    return leaf if not depth else [nested(depth - 1, leaf)]


@pytest.mark.parametrize(("signature", "leaf"), [(NUMBERS, 1), (STRINGS, "a")])
def test_json_is_as_deep_as_the_limit_and_no_deeper(
    signature: Signature, leaf: object
) -> None:
    assert ask({"x": nested(4, leaf)}, signature, json_depth=5)
    with pytest.raises(InvalidBody) as caught:
        ask({"x": nested(5, leaf)}, signature, json_depth=5)
    assert str(caught.value) == "the body is nested more than 5 deep"
    assert caught.value.status == 400


def test_objects_and_lists_of_examples_are_depth_too() -> None:
    assert ask([{"x": [[{"b64": ""}]]}], STRINGS, json_depth=5)
    with pytest.raises(InvalidBody):
        ask([{"x": [[{"b64": ""}]]}], STRINGS, json_depth=4)
    rows = b'[{"x":[1]%s}]' % (b" " * 999)
    assert ask(rows, NUMBERS, json_depth=3)
    with pytest.raises(InvalidBody):
        ask(rows, NUMBERS, json_depth=2)


def test_brackets_in_strings_are_no_depth() -> None:
    assert ask({"x": ["[" * 99, '"[' * 99, "\\["]}, STRINGS, json_depth=2)


def test_the_deepest_value_of_use_is_not_too_deep() -> None:
    body = json.dumps([{"x": nested(32, {"b64": ""})}]).encode()
    (call,) = read(body, STRINGS, CallLimits(), apart=True).calls
    assert call["x"].array.ndim == 32


def test_elements_are_as_many_as_the_limit_and_no_more() -> None:
    # {, : and [ are counted, and a comma for each string but the first.
    assert ask({"x": ["a"] * 8}, STRINGS, json_elements=10)
    with pytest.raises(TooManyElements) as caught:
        ask({"x": ["a"] * 9}, STRINGS, json_elements=10)
    assert str(caught.value) == (
        "the request body has more than 10 JSON elements"
        " and is not just numbers in regular arrays"
    )
    assert caught.value.status == 413


def test_numbers_alone_may_be_more() -> None:
    limits = {"json_elements": 10, "json_numbers": 20}
    assert ask({"x": [1.5] * 18}, NUMBERS, **limits)
    many: list[list[Any]] = [[1.5] * 19, ["a"] * 19, [None] * 19]
    for value in many:
        with pytest.raises(TooManyElements) as caught:
            ask({"x": value}, NUMBERS, **limits)
        assert str(caught.value) == "the request body has more than 20 JSON elements"
    for odd in ([1], "a", True):
        with pytest.raises(TooManyElements, match="not just numbers"):
            ask({"x": [1.5] * 16 + [odd]}, NUMBERS, **limits)


def test_numbers_alone_are_told_of_their_shape_and_range_however_many() -> None:
    limits = {"json_elements": 10, "json_numbers": 1000}
    for value, why in (
        ([[1]] * 99, r"expected shape \[-1\], got \[99, 1\]"),
        ([1] * 98 + [1e300], r"'x'\[98\]: outside the range of float32"),
    ):
        with pytest.raises(InferenceError, match=why):
            ask({"x": value}, ROWS, **limits)


def test_what_no_element_is_counted_in_is_not_json() -> None:
    with pytest.raises(InvalidBody, match="not JSON"):
        ask(b"x" * 1000, STRINGS, json_elements=10)


@pytest.mark.parametrize(("signature", "leaf"), [(ROWS, 1.5), (TEXTS, "a")])
@pytest.mark.parametrize("padding", [b"", b" " * 9999])
def test_a_list_has_as_many_rows_as_the_limit_and_no_more(
    signature: Signature, leaf: object, padding: bytes
) -> None:
    body = json.dumps([{"x": leaf}] * 5).encode() + padding
    asked = ask(body, signature, request_rows=5)
    assert (asked.form, asked.rows) == (Form.ROWS, 5)
    with pytest.raises(InputTooLarge) as caught:
        ask(body, signature, request_rows=4)
    assert str(caught.value) == "more than 4 rows in one request"
    assert caught.value.status == 413


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        ask({"x": ["a"]}, STRINGS)
        assert gc.isenabled() == enabled
        with pytest.raises(InvalidBody):
            ask(b"{", STRINGS)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
