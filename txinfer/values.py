"""JSON values to arrays of a TensorSpec and back, nothing silently changed.

Into an array: numbers keep their value or are refused, strings become UTF-8
bytes, ``{"b64": text}`` any bytes, and ``{"url": text}`` leaves a hole that is
filled once the URL is fetched. Out of an array: the shortest text of each
float's own dtype, ``null`` for what JSON has no number for, text for UTF-8
and ``{"b64": text}`` for other bytes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import attrs
import numpy as np
import orjson

from .errors import InvalidBody, InvalidInput
from .tensors import Array, TensorSpec

# numpy takes no more dimensions than this before version 2 (NPY_MAXDIMS).
MAX_RANK = 32

SEQUENCES = {list, tuple}
NUMPY = (np.ndarray, np.generic)


@attrs.frozen
class Parsed:
    """An array, and the URLs whose bodies are still missing from it.

    ``urls`` holds (flat index into ``array``, URL) for each hole.
    """

    array: Array
    urls: tuple[tuple[int, str], ...] = ()


def loads(body: bytes) -> Any:
    """Parse strict JSON (RFC 8259, UTF-8 only).

    Raises:
        InvalidBody: the body is not JSON; the text says where.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidBody(f"the body is not JSON: {error}") from None


def dumps(value: object) -> bytes:
    """Write strict JSON; arrays as :func:`jsonable` returns them may be inside."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def depth(value: object) -> int:
    """How many lists are around the first leaf of a value."""
    found = 0
    while type(value) in SEQUENCES:
        found += 1
        if not value:
            break
        value = value[0]  # type: ignore[index]
    return found


def parse(name: str, spec: TensorSpec, value: object) -> Parsed:
    """Turn a JSON value into an array of the spec's dtype and an admitted shape.

    Args:
        name: the input's name, for errors.
        value: nested lists (or tuples) of numbers, booleans or strings; for a
            string tensor also ``bytes``, ``{"b64": text}`` and ``{"url": text}``.

    Raises:
        InvalidInput: naming the input, and the index of the first offender.
    """
    shape, leaves = _flatten(name, value)
    if not spec.admits(shape):
        raise _wrong_shape(name, spec, shape)
    try:
        parsed = _parser(spec.type)(spec, leaves)
    except _BadLeaf as bad:
        index = np.unravel_index(bad.position, shape) if shape else ()
        raise InvalidInput(bad.why, name, tuple(map(int, index))) from None
    return attrs.evolve(parsed, array=parsed.array.reshape(shape))


def conform(name: str, spec: TensorSpec, value: object) -> Parsed:
    """:func:`parse` for Python callers: numpy arrays and scalars are taken as well.

    An array of another dtype is converted if no value changes by it, except
    that numbers for a float are rounded to its precision.

    Raises:
        InvalidInput: naming the input, and the index of the first offender.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise InvalidInput("masked arrays are not taken", name)
    if isinstance(value, (list, tuple)):
        value = _joined(spec, value)
    if not isinstance(value, NUMPY):
        return parse(name, spec, value)
    array = np.asarray(value)
    if array.dtype != spec.dtype or spec.dtype == object:
        return parse(name, spec, array.tolist())
    if not spec.admits(array.shape):
        raise _wrong_shape(name, spec, array.shape)
    return Parsed(array)


def jsonable(spec: TensorSpec, array: Array) -> Any:
    """What :func:`dumps` takes for an array: an array, a scalar, or nested lists."""
    if spec.type == "string":
        leaves = map(_text, array.flat)
        return np.fromiter(leaves, object, array.size).reshape(array.shape).tolist()
    if spec.type in ("float16", "bfloat16"):
        bits = np.ascontiguousarray(array).view(np.uint16).ravel().tolist()
        doubles = (_shortest(pattern, array.dtype) for pattern in bits)
        with np.errstate(over="ignore"):
            flat = np.fromiter(doubles, np.float64, array.size)
        array = flat.reshape(array.shape)
    return np.ascontiguousarray(array) if array.shape else array[()]


# Into arrays


def _joined(spec: TensorSpec, items: Sequence[object]) -> object:
    """Rows that may be numpy's as one array, or as lists for :func:`parse`."""
    if not any(isinstance(item, NUMPY) for item in items):
        return items
    if all(isinstance(item, NUMPY) and item.dtype == spec.dtype for item in items):
        rows = [np.asarray(item) for item in items]
        if len({row.shape for row in rows}) == 1:
            return np.stack(rows)
    # Stacking would make them one dtype, and change values by that.
    return [item.tolist() if isinstance(item, NUMPY) else item for item in items]


