"""Arrays of every dtype, for tests of how JSON is read and written."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.memory import spec as plain_spec
from txinfer.tensors import Array, Shape, TensorSpec

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
INTEGERS = SIGNED + UNSIGNED
FLOATS = ["bfloat16", "float16", "float32", "float64"]
TYPES = [*INTEGERS, *FLOATS, "bool", "string"]


def spec(type: str, shape: Shape | None = None) -> TensorSpec:
    """A spec, by default of unknown rank."""
    if type == "bfloat16":
        return TensorSpec(type, np.dtype(ml_dtypes.bfloat16), shape)
    return plain_spec(type, shape)


ELEMENTS: dict[str, Any] = {
    **{
        name: st.integers(int(np.iinfo(name).min), int(np.iinfo(name).max))
        for name in INTEGERS
    },
    "float16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "bfloat16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "string": st.binary(max_size=8) | st.text(max_size=4).map(str.encode),
}


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, Array]:
    """An array of any dtype and shape, empty ones among them."""
    type = draw(st.sampled_from(TYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3))
    if shape:
        # Only where the last dimension is empty does JSON still have the others.
        shape = (*shape[:-1], draw(st.sampled_from([shape[-1], 0])))
    size = math.prod(shape)
    values = draw(st.lists(ELEMENTS[type], min_size=size, max_size=size))
    array = np.fromiter(values, object, size).astype(spec(type).dtype)
    return type, array.reshape(shape)


def same(left: Array, right: Array) -> bool:
    """Bit for bit."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return bool(left.tolist() == right.tolist())
    return left.tobytes() == right.tobytes()
