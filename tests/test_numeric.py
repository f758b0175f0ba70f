"""The short way decides as the long way does, or leaves it to it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.arrays import FLOATS, INTEGERS, spec
from txinfer import numeric
from txinfer.errors import InferenceError
from txinfer.forms import Asked, Form
from txinfer.jsonin import read, read_any
from txinfer.limits import CallLimits
from txinfer.tensors import Shape, Signature

LIMITS = CallLimits()

NUMBERS = INTEGERS + FLOATS


def signature(**inputs: tuple[str, Shape | None]) -> Signature:
    """A signature with one output that has rows."""
    specs = {name: spec(*pair) for name, pair in inputs.items()}
    return Signature(specs, {"y": spec("float32", (None,))})


def told(asked: Asked) -> object:
    """All that there is to be known of it."""
    calls = [
        [
            (name, array.dtype, array.shape, array.tobytes())
            for name, (array, _) in call.items()
        ]
        for call in asked.calls
    ]
    return asked.form, calls, asked.rows, asked.apart, asked.wrapped


def outcome(way: Any, *args: Any) -> object:
    """What is read, or why nothing is."""
    try:
        return told(way(*args))
    except InferenceError as error:
        return type(error), str(error)


def same_both_ways(
    body: bytes, signed: Signature, transpose: bool = False, apart: bool = False
) -> object:
    """What both ways make of a body."""
    args = body, signed, LIMITS, transpose, apart
    short, long = outcome(read, *args), outcome(read_any, *args)
    again = outcome(read, *args)
    assert short == long == again
    return long


def is_short(body: bytes, signed: Signature) -> bool:
    """Whether a body is read the short way."""
    return numeric.read(body, signed) is not None


# What is plain

VECTORS = signature(x=("float32", (None, 2)))


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":[[1,2.5]]}',
        b'{"x":[[1,2.5],[3e2,-4]]}',
        b' {\t"x" :\r\n[ [ 1 , 2.5 ] , [3,4] ] } ',
        b'{"x":[1,2]}',
        b'[{"x":[1.0000000000000000000000000001,2.0000000000000000000000000001]}]',
    ],
)
@pytest.mark.parametrize("transpose", [False, True])
def test_arrays_of_numbers_are_read_the_short_way(body: bytes, transpose: bool) -> None:
    assert is_short(body, VECTORS)
    same_both_ways(body, VECTORS, transpose)
    same_both_ways(body, VECTORS, transpose, apart=True)


@pytest.mark.parametrize("type", NUMBERS)
def test_every_type_of_number_has_a_short_way(type: str) -> None:
    signed = signature(x=(type, (None,)))
    for body in (b'{"x":[1,2]}', b'{"x":7}', b'{"x":[[0]]}'):
        assert is_short(body, signed)
        same_both_ways(body, signed)


def test_several_inputs_have_a_short_way_in_any_order() -> None:
    signed = signature(a1=("int32", (None,)), a2=("float64", (None, None)))
    rows = [b'{"a1":%d,"a2":[1%s]}' % (n, b",2" * 80) for n in range(9)]
    for body in (
        b'{"a1":[1,2],"a2":[[1.5],[2]]}',
        b'{"a2":[[1.5],[2]],"a1":[1,2]}',
        b'{"a2":[1.5,2],"a1":1}',
        b"[" + b",".join(rows) + b"]",
    ):
        assert is_short(body, signed)
        same_both_ways(body, signed)


def test_numbers_keep_their_place() -> None:
    body = json.dumps({"x": np.arange(24).reshape(2, 3, 4).tolist()}).encode()
    asked = read(body, signature(x=("int64", (None, 3, 4))), LIMITS)
    (call,) = asked.calls
    assert asked.form is Form.COLUMNS
    assert call["x"].array.tolist() == np.arange(24).reshape(2, 3, 4).tolist()


# What is not

ODD = [
    "true",
    "false",
    "null",
    '"1"',
    "{}",
    "[]",
    "[1]",
    "1.0",
    "-0",
    "-0.0",
    "1e3",
    "1e400",
    "-1e-400",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1" * 400,
    "NaN",
    "01",
    "1.",
    "+1",
    "1 2",
    "1,",
    "[[",
    "]",
    "65504.1",
    "65520",
    "3.4028235677973366e+38",
    "1e39",
    "256",
    "-1",
    '{"b64":""}',
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("type", NUMBERS)
def test_an_odd_value_among_numbers_is_judged_alike(type: str, odd: str) -> None:
    signed = signature(x=(type, (None, 2)))
    for text in (
        '{"x":%s}',
        '{"x":[%s]}',
        '{"x":[[1,%s]]}',
        '{"x":[[%s,1],[2,3]]}',
        '{"x":[1,%s]}',
        '[{"x":[1,%s]},{"x":[2,3]}]',
        "[%s]",
        "%s",
    ):
        body = (text % odd).encode()
        for apart in (False, True):
            same_both_ways(body, signed, False, apart)
            same_both_ways(body, signed, True, apart)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"[{}]",
        b'{"x":[]}',
        b'{"x":[[]]}',
        b'{"x":[[],[1]]}',
        b'{"x":[[1],[]]}',
        b'{"x":[[1,2],[3]]}',
        b'{"x":[[1],[2,3]]}',
        b'{"x":[[1],2]}',
        b'{"x":[1,[2]]}',
        b'{"x":[[[1],[2]],[[3]]]}',
        b'{"x":[1],"x":[2]}',
        b'{"x":[1],"y":[2]}',
        b'{"y":[1]}',
        b'{"\\u0078":[1]}',
        b'{"x1":[1]}',
        b'{"x ":[1]}',
        b'\xef\xbb\xbf{"x":[1]}',
        b'{"x":[1]}\0',
        b'{"x":[1]} {"x":[1]}',
        b'{"x":[1]}}',
        b'{"x":[1]',
        b'{"x":[1}',
        b'{"x":\xa0[1]}',
        b'{"x":\x0c[1]}',
        b"{'x':[1]}",
        b"{x:[1]}",
        b'[{"x":[1]},[1]]',
        b'[{"x":[1]},1]',
        b'[{"x":[1]},{"x":[1],"x":[1]}]',
        b'[{"x":[1]},{"y":[1]}]',
        b'[{"x":[1]},{"x":[]}]',
        b'[[{"x":[1]}]]',
        b"[[1]]",
        b"1",
        b'"x"',
        b'{"x":' + b"[" * 33 + b"1" + b"]" * 33 + b"}",
        b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(body: bytes) -> None:
    for shape in ((None,), (None, 1), (None, None), None, ()):
        signed = signature(x=("float32", shape))
        assert not is_short(body, signed)
        same_both_ways(body, signed)


@pytest.mark.parametrize("type", ["string", "bool"])
def test_strings_and_booleans_have_only_the_long_way(type: str) -> None:
    signed = signature(x=("float32", (None,)), z=(type, (None,)))
    body = json.dumps({"x": [1], "z": [True if type == "bool" else "a"]}).encode()
    assert not is_short(body, signed)
    same_both_ways(body, signed)


@pytest.mark.parametrize(
    "name", ["x\\u", "\\", '"', "a b", "1", "é", "\n", "", "e-1", "[", ",", "}", "😀"]
)
def test_any_name_will_do(name: str) -> None:
    signed = signature(**{name: ("float32", (None, 1)), "x": ("int8", (None,))})
    for raw in (True, False):
        for value in ({name: [[1]], "x": [1]}, {"x": 1, name: [2]}):
            body = json.dumps(value, ensure_ascii=raw).encode()
            same_both_ways(body, signed)
            read(body, signed, LIMITS)
            same_both_ways(b"[" + body + b"," + body + b"]", signed)


def test_names_that_differ_in_digits_are_told_apart() -> None:
    signed = signature(x1=("float32", (None,)), x2=("float32", (None,)))
    for body in (
        b'{"x1":[1],"x1":[2]}',
        b'{"x1":[1],"x3":[2]}',
        b'[{"x1":1,"x2":2},{"x2":3,"x1":4}]',
        b'[{"x1":1,"x2":2},{"x1":3,"x1":4}]',
        b'[{"x1":[1%(z)s],"x2":[2%(z)s]},{"x2":[3%(z)s],"x2":[4%(z)s]}]'
        % {b"z": b" " * 999},
    ):
        same_both_ways(body, signed)
    body = b'{"x2":[1],"x1":[2]}'
    (call,) = read(body, signed, LIMITS).calls
    assert [parsed.array.tolist() for parsed in call.values()] == [[2.0], [1.0]]


@pytest.mark.parametrize("digits", [17, 18, 19, 20, 40])
def test_numbers_of_many_digits_are_rounded_alike(digits: int) -> None:
    # Halfway between doubles, where the nearest is hardest to tell.
    signed = signature(x=("float64", (None,)))
    number = b"1.00000000000000011102230246251565404236316680908203125"
    numbers = [number[: digits + 1] + b"e%d" % n for n in range(-300, 300)]
    body = b'{"x":[' + b",".join(numbers * 30) + b"]}"
    assert is_short(body, signed) == (digits < 18)
    same_both_ways(body, signed)


# Everything else

WHITE = st.text(" \t\r\n", max_size=2)


@st.composite
def nested(draw: st.DrawFn, shape: Sequence[int]) -> str:
    """An array of numbers as JSON, its white space and forms of numbers mixed."""
    if not shape:
        return draw(
            st.integers(-300, 300).map(str)
            | st.integers(-(2**64), 2**64).map(str)
            | st.floats(allow_nan=False, allow_infinity=False).map(repr)
            | st.floats(width=16, allow_nan=False, allow_infinity=False).map(repr)
        )
    items = [draw(nested(shape[1:])) for _ in range(shape[0])]
    return "[" + f"{draw(WHITE)},{draw(WHITE)}".join(items) + draw(WHITE) + "]"


@st.composite
def bodies(draw: st.DrawFn) -> tuple[Signature, bytes]:
    """A signature of numbers, and a body that fits it, or nearly so."""
    inputs: dict[str, tuple[str, Shape | None]] = {}
    values: dict[str, Sequence[int]] = {}
    for name in draw(st.lists(st.sampled_from(["x", "x1", "é", "a-b"]), unique=True)):
        shape = draw(st.lists(st.sampled_from([1, 2, 3, 1, 2, 3, 0]), max_size=3))
        known = [draw(st.sampled_from([size, size, None])) for size in shape]
        free: list[int | None] = draw(st.sampled_from([[None], [None], [2], []]))
        inputs[name] = draw(st.sampled_from(NUMBERS)), (*free, *known)
        values[name] = shape
    count = draw(st.integers(1, 3))
    form = draw(st.sampled_from(Form))
    outer = [count] if form is Form.COLUMNS else []

    def example() -> str:
        names = draw(st.permutations(list(values)))
        items = [
            f"{draw(WHITE)}{json.dumps(name, ensure_ascii=False)}:"
            f"{draw(nested([*outer, *values[name]]))}"
            for name in names
        ]
        return "{" + ",".join(items) + "}" + draw(WHITE)

    text = example()
    if form is Form.ROWS:
        padding = " " * draw(st.sampled_from([0, 800]))
        text = f"[{','.join([text, *(example() for _ in range(count - 1))])}{padding}]"
    return signature(**inputs), text.encode()


@given(bodies(), st.booleans(), st.booleans())
def test_both_ways_agree_on_what_fits(
    given: tuple[Signature, bytes], transpose: bool, apart: bool
) -> None:
    signed, body = given
    same_both_ways(body, signed, transpose, apart)


@given(
    bodies(),
    st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.integers(0, 3),
            st.sampled_from(
                [*(t.encode() for t in ODD), *map(bytes, zip(b'{}[],:"1e.-')), b""]
            ),
        ),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
@settings(max_examples=400)
def test_both_ways_agree_on_what_nearly_fits(
    given: tuple[Signature, bytes], edits: list[tuple[int, int, bytes]], apart: bool
) -> None:
    signed, body = given
    for place, cut, insert in edits:
        place %= len(body) + 1
        body = body[:place] + insert + body[place + cut :]
    same_both_ways(body, signed, False, apart)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example([math.nextafter(1, 2), 5e-324, 1.7976931348623157e308])
def test_doubles_are_read_to_the_bit(values: list[float]) -> None:
    signed = signature(x=("float64", (None,)))
    body = json.dumps({"x": values}).encode()
    assert is_short(body, signed)
    (call,) = read(body, signed, LIMITS).calls
    assert call["x"].array.tobytes() == np.array(values).tobytes()
