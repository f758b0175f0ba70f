from __future__ import annotations

import base64
import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.arrays import FLOATS, INTEGERS, TYPES, arrays, same, spec
from txinfer.errors import InvalidBody, InvalidInput
from txinfer.jsonout import jsonable
from txinfer.tensors import MAX_RANK, Array, Shape, TensorSpec
from txinfer.values import conform, depth, dumps, loads, parse

ANY: Shape | None = None


def read(type: str, value: object, shape: Shape | None = ANY) -> Array:
    """The array that a value is read as, which must be complete."""
    parsed = parse("x", spec(type, shape), value)
    assert not parsed.urls
    assert parsed.array.dtype == spec(type).dtype
    return parsed.array


def refusal(type: str, value: object, shape: Shape | None = ANY) -> InvalidInput:
    """Why a value is refused."""
    with pytest.raises(InvalidInput) as caught:
        parse("x", spec(type, shape), value)
    assert caught.value.input == "x"
    return caught.value


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,]",
        b"{'x': 1}",
        b"NaN",
        b"[Infinity]",
        b"[1e999]",
        b"01",
        b"+1",
        b"1 2",
        b'"\xff"',
        b'"\\ud800"',
        b'"\n"',
        b"\xef\xbb\xbf{}",
        '{"x": 1}'.encode("utf-16"),
        b"[" * 100_000,
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody, match="the body is not JSON: "):
        loads(body)


def test_a_refusal_of_json_does_not_echo_it() -> None:
    with pytest.raises(InvalidBody) as caught:
        loads(b'{"x": secret}')
    assert "secret" not in str(caught.value)


def test_json_integers_are_exact() -> None:
    big = 2**64 - 1
    assert loads(b"[%d, %d]" % (big, -(2**63))) == [big, -(2**63)]


@pytest.mark.parametrize(
    ("value", "lists"),
    [(1, 0), ({"b64": ""}, 0), ([], 1), ([1], 1), ([[], 1], 2), (([1],), 2), ("ab", 0)],
)
def test_depth_counts_the_lists_around_the_first_leaf(
    value: object, lists: int
) -> None:
    assert depth(value) == lists


# Shapes


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize(
    ("value", "shape"), [([], (0,)), ([[], []], (2, 0)), ([[[]]], (1, 1, 0))]
)
def test_empty_lists_are_empty_dimensions(
    type: str, value: object, shape: Shape
) -> None:
    assert read(type, value).shape == shape


def test_lists_nest_as_dimensions() -> None:
    assert read("int32", 7).shape == ()
    assert read("int32", [[1, 2, 3], [4, 5, 6]]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read("int32", ((1,), (2,))).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("value", "index"),
    [
        ([1, [2]], (1,)),
        ([[1], 2], (1,)),
        ([[1, 2], [3]], (1,)),
        ([[1], [2, 3]], (1,)),
        ([[], [1]], (1,)),
        ([[[1, 2]], [[3, 4]], [[5]]], (2, 0)),
        ([[[1], [2]], [[3], 4]], (1, 1)),
        ([[[1], [2]], [[3], []]], (1, 1)),
        ([[[1]], [[2]], [[3], [4]]], (2,)),
        ([[1], None], (1,)),
        ([[1], {"a": 2}], (1,)),
    ],
)
@pytest.mark.parametrize("type", ["int32", "float32", "string", "bool"])
def test_ragged_lists_are_refused_where_they_differ(
    type: str, value: object, index: tuple[int, ...]
) -> None:
    error = refusal(type, value)
    assert (error.why, error.index) == (
        "not as long as its neighbours (ragged)",
        index,
    )


@pytest.mark.parametrize(
    ("shape", "value", "why"),
    [
        ((None,), 1, "expected shape [-1], got []"),
        ((None,), [[1]], "expected shape [-1], got [1, 1]"),
        ((None, 3), [1, 2, 3], "expected shape [-1, 3], got [3]"),
        ((None, 3), [[1, 2]], "expected shape [-1, 3], got [1, 2]"),
        ((None, 3), [], "expected shape [-1, 3], got [0]"),
        ((None, None), [1], "expected shape [-1, -1], got [1]"),
        ((2,), [1], "expected shape [2], got [1]"),
        ((), [1], "expected shape [], got [1]"),
    ],
)
def test_a_wrong_shape_is_refused_with_both_shapes(
    shape: Shape, value: object, why: str
) -> None:
    error = refusal("int32", value, shape)
    assert (error.why, error.index) == (why, ())
    assert str(error) == f"input 'x': {why}"


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_nesting_has_an_end() -> None:
    assert read("int32", nested(MAX_RANK)).ndim == MAX_RANK
    assert refusal("int32", nested(MAX_RANK + 1)).why == "nested more than 32 deep"
    assert refusal("int32", nested(100_000)).why == "nested more than 32 deep"


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    assert refusal("int32", value).why == "nested more than 32 deep"


