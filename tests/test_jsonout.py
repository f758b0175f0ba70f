from __future__ import annotations

import json as plain_json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.arrays import FLOATS, TYPES, arrays, same, spec
from txinfer import jsonin
from txinfer.forms import Form
from txinfer.jsonout import jsonable, weight, write
from txinfer.limits import CallLimits
from txinfer.tensors import Array, Shape, Signature, Tensors
from txinfer.values import dumps, loads, parse


def text(type: str, array: object) -> bytes:
    """The JSON of an array."""
    wanted = spec(type)
    return dumps(jsonable(wanted, np.asarray(array, wanted.dtype)))


def read(type: str, value: object) -> Array:
    return parse("x", spec(type), value).array


# Arrays


def test_integers_are_exact_beyond_doubles() -> None:
    for type in ("int64", "uint64"):
        assert text(type, [2**53 + 1]) == b"[9007199254740993]"


@pytest.mark.parametrize(
    ("type", "value", "json"),
    [
        ("float16", 0.1, b"0.1"),
        ("float16", 65504, b"65500.0"),
        ("float16", 6e-8, b"6e-8"),
        ("bfloat16", 0.1, b"0.1"),
        ("bfloat16", 3.3895313892515355e38, b"3.39e+38"),
        ("float32", 0.1, b"0.1"),
        ("float32", 16777216, b"16777216.0"),
        ("float32", 1e-45, b"1e-45"),
        ("float64", 0.1, b"0.1"),
        ("float64", 5e-324, b"5e-324"),
    ],
)
def test_floats_are_written_in_the_shortest_text_of_their_dtype(
    type: str, value: float, json: bytes
) -> None:
    assert text(type, value) == json
    assert text(type, [[value]]) == b"[[" + json + b"]]"
    assert read(type, loads(json)) == np.asarray(value, spec(type).dtype)