class _BadLeaf(Exception):
    """The leaf at a flat position breaks a rule."""

    def __init__(self, position: int, why: str) -> None:
        self.position = position
        self.why = why


def _flatten(name: str, value: object) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested sequences, and their leaves in order.

    Level by level, without recursion, each level at the speed of C.
    """
    shape: list[int] = []
    level: list[Any] = [value]
    while True:
        kinds = set(map(type, level))
        if not kinds & SEQUENCES:
            return tuple(shape), level
        ragged = _ragged(level, kinds)
        if ragged is not None:
            index = np.unravel_index(ragged, tuple(shape)) if shape else ()
            where = tuple(map(int, index))
            raise InvalidInput("not as long as its neighbours (ragged)", name, where)
        if len(shape) == MAX_RANK:
            raise InvalidInput(f"nested more than {MAX_RANK} deep", name)
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))


def _ragged(level: list[Any], kinds: set[type]) -> int | None:
    """The position of the first item unlike the first one in form, if any."""
    if kinds <= SEQUENCES and len(set(map(len, level))) == 1:
        return None

    def form(item: Any) -> int:
        return len(item) if type(item) in SEQUENCES else -1

    first = form(level[0])
    return next(i for i, item in enumerate(level) if form(item) != first)


def _wrong_shape(name: str, spec: TensorSpec, shape: Sequence[int]) -> InvalidInput:
    return InvalidInput(f"expected shape {spec.shape_text()}, got {list(shape)}", name)


def _parser(type_name: str) -> Callable[[TensorSpec, list[Any]], Parsed]:
    if type_name == "string":
        return _strings
    if type_name == "bool":
        return _booleans
    return _floats if "float" in type_name else _integers


def _check_types(leaves: list[Any], allowed: set[type], wanted: str) -> None:
    if set(map(type, leaves)) <= allowed:
        return
    position = next(i for i, leaf in enumerate(leaves) if type(leaf) not in allowed)
    raise _BadLeaf(position, f"expected {wanted}, got {_kind(leaves[position])}")


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
        raise _BadLeaf(position, f"outside the range of {spec.type}")
    return Parsed(np.array(leaves, spec.dtype))


def _floats(spec: TensorSpec, leaves: list[Any]) -> Parsed:
    _check_types(leaves, {int, float}, "a number")
    try:
        wide = np.array(leaves, np.float64)
    except OverflowError:
        highest = float(np.finfo(np.float64).max)
        position = next(i for i, leaf in enumerate(leaves) if abs(leaf) > highest)
        raise _BadLeaf(position, f"outside the range of {spec.type}") from None
    with np.errstate(over="ignore"):
        array = once_rounded(wide, spec).astype(spec.dtype)
    lost = np.isfinite(wide) & ~np.isfinite(array.astype(np.float64))
    if lost.any():
        raise _BadLeaf(int(lost.argmax()), f"outside the range of {spec.type}")
    return Parsed(array)


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
            raise _BadLeaf(
                position, 'an object here is {"b64": "…"} or {"url": "…"}, nothing else'
            )


def _encoded(position: int, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _BadLeaf(position, "the text is not encodable as UTF-8") from None


def _unbase64(position: int, text: str) -> bytes:
    """RFC 4648 section 4, padded, nothing else between the letters."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _BadLeaf(position, "not base64 (RFC 4648, padded)") from None


# Out of arrays


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


@lru_cache(maxsize=2 * 65536)
def _shortest(bits: int, dtype: np.dtype[Any]) -> float:
    """The double that prints as the shortest decimal for a 16-bit float.

    A double prints as the shortest decimal that is read back as itself; this
    one is the decimal with the fewest digits that rounds to ``value``: 0.1
    rather than 0.0999755859375 for float16. Five significant digits always do
    (IEEE 754-2019, 5.12.2: 1 + ceil(11 * log10(2))).
    """
    value = np.array(bits, np.uint16).view(dtype)[()]
    exact = float(value)
    for digits in range(1, 5):
        rounded = float(f"{exact:.{digits}g}")
        if dtype.type(rounded) == value:
            return rounded
    return float(f"{exact:.5g}")