# Leaves


@pytest.mark.parametrize("type", INTEGERS)
def test_integers_are_taken_in_their_whole_range(type: str) -> None:
    bounds = np.iinfo(type)
    values = [int(bounds.min), 0, 1, int(bounds.max)]
    assert read(type, values).tolist() == values


@pytest.mark.parametrize("type", INTEGERS)
@pytest.mark.parametrize("past", [1, 10**30])
def test_integers_out_of_range_are_refused(type: str, past: int) -> None:
    bounds = np.iinfo(type)
    for value in (int(bounds.max) + past, int(bounds.min) - past):
        error = refusal(type, [[0], [value]])
        assert (error.why, error.index) == (f"outside the range of {type}", (1, 0))


def test_300_is_no_uint8() -> None:
    assert str(refusal("uint8", [1, 300])) == (
        "input 'x'[1]: outside the range of uint8"
    )


@pytest.mark.parametrize("type", ["int64", "uint64", "string"])
def test_integers_are_exact_beyond_doubles(type: str) -> None:
    value = 2**53 + 1
    if type == "string":
        assert refusal(type, value).why == "expected a string, got an integer"
    else:
        assert read(type, value).tolist() == value


@pytest.mark.parametrize("type", INTEGERS)
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (1.5, "a float"),
        (1.0, "a float"),
        (math.nan, "a float"),
        (True, "a boolean"),
        ("1", "a string"),
        (None, "null"),
        ({}, "an object"),
        (b"1", "another type"),
        (1j, "another type"),
    ],
)
def test_only_an_integer_is_an_integer(type: str, value: object, got: str) -> None:
    error = refusal(type, [0, value])
    assert (error.why, error.index) == (f"expected an integer, got {got}", (1,))


@pytest.mark.parametrize("type", FLOATS)
@pytest.mark.parametrize(
    ("value", "got"),
    [
        (True, "a boolean"),
        ("5", "a string"),
        ("NaN", "a string"),
        (None, "null"),
        ({"b64": ""}, "an object"),
        (b"1", "another type"),
        (1j, "another type"),
    ],
)
def test_only_a_number_is_a_float(type: str, value: object, got: str) -> None:
    error = refusal(type, [[0.5, value]])
    assert (error.why, error.index) == (f"expected a number, got {got}", (0, 1))


@pytest.mark.parametrize("type", FLOATS)
def test_floats_take_integers_too(type: str) -> None:
    assert read(type, [1, 2.5, -3]).astype(float).tolist() == [1.0, 2.5, -3.0]


@pytest.mark.parametrize(
    ("type", "largest", "too_large"),
    [
        ("float16", 65504.0, 65520.0),
        ("bfloat16", 3.3895313892515355e38, 3.4e38),
        ("float32", 3.4028234663852886e38, 1e39),
        ("float64", 1.7976931348623157e308, 10**309),
    ],
)
def test_floats_out_of_range_are_refused(
    type: str, largest: float, too_large: float
) -> None:
    assert float(read(type, largest)) == largest
    for sign in (1, -1):
        error = refusal(type, [[sign * largest, sign * too_large]])
        assert (error.why, error.index) == (f"outside the range of {type}", (0, 1))


@pytest.mark.parametrize("type", FLOATS)
def test_huge_integers_are_out_of_the_range_of_floats(type: str) -> None:
    error = refusal(type, [0, -(10**400)])
    assert (error.why, error.index) == (f"outside the range of {type}", (1,))


@pytest.mark.parametrize("type", FLOATS)
def test_floats_of_python_need_not_be_finite(type: str) -> None:
    values = read(type, [math.inf, -math.inf, math.nan]).astype(float).tolist()
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])


@pytest.mark.parametrize("value", [0, 1, "true", None, 1.0, {}])
def test_only_a_boolean_is_a_boolean(value: object) -> None:
    assert read("bool", [True, False]).tolist() == [True, False]
    error = refusal("bool", [True, value])
    assert error.why.startswith("expected a boolean, got ")
    assert error.index == (1,)


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("", b""),
        ("é✓😀", "é✓😀".encode()),
        ("a\0", b"a\0"),
        (b"\xff\0", b"\xff\0"),
        ({"b64": "/wA="}, b"\xff\0"),
        ({"b64": ""}, b""),
    ],
)
def test_strings_are_text_or_bytes(value: object, taken: bytes) -> None:
    array = read("string", [[value, "x"]])
    assert array.shape == (1, 2)
    assert array.tolist() == [[taken, b"x"]]
    assert read("string", value).tolist() == taken


