from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.memory import spec
from txinfer.tensors import (
    Array,
    Shape,
    Signature,
    byte_count,
    listed_shape,
    row_count,
    split,
    stack,
)

# Specs


@pytest.mark.parametrize(
    ("shape", "has_rows"),
    [
        (None, False),
        ((), False),
        ((3,), False),
        ((3, None), False),
        ((None,), True),
        ((None, 3), True),
        ((None, None), True),
        ((0, 3), False),
    ],
)
def test_rows_are_a_dimension_0_of_any_size(
    shape: Shape | None, has_rows: bool
) -> None:
    assert spec(shape=shape).has_rows is has_rows


def test_the_shape_of_a_row_lacks_dimension_0() -> None:
    assert spec(shape=(None,)).row_shape == ()
    assert spec(shape=(None, None, 3)).row_shape == (None, 3)


@pytest.mark.parametrize(
    ("shape", "admitted", "refused"),
    [
        (None, [(), (0,), (1, 2, 3)], []),
        ((), [()], [(1,), (0,)]),
        ((3,), [(3,)], [(), (2,), (4,), (3, 1), (1, 3)]),
        ((0,), [(0,)], [(1,), ()]),
        ((None,), [(0,), (7,)], [(), (1, 1)]),
        ((None, 3), [(0, 3), (9, 3)], [(3,), (3, 9), (9, 3, 1)]),
        ((None, None), [(0, 0), (2, 5)], [(2,), ()]),
    ],
)
def test_a_shape_fits_in_rank_and_in_every_known_dimension(
    shape: Shape | None, admitted: list[Shape], refused: list[Shape]
) -> None:
    wanted = spec(shape=shape)
    assert [got for got in admitted if not wanted.admits(got)] == []  # type: ignore[arg-type]
    assert [got for got in refused if wanted.admits(got)] == []  # type: ignore[arg-type]


def test_shapes_are_listed_as_tensorflow_writes_them() -> None:
    assert listed_shape(()) == []
    assert listed_shape((None, 3, 0)) == [-1, 3, 0]
    assert spec(shape=(None, 3)).shape_text() == "[-1, 3]"
    assert spec(shape=()).shape_text() == "[]"
    assert spec(shape=None).shape_text() == "null"


# Signatures

ROWS, SCALAR = spec(), spec(shape=())


@pytest.mark.parametrize(
    ("inputs", "outputs", "why"),
    [
        ({"x": ROWS}, {"y": ROWS}, None),
        ({"x": ROWS, "z": ROWS}, {"y": ROWS, "w": ROWS}, None),
        ({"x": ROWS}, {}, None),
        ({}, {"y": ROWS}, "it has no inputs"),
        ({}, {}, "it has no inputs"),
        ({"x": SCALAR}, {"y": ROWS}, "dimension 0 of input 'x' is not free"),
        ({"a": ROWS, "x": SCALAR}, {}, "dimension 0 of input 'x' is not free"),
        ({"x": ROWS}, {"y": SCALAR}, "dimension 0 of output 'y' is not free"),
        ({"x": spec(shape=None)}, {}, "dimension 0 of input 'x' is not free"),
        ({"x": spec(shape=(1, None))}, {}, "dimension 0 of input 'x' is not free"),
    ],
)
def test_calls_can_be_joined_if_all_tensors_have_rows(
    inputs: dict[str, object], outputs: dict[str, object], why: str | None
) -> None:
    signature = Signature(inputs, outputs)  # type: ignore[arg-type]
    assert signature.why_not_by_rows() == why
    assert signature.by_rows is (why is None)


# Calls

DTYPES = st.sampled_from(
    [np.int8, np.uint64, np.float16, np.float32, np.bool_, object, ml_dtypes.bfloat16]
)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Array]]:
    """Calls of one key: equal names, dtypes and inner shapes; any rows."""
    inner = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    names = draw(st.lists(st.text(max_size=3), min_size=1, max_size=3, unique=True))
    dtypes = {name: draw(DTYPES) for name in names}
    rows = draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    number = iter(range(10_000))

    def array(dtype: type, count: int) -> Array:
        size = count * int(np.prod(inner))
        values = [next(number) % 100 for _ in range(size)]
        if dtype is object:
            return np.fromiter((b"%d" % v for v in values), object, size).reshape(
                count, *inner
            )
        return np.array(values).astype(dtype).reshape(count, *inner)

    return [{n: array(t, count) for n, t in dtypes.items()} for count in rows]


@given(calls())
def test_split_undoes_stack(given: list[dict[str, Array]]) -> None:
    rows = [row_count(tensors) for tensors in given]
    together = stack(given)
    assert row_count(together) == sum(rows)
    for part, tensors in zip(split(together, rows), given, strict=True):
        assert list(part) == list(tensors)
        for name, array in tensors.items():
            assert part[name].dtype == array.dtype
            assert part[name].shape == array.shape
            assert part[name].tolist() == array.tolist()


@given(calls())
def test_stack_undoes_split(given: list[dict[str, Array]]) -> None:
    together = stack(given)
    again = stack(split(together, [row_count(tensors) for tensors in given]))
    for name, array in together.items():
        assert again[name].dtype == array.dtype
        assert again[name].tolist() == array.tolist()


def test_a_call_alone_is_not_copied() -> None:
    tensors = {"x": np.zeros(3)}
    assert stack([tensors]) is tensors


def test_parts_are_views() -> None:
    x = np.zeros(3)
    assert all(np.shares_memory(part["x"], x) for part in split({"x": x}, [1, 2]))


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (np.zeros((2, 3), np.float32), 24),
        (np.zeros((), np.int64), 8),
        (np.zeros((0, 3)), 0),
        (np.zeros(4, ml_dtypes.bfloat16), 8),
    ],
)
def test_numbers_count_what_they_hold(array: Array, size: int) -> None:
    assert byte_count({"x": array}) == size
    assert byte_count({"x": array, "z": np.zeros(1, np.int8)}) == size + 1


def test_strings_count_their_bytes_and_the_pointers_to_them() -> None:
    pointer = np.dtype(object).itemsize
    strings = np.array([[b"abc", b""], [b"\0" * 100, b"x"]], object)
    assert byte_count({"x": strings}) == 104 + 4 * pointer
    assert byte_count({"x": np.array([], object)}) == 0
    assert byte_count({"x": np.array(b"abc", object)}) == 3 + pointer
