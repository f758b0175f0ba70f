"""Leaves of JSON values, in a flat list, to an array of a TensorSpec's dtype.

Numbers keep their value or are refused, strings become UTF-8 bytes,
``{"b64": text}`` any bytes, and ``{"url": text}`` leaves a hole that is filled
once the URL is fetched.
"""

from __future__ import annotations

import binascii
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pybase64

from .tensors import Array, TensorSpec

# Arrays of so many numbers are small.
FEW = 16

# What no rounding takes out of the range of a dtype.
LARGEST = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3.402823e38}

# The dtypes to which numpy itself rounds a number of Python's once, and the largest
# magnitude of each that is surely in its range.
ROUNDED = {"float32": LARGEST["float32"], "float64": sys.float_info.max}


class Parsed(NamedTuple):
    """An array, and the URLs whose bodies are still missing from it.

    ``urls`` holds (flat index into ``array``, URL) for each hole.
    """

    array: Array
    urls: tuple[tuple[int, str], ...] = ()


class BadLeaf(Exception):
    """The leaf at a flat position breaks a rule.

    Args:
        position: which leaf.
        why: the rule, in words.
    """

    def __init__(self, position: int, why: str) -> None:
        self.position = position
        self.why = why


def parser(spec: TensorSpec) -> Callable[[TensorSpec, list[Any]], Parsed]:
    """What turns leaves into the flat array of a spec; it raises :class:`BadLeaf`."""
    if spec.type == "string":
        return _strings
    if spec.type == "bool":
        return _booleans
    return _floats if "float" in spec.type else _integers


def narrowed(spec: TensorSpec, wide: Array) -> Array:
    """Doubles as the float dtype of a spec, each rounded once, to the nearest.

    Raises:
        BadLeaf: a finite number is outside the range of the dtype.
    """
    if wide.dtype == spec.dtype:
        return wide
    if wide.size <= FEW and _largest(wide) <= LARGEST[spec.type]:
        return once_rounded(wide, spec).astype(spec.dtype)
    with np.errstate(over="ignore"):
        array = once_rounded(wide, spec).astype(spec.dtype)
    if not np.isfinite(array).all():
        lost = np.isfinite(wide) & ~np.isfinite(array)
        if lost.any():
            raise BadLeaf(int(lost.argmax()), f"outside the range of {spec.type}")
    return array


def rounded(spec: TensorSpec, numbers: list[float]) -> Array:
    """A few numbers of JSON as the float dtype of a spec, each rounded once, as
    :func:`narrowed` does it; a third of the time if they need not be doubles first.

    Raises:
        BadLeaf: a number is outside the range of the dtype.
        OverflowError: it is even outside that of doubles.
    """
    most = ROUNDED.get(spec.type, -1.0)
    # By Python, which is done before numpy would have begun.
    if numbers and -most <= min(numbers) and max(numbers) <= most:
        return np.array(numbers, spec.dtype)
    return narrowed(spec, np.array(numbers, np.float64))


def fitted(spec: TensorSpec, wide: Array) -> Array:
    """64-bit integers as the integer dtype of a spec.

    Raises:
        BadLeaf: a number is outside the range of the dtype.
    """
    if wide.dtype == spec.dtype:
        return wide
    array = wide.astype(spec.dtype)
    lost = array != wide
    if lost.any():
        raise BadLeaf(int(lost.argmax()), f"outside the range of {spec.type}")
    return array


def _largest(few: Array) -> float:
    """The largest magnitude, found by Python before numpy would have begun."""
    return max(map(abs, few.tolist()), default=0.0)


def _check_types(leaves: list[Any], allowed: set[type], wanted: str) -> None:
    if allowed.issuperset(map(type, leaves)):
        return
    position = next(i for i, leaf in enumerate(leaves) if type(leaf) not in allowed)
    raise BadLeaf(position, f"expected {wanted}, got {_kind(leaves[position])}")


def _kind(leaf: object) -> str:
    """A leaf's type, in JSON's words."""
    words = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    if leaf is None:
        return "null"
    return words.get(type(leaf), "an object" if type(leaf) is dict else "another type")


def _booleans(spec: TensorSpec, leaves: list[Any]) -> Parsed:
    _check_types(leaves, {bool}, "a boolean")
    return Parsed(np.array(leaves, spec.dtype))


def _integers(spec: TensorSpec, leaves: list[Any]) -> Parsed:
    _check_types(leaves, {int}, "an integer")
    bounds = np.iinfo(spec.dtype)
    low, high = int(bounds.min), int(bounds.max)
    if leaves and (min(leaves) < low or max(leaves) > high):
        position = next(i for i, leaf in enumerate(leaves) if not low <= leaf <= high)
        raise BadLeaf(position, f"outside the range of {spec.type}")
    return Parsed(np.array(leaves, spec.dtype))


def _floats(spec: TensorSpec, leaves: list[Any]) -> Parsed:
    _check_types(leaves, {int, float}, "a number")
    try:
        wide = np.array(leaves, np.float64)
    except OverflowError:
        highest = float(np.finfo(np.float64).max)
        position = next(i for i, leaf in enumerate(leaves) if abs(leaf) > highest)
        raise BadLeaf(position, f"outside the range of {spec.type}") from None
    return Parsed(narrowed(spec, wide))


def once_rounded(wide: Array, spec: TensorSpec) -> Array:
    """Doubles as what can be cast to the spec's dtype with a single rounding.

    A double becomes a bfloat16 by way of a float32, and two roundings to the
    nearest may end beside the nearest. If the first is to odd, they do not
    (Boldo and Melquiond, "When double rounding is odd", 2005).
    """
    if spec.type != "bfloat16":
        return wide
    narrow = wide.astype(np.float32)
    outward = np.abs(narrow.astype(np.float64)) > np.abs(wide)
    narrow = np.where(outward, np.nextafter(narrow, np.float32(0)), narrow)
    inexact = narrow.astype(np.float64) != wide
    odd: Array = (narrow.view(np.uint32) | inexact).view(np.float32)
    return odd


def _strings(spec: TensorSpec, leaves: list[Any]) -> Parsed:
    if {str}.issuperset(map(type, leaves)):
        try:
            return Parsed(np.fromiter(map(str.encode, leaves), object, len(leaves)))
        except UnicodeEncodeError:
            pass  # It is found below, and told where.
    _check_types(leaves, {str, bytes, dict}, "a string")
    urls: list[tuple[int, str]] = []
    array = np.fromiter(_bytes(leaves, urls), object, len(leaves))
    return Parsed(array, tuple(urls))


def _bytes(leaves: list[Any], urls: list[tuple[int, str]]) -> Iterable[bytes]:
    """Each leaf as bytes; for a URL a stand-in, and a note of it in ``urls``."""
    for position, leaf in enumerate(leaves):
        if type(leaf) is str:
            yield _encoded(position, leaf)
        elif type(leaf) is bytes:
            yield leaf
        elif len(leaf) == 1 and type(leaf.get("b64")) is str:
            yield _unbase64(position, leaf["b64"])
        elif len(leaf) == 1 and type(leaf.get("url")) is str:
            urls.append((position, leaf["url"]))
            yield b""
        else:
            raise BadLeaf(
                position, 'an object here is {"b64": "…"} or {"url": "…"}, nothing else'
            )


def _encoded(position: int, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadLeaf(position, "the text is not encodable as UTF-8") from None


def _unbase64(position: int, text: str) -> bytes:
    """RFC 4648 section 4, padded, nothing else between the letters."""
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadLeaf(position, "not base64 (RFC 4648, padded)") from None
