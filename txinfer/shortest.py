"""16-bit floats as the doubles that print as their shortest decimals.

A double prints as the shortest decimal that is read back as itself. For a 16-bit
float there is a shorter one that is read back as that: 0.1 rather than
0.0999755859375 for float16.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .leaves import once_rounded
from .tensors import Array, TensorSpec

# Enough for every 16-bit float (IEEE 754-2019, 5.12.2: 1 + ceil(11 * log10(2))).
DIGITS = 5


def shortest(spec: TensorSpec, array: Array) -> Array:
    """Doubles in the place of an array's float16 or bfloat16 numbers."""
    bits = np.ascontiguousarray(array).view(np.uint16)
    doubles: Array = _table(spec)[bits].reshape(array.shape)
    return doubles


@lru_cache(maxsize=8)
def _table(spec: TensorSpec) -> Array:
    """The double for each of the 65536 patterns of bits. It takes some 50 ms."""
    values = np.arange(1 << 16, dtype=np.uint16).view(spec.dtype)
    with np.errstate(invalid="ignore"):
        doubles = values.astype(np.float64)
    left = np.flatnonzero(np.isfinite(doubles) & (doubles != 0))
    for digits in range(1, DIGITS + 1):
        near = _rounded(doubles[left], digits)
        with np.errstate(over="ignore"):
            same = once_rounded(near, spec).astype(spec.dtype) == values[left]
        doubles[left[same]] = near[same]
        left = left[~same]
    return doubles


def _rounded(numbers: Array, digits: int) -> Array:
    """Numbers other than 0 with so many significant digits, as doubles."""
    powers = np.floor(np.log10(np.abs(numbers))).astype(np.int64) - digits + 1
    wholes = np.rint(numbers / 10.0**powers).astype(np.int64)
    # Read as decimals, since dividing by a power of ten may end beside the nearest.
    texts = map("{}e{}".format, wholes.tolist(), powers.tolist())
    return np.fromiter(map(float, texts), np.float64, len(numbers))
