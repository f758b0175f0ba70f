"""JSON values to arrays of a TensorSpec, nothing silently changed.

Nested lists are dimensions; what is inside them is for :mod:`.leaves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from .errors import InvalidInput, NotJSON
from .leaves import BadLeaf, Parsed, parser
from .tensors import MAX_RANK, TensorSpec

SEQUENCES = {list, tuple}
NUMPY = (np.ndarray, np.generic)


def loads(body: bytes) -> Any:
    """Parse strict JSON (RFC 8259, UTF-8 only).

    Raises:
        NotJSON: the text says where.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJSON(str(error)) from None


def dumps(value: object) -> bytes:
    """Write strict JSON; arrays may be inside as ``jsonout.jsonable`` returns them."""
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
        raise wrong_shape(name, spec, shape)
    try:
        parsed = parser(spec)(spec, leaves)
    except BadLeaf as bad:
        index = np.unravel_index(bad.position, shape) if shape else ()
        raise InvalidInput(bad.why, name, tuple(map(int, index))) from None
    return Parsed(parsed.array.reshape(shape), parsed.urls)


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
        raise wrong_shape(name, spec, array.shape)
    return Parsed(array)


def wrong_shape(name: str, spec: TensorSpec, shape: Sequence[int]) -> InvalidInput:
    """What is said of an array whose shape the spec does not admit."""
    return InvalidInput(f"expected shape {spec.shape_text()}, got {list(shape)}", name)


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