@pytest.mark.parametrize("value", [1, 1.5, True, None])
def test_only_a_string_is_a_string(value: object) -> None:
    error = refusal("string", ["a", value])
    assert error.why.startswith("expected a string, got ")
    assert error.index == (1,)


@pytest.mark.parametrize(
    "value",
    [
        "!",
        "YQ",
        "YQ=",
        "YQ==YQ==",
        "Y Q==",
        "YQ==\n",
        "_-8=",
        "é",
        "=",
        "Y",
        "YWFh=",
        "YQ===",
        "YQ==YWFh",
        "YWFh" * 99 + "!",
        "YWFh" * 99 + " YWFh",
        "\n" + "YWFh" * 99,
    ],
)
def test_base64_is_strict(value: str) -> None:
    error = refusal("string", ["a", {"b64": value}])
    assert (error.why, error.index) == ("not base64 (RFC 4648, padded)", (1,))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"b64": 1},
        {"b64": None},
        {"b64": "", "url": ""},
        {"b64": "", "x": 1},
        {"url": 1},
        {"url": ["http://a"]},
        {"B64": ""},
        {"x": "y"},
    ],
)
def test_other_objects_are_refused(value: object) -> None:
    error = refusal("string", [["a"], [value]])
    assert error.why.startswith("an object here is ")
    assert error.index == (1, 0)


def test_text_that_is_not_unicode_is_refused() -> None:
    error = refusal("string", ["a", "\ud800"])
    assert (error.why, error.index) == ("the text is not encodable as UTF-8", (1,))


def test_urls_leave_holes() -> None:
    value = [["a", {"url": "http://a"}], [{"url": "http://b"}, {"b64": "YQ=="}]]
    parsed = parse("x", spec("string"), value)
    assert parsed.urls == ((1, "http://a"), (2, "http://b"))
    assert parsed.array.tolist() == [[b"a", b""], [b"", b"a"]]
    assert parse("x", spec("string"), {"url": "u"}).urls == ((0, "u"),)


def test_errors_do_not_echo_values() -> None:
    for type in TYPES:
        for value in (["secret", ["secret"]], {"secret": "secret"}, {"b64": "secret"}):
            assert "secret" not in str(refusal(type, value))


# Python's values


def taken(type: str, value: object, shape: Shape | None = ANY) -> Array:
    parsed = conform("x", spec(type, shape), value)
    assert not parsed.urls
    assert parsed.array.dtype == spec(type).dtype
    return parsed.array


def rejected(type: str, value: object, shape: Shape | None = ANY) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        conform("x", spec(type, shape), value)
    assert caught.value.input == "x"
    return caught.value


@given(arrays())
def test_an_array_of_the_right_dtype_is_taken_as_it_is(
    given: tuple[str, Array],
) -> None:
    type, array = given
    assert same(taken(type, array), array)
    assert same(taken(type, array, array.shape), array)


@given(arrays())
def test_a_list_of_rows_is_their_array(given: tuple[str, Array]) -> None:
    type, array = given
    if array.ndim:
        assert same(taken(type, [*array]), array)


def test_an_array_is_not_copied() -> None:
    array = np.zeros((2, 3), np.float32)
    assert taken("float32", array) is array


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (np.array([1, 2], np.int16), "int64"),
        (np.array([1, 200], np.int64), "uint8"),
        (np.array([1, 2], ">i4"), "int32"),
        (np.array([1, 2], np.float64), "float32"),
        (np.array([1, 2], np.float32), "float64"),
        (np.array([1, 2], np.float64), "bfloat16"),
        (np.array([1, 2], ml_dtypes.bfloat16), "float32"),
        (np.array([1, 2], np.uint8), "float16"),
        (np.array([1, 2], object), "int32"),
        ([np.int64(1), 2], "int32"),
        ([1.0, np.float64(2)], "float32"),
        ((np.array(1), np.array(2)), "int32"),
    ],
)
def test_other_dtypes_are_converted_where_no_value_changes(
    value: object, type: str
) -> None:
    array = taken(type, value)
    assert array.shape == (2,)
    assert float(array[1]) in (2.0, 200.0)


