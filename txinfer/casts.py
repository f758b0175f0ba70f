"""Arrays of numbers as arrays of a TensorSpec, by the rules that JSON has.

All at the speed of numpy: nothing becomes a Python number on the way.
"""

from __future__ import annotations

import numpy as np

from .errors import InputTooLarge, InvalidInput
from .leaves import once_rounded
from .tensors import Array, TensorSpec

# What numpy's files have for dtypes of two bytes that numpy does not know.
TWO_BYTES = np.dtype("V2")


def cast(name: str, spec: TensorSpec, array: Array) -> Array:
    """An array in the dtype of a spec, whatever its shape.

    No value changes, except that numbers for a float are rounded to its
    precision. An array that is right already is returned as it is.

    Args:
        name: the input's name, for errors.
        array: booleans or numbers in any byte order, or the two bytes each of
            a bfloat16.

    Raises:
        InvalidInput: naming the input, and the index of the first offender.
    """
    if spec.type == "bfloat16" and array.dtype == TWO_BYTES:
        return np.require(array.view(spec.dtype), requirements="A")
    if array.dtype == spec.dtype and array.flags.aligned:
        # Most are, and the rest tells so only after ten calls of numpy's.
        return array
    kinds = _kinds(spec)
    if array.dtype.kind not in kinds:
        wanted = "strings" if spec.type == "string" else spec.type
        raise InvalidInput(f"expected {wanted}, got {array.dtype.name}", name)
    if array.dtype.newbyteorder("=") != spec.dtype and spec.type != "bool":
        array = _floats(name, spec, array) if "f" in kinds else _ints(name, spec, array)
    # In this machine's byte order, and at an address that it can read at once.
    return np.require(array, spec.dtype, "A")


def check_room(name: str, spec: TensorSpec, elements: int, room: int) -> int:
    """What is left of so many bytes if the spec's dtype takes this many elements.

    Asked before a cast: an array may become eight times as large by it.

    Raises:
        InputTooLarge: less than nothing is left.
    """
    room -= elements * spec.dtype.itemsize
    if room < 0:
        raise InputTooLarge("more bytes of tensors than one request may have", name)
    return room


def _kinds(spec: TensorSpec) -> str:
    """The kinds of dtypes (``numpy.dtype.kind``) that are taken for a spec's."""
    if spec.type == "string":
        return ""
    if spec.type == "bool":
        return "b"
    return "iuf" if "float" in spec.type else "iu"


def _ints(name: str, spec: TensorSpec, array: Array) -> Array:
    wanted, given = np.iinfo(spec.dtype), np.iinfo(array.dtype)
    # Compared in the array's own dtype: others would round 64-bit numbers.
    low = array.dtype.type(max(wanted.min, given.min))
    high = array.dtype.type(min(wanted.max, given.max))
    _refuse_if_any(name, spec, (array < low) | (array > high))
    return array.astype(spec.dtype)


def _floats(name: str, spec: TensorSpec, array: Array) -> Array:
    if spec.type == "bfloat16":
        if np.can_cast(array.dtype, np.float32):
            array = array.astype(np.float32)
        else:
            array = once_rounded(array.astype(np.float64), spec)
    with np.errstate(over="ignore"):
        narrow = array.astype(spec.dtype)
    _refuse_if_any(name, spec, np.isfinite(array) & ~np.isfinite(narrow))
    return narrow


def _refuse_if_any(name: str, spec: TensorSpec, lost: Array) -> None:
    if lost.any():
        index = np.unravel_index(int(lost.argmax()), lost.shape)
        where = tuple(map(int, index))
        raise InvalidInput(f"outside the range of {spec.type}", name, where)
