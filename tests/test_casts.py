"""Arrays of numbers in the dtype of a spec: nothing changes but the rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.memory import spec
from txinfer.casts import cast
from txinfer.errors import InvalidInput
from txinfer.tensors import Array, TensorSpec
from txinfer.values import conform

BFLOAT16 = TensorSpec("bfloat16", np.dtype(ml_dtypes.bfloat16), (None,))

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64"]


def why(type: str, array: Array) -> str:
    with pytest.raises(InvalidInput) as refusal:
        cast("x", spec(type, None), array)
    return str(refusal.value)


@pytest.mark.parametrize("type", [*INTEGERS, *FLOATS, "bool"])
def test_an_array_that_is_right_is_not_copied(type: str) -> None:
    array = np.ones((2, 3), type)
    assert cast("x", spec(type), array) is array


@pytest.mark.parametrize("type", [*INTEGERS, *FLOATS])
def test_the_byte_order_does_not_matter(type: str) -> None:
    array = np.array([[1, 2], [3, 100]], type)
    orders: list[Literal["<", ">"]] = ["<", ">"]
    for order in orders:
        made = cast("x", spec(type), array.astype(array.dtype.newbyteorder(order)))
        assert (made.dtype, made.tolist()) == (np.dtype(type), array.tolist())


def test_an_array_at_an_odd_address_is_moved() -> None:
    data = b"\0" + np.arange(4, dtype=np.float64).tobytes()
    array = np.frombuffer(data, np.float64, 4, 1)
    assert not array.flags.aligned
    made = cast("x", spec("float64"), array)
    assert made.flags.aligned
    assert made.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("type", INTEGERS)
def test_integers_go_where_they_fit_and_nowhere_else(source: str, type: str) -> None:
    have, want = np.iinfo(source), np.iinfo(type)
    low, high = max(have.min, want.min), min(have.max, want.max)
    fitting = np.array([[low, high, 0, 1]], source)
    made = cast("x", spec(type), fitting)
    assert (made.dtype, made.tolist()) == (np.dtype(type), fitting.tolist())
    for beyond in (low - 1, high + 1):
        if have.min <= beyond <= have.max:
            text = why(type, np.array([[0, 1], [beyond, 0]], source))
            assert text == f"input 'x'[1][0]: outside the range of {type}"


@pytest.mark.parametrize(
    ("type", "array", "text"),
    [
        ("int32", np.zeros(2), "expected int32, got float64"),
        ("uint8", np.zeros(2, bool), "expected uint8, got bool"),
        ("bool", np.zeros(2, np.uint8), "expected bool, got uint8"),
        ("float32", np.zeros(2, bool), "expected float32, got bool"),
        ("string", np.zeros(2), "expected strings, got float64"),
        ("float32", np.zeros(2, "V2"), "expected float32, got void16"),
        ("int32", np.zeros(0), "expected int32, got float64"),
    ],
)
def test_another_kind_of_number_is_refused(type: str, array: Array, text: str) -> None:
    assert why(type, array) == f"input 'x': {text}"


@pytest.mark.parametrize(
    ("type", "value"), [("float32", 1e39), ("float16", 70000.0), ("float32", -1e39)]
)
def test_a_float_too_large_is_refused_where_it_is(type: str, value: float) -> None:
    text = why(type, np.array([[0.0, 1.0], [2.0, value]]))
    assert text == f"input 'x'[1][1]: outside the range of {type}"


def test_floats_that_are_no_numbers_stay_so() -> None:
    odd = np.array([np.nan, np.inf, -np.inf])
    made = cast("x", spec("float32"), odd)
    assert np.array_equal(made, odd.astype(np.float32), equal_nan=True)


def test_bfloat16_may_come_as_its_two_bytes_each() -> None:
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    made = cast("x", BFLOAT16, array.view("V2"))
    assert (made.dtype, made.tolist()) == (array.dtype, [1.5, -2.0])


@st.composite
def numbers(draw: st.DrawFn) -> tuple[Array, TensorSpec]:
    """An array, and a spec that it may or may not be for."""
    type = draw(st.sampled_from([*INTEGERS, *FLOATS, "bfloat16"]))
    narrow = [source for source in INTEGERS if "64" not in source]
    # What Python callers send becomes a double first, which rounds the others.
    sources = [*narrow, *FLOATS] if "float" in type else [*INTEGERS, *FLOATS]
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
    array = draw(hnp.arrays(st.sampled_from(sources).map(np.dtype), shapes))
    return array, BFLOAT16 if type == "bfloat16" else spec(type, None)


def outcome(convert: Callable[[], Array]) -> object:
    """The dtype, shape and bytes of an array, or where it was refused."""
    try:
        array = convert()
    except InvalidInput as error:
        return error.index
    return array.dtype, array.shape, array.tobytes()


@given(numbers())
def test_it_is_what_python_callers_get(case: tuple[Array, TensorSpec]) -> None:
    array, want = case
    want = attrs.evolve(want, shape=None)
    got = outcome(lambda: cast("x", want, array))
    if array.dtype.kind == "f" and "float" not in want.type:
        # Told of the first number rather than of the whole array.
        assert got == ()
        return
    assert got == outcome(lambda: conform("x", want, array).array)