@pytest.mark.parametrize(
    ("value", "type", "why", "index"),
    [
        (np.array([1.0]), "int32", "expected an integer, got a float", (0,)),
        (np.array([1, 300]), "uint8", "outside the range of uint8", (1,)),
        (np.array([[-1]]), "uint64", "outside the range of uint64", (0, 0)),
        (np.array([True]), "int32", "expected an integer, got a boolean", (0,)),
        (np.array([True]), "float32", "expected a number, got a boolean", (0,)),
        (np.array([1]), "bool", "expected a boolean, got an integer", (0,)),
        (np.array([0, 1e39]), "float32", "outside the range of float32", (1,)),
        (np.array(["1"]), "int32", "expected an integer, got a string", (0,)),
        (np.array([1]), "string", "expected a string, got an integer", (0,)),
        (np.array([1j]), "float32", "expected a number, got another type", (0,)),
        ([True, np.int64(2)], "int64", "expected an integer, got a boolean", (0,)),
        ([np.int64(2), 1.5], "int64", "expected an integer, got a float", (1,)),
        ([np.int64(1), "2"], "string", "expected a string, got an integer", (0,)),
    ],
)
def test_other_dtypes_are_refused_where_a_value_would_change(
    value: object, type: str, why: str, index: tuple[int, ...]
) -> None:
    error = rejected(type, value)
    assert (error.why, error.index) == (why, index)


def test_rows_of_different_dtypes_do_not_change_each_other() -> None:
    big = 2**64 - 1
    assert taken("uint64", [np.uint64(big), np.int8(1)]).tolist() == [big, 1]
    assert taken("int64", [np.int64(2**53 + 1), 1]).tolist() == [2**53 + 1, 1]


def test_strings_come_in_any_of_numpys_kinds() -> None:
    wanted = [b"a", "é".encode()]
    assert taken("string", np.array(["a", "é"])).tolist() == wanted
    assert taken("string", np.array(wanted)).tolist() == wanted
    assert taken("string", np.array(["a", wanted[1]], object)).tolist() == wanted
    assert taken("string", [np.str_("a"), np.bytes_(wanted[1])]).tolist() == wanted
    assert taken("string", ["a", np.str_("é")]).tolist() == wanted
    assert taken("string", np.str_("a")).tolist() == b"a"


def test_strings_keep_their_last_zeros() -> None:
    assert taken("string", [b"a\0", np.str_("b")]).tolist() == [b"a\0", b"b"]
    assert taken("string", np.array([b"a\0"], object)).tolist() == [b"a\0"]


def test_python_may_give_urls_too() -> None:
    parsed = conform("x", spec("string"), ["a", {"url": "http://a"}])
    assert parsed.urls == ((1, "http://a"),)


@pytest.mark.parametrize(
    "value", [[np.zeros(2), np.zeros(3)], [np.zeros(2), 0.0], [np.zeros(2), [0.0]]]
)
def test_rows_of_different_shapes_are_refused(value: object) -> None:
    error = rejected("float64", value)
    assert (error.why, error.index) == (
        "not as long as its neighbours (ragged)",
        (1,),
    )


def test_an_array_of_a_wrong_shape_is_refused() -> None:
    array = np.zeros((2, 3), np.float32)
    why = "expected shape [-1, 4], got [2, 3]"
    assert rejected("float32", array, (None, 4)).why == why
    assert rejected("float64", array, (None, 4)).why == why
    assert rejected("float32", [*array], (None, 4)).why == why


@pytest.mark.parametrize("value", [object(), {1, 2}, range(3), "ab"])
def test_what_is_no_number_is_refused(value: object) -> None:
    assert rejected("int32", value).index == ()


def test_base64_round_trips_any_bytes() -> None:
    every = bytes(range(256))
    value = {"b64": base64.b64encode(every).decode()}
    assert read("string", value).tolist() == every


@given(st.floats(-3e38, 3e38))
def test_a_bfloat16_is_the_nearest_to_the_number_sent(number: float) -> None:
    nearest = TensorSpec("bfloat16", np.dtype(ml_dtypes.bfloat16), ())
    found = parse("x", nearest, number).array
    for neighbour in (np.inf, -np.inf):
        other = np.nextafter(found, ml_dtypes.bfloat16(neighbour))
        if np.isfinite(other):
            assert abs(float(found) - number) <= abs(float(other) - number)


def test_a_bfloat16_is_rounded_only_once() -> None:
    spec = TensorSpec("bfloat16", np.dtype(ml_dtypes.bfloat16), (None,))
    found = parse("x", spec, [1.0039062501, -1.0039062501, -0.0]).array
    assert dumps(jsonable(spec, found)) == b"[1.01,-1.01,-0.0]"


def test_masked_arrays_are_refused() -> None:
    spec = TensorSpec("float32", np.dtype(np.float32), (None,))
    masked = np.ma.array([1, 2], np.float32, mask=[False, True])
    with pytest.raises(InvalidInput, match="masked"):
        conform("x", spec, masked)