@pytest.mark.parametrize("type", FLOATS)
def test_there_is_null_for_what_json_has_no_number_for(type: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        assert text(type, value) == b"null"
        assert text(type, [1, value]) == b"[1.0,null]"


@pytest.mark.parametrize("type", FLOATS)
def test_the_sign_of_zero_is_kept(type: str) -> None:
    assert text(type, [0.0, -0.0, 0.0]) == b"[0.0,-0.0,0.0]"


def test_booleans_are_written_as_such() -> None:
    assert text("bool", [True, False]) == b"[true,false]"
    assert text("bool", True) == b"true"


@pytest.mark.parametrize("type", TYPES)
def test_empty_dimensions_are_empty_lists(type: str) -> None:
    assert text(type, np.zeros((0, 3))) == b"[]"
    assert text(type, np.zeros((2, 0))) == b"[[],[]]"
    assert text(type, np.zeros((2, 0, 3))) == b"[[],[]]"


def test_bytes_that_are_not_text_are_written_as_base64() -> None:
    values = [b"a", "é".encode(), b"\xff", b"\xed\xa0\x80", b"\0", b""]
    assert loads(text("string", values)) == [
        "a",
        "é",
        {"b64": "/w=="},
        {"b64": "7aCA"},
        "\0",
        "",
    ]
    assert text("string", b"\xff") == b'{"b64":"/w=="}'


@pytest.mark.parametrize("type", ["int32", "float16", "float32", "bfloat16"])
def test_arrays_of_any_layout_are_written(type: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(spec(type).dtype)
    for view in (array.T, array[:, ::-1, ::2], array[..., 1], array[1]):
        assert loads(text(type, view)) == view.astype(float).tolist()


@given(arrays())
@example(("uint64", np.array([2**64 - 1], np.uint64)))
@example(("int64", np.array(-(2**63))))
@example(("float32", np.array(-0.0, np.float32)))
def test_json_gives_back_every_array(given: tuple[str, Array]) -> None:
    type, array = given
    json = dumps(jsonable(spec(type), array))
    assert same(read(type, loads(json)), array)


@pytest.mark.parametrize("type", ["float16", "bfloat16"])
def test_json_gives_back_every_16_bit_float(type: str) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(spec(type).dtype)
    finite = every[np.isfinite(every.astype(np.float32))]
    assert same(read(type, loads(text(type, finite))), finite)


# Answers


def signature(shape: Shape = (None,), **outputs: str) -> Signature:
    """A signature with outputs of these types, all of one shape."""
    specs = {name: spec(type, shape) for name, type in outputs.items()}
    return Signature({"x": spec("float32", shape)}, specs)


TWO = signature(a="float32", b="string")
TWO_OUT: Tensors = {
    "b": np.array([b"s", b"\xff"], object),
    "a": np.array([1, 2.5], np.float32),
}


def test_an_answer_has_the_form_of_its_call() -> None:
    assert write(TWO, [TWO_OUT], Form.COLUMNS) == (
        b'{"a":[1.0,2.5],"b":["s",{"b64":"/w=="}]}'
    )
    assert write(TWO, [TWO_OUT], Form.ROWS, 2) == (
        b'[{"a":1.0,"b":"s"},{"a":2.5,"b":{"b64":"/w=="}}]'
    )
    one: Tensors = {name: array[:1] for name, array in TWO_OUT.items()}
    assert write(TWO, [one], Form.ROW) == b'{"a":1.0,"b":"s"}'
    assert write(TWO, [one], Form.ROWS) == b'[{"a":1.0,"b":"s"}]'


def test_rows_may_be_arrays() -> None:
    signed = signature((None, None), y="int32")
    outputs: Tensors = {"y": np.arange(6, dtype=np.int32).reshape(3, 2)}
    assert write(signed, [outputs], Form.ROWS, 3) == (
        b'[{"y":[0,1]},{"y":[2,3]},{"y":[4,5]}]'
    )


def test_a_method_without_rows_answers_an_example_in_columns() -> None:
    signed = signature((), y="int32")
    outputs: Tensors = {"y": np.array(7, np.int32)}
    for form in (Form.COLUMNS, Form.ROW):
        assert write(signed, [outputs], form) == b'{"y":7}'


def test_no_outputs_are_an_empty_object() -> None:
    assert write(signature(), [{}], Form.COLUMNS) == b"{}"
    assert write(signature(), [{}], Form.ROW) == b"{}"
    assert write(signature(), [{}], Form.ROWS, 2) == b"[{},{}]"


def test_what_was_answered_one_by_one_is_one_list() -> None:
    parts: list[Tensors] = [
        {name: array[number : number + 1] for name, array in TWO_OUT.items()}
        for number in range(2)
    ]
    assert write(TWO, parts, Form.ROWS, 2) == (
        b'[{"a":1.0,"b":"s"},{"a":2.5,"b":{"b64":"/w=="}}]'
    )
    assert write(TWO, [], Form.ROWS, 0) == b"[]"
    signed = signature((), y="int32")
    wholes: list[Tensors] = [{"y": np.array(n, np.int32)} for n in (7, 8)]
    assert write(signed, wholes, Form.ROWS, 2) == b'[{"y":7},{"y":8}]'


def test_an_answer_that_is_a_slice_is_not_changed() -> None:
    batch = np.arange(12, dtype=np.float32).reshape(6, 2)
    batch.setflags(write=False)
    signed = signature((None, None), y="float32")
    answer = write(signed, [{"y": batch[2:4]}], Form.COLUMNS)
    assert plain_json.loads(answer) == {"y": [[4.0, 5.0], [6.0, 7.0]]}


@pytest.mark.parametrize(
    "shape",
    [(3000, 1), (2, 1500, 3), (1, 1, 2000, 2), (5000, 0), (2, 600, 0, 2), (3,) * 8],
)
def test_many_lists_are_written_as_few_are(shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    signed = signature((None,) * len(shape), y="float32")
    for view in (array, array[::-1]):
        columns = write(signed, [{"y": view}], Form.COLUMNS)
        rows = write(signed, [{"y": view}], Form.ROWS, len(view))
        row = write(signed, [{"y": view[:1]}], Form.ROW)
        # Without inner sizes where an outer one is 0, as nested lists have it.
        assert plain_json.loads(columns) == {"y": view.tolist()}
        assert plain_json.loads(rows) == [{"y": each} for each in view.tolist()]
        assert plain_json.loads(row) == {"y": view[0].tolist()}


@pytest.mark.parametrize(
    ("shape", "elements"),
    [((), 1), ((3,), 4), ((2, 3), 6 + 2 + 8), ((4, 2, 1), 8 + 8 + 8 * 5), ((2, 0), 10)],
)
def test_lists_are_elements_too(shape: tuple[int, ...], elements: int) -> None:
    assert weight(np.zeros(shape)) == elements


@given(arrays(), st.sampled_from(Form))
def test_what_was_written_is_read_again(given: tuple[str, Array], form: Form) -> None:
    type, array = given
    signed = Signature({"x": spec(type)}, {"x": spec(type)})
    body = write(signed, [{"x": array}], form)
    # Of unknown rank, an object of them is a call.
    for call in jsonin.read(body, signed, CallLimits(), apart=True).calls:
        assert same(call["x"].array, array)


@given(arrays(), st.booleans())
def test_rows_that_were_written_are_read_again(
    given: tuple[str, Array], transpose: bool
) -> None:
    type, array = given
    if not array.ndim or not len(array):
        return
    shape = (None, *array.shape[1:])
    signed = Signature({"x": spec(type, shape)}, {"x": spec(type, shape)})
    for form, part in (
        (Form.ROWS, array),
        (Form.ROW, array[:1]),
        (Form.COLUMNS, array),
    ):
        if transpose and form is Form.COLUMNS:
            continue
        body = write(signed, [{"x": part}], form, len(part))
        asked = jsonin.read(body, signed, CallLimits(), transpose)
        assert asked.form is form
        assert same(asked.calls[0]["x"].array, part)
