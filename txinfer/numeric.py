"""JSON bodies that are nothing but arrays of numbers, straight into numpy.

The numbers never become Python objects: a SIMD parser writes them into a
buffer. It pays no heed to where lists begin and end, so their shape is read
off the body: what is left of it when all that numbers are written with is
taken away must be, byte for byte, what an array of that shape leaves. No
letter and no quote is in that, so neither is a boolean, a null or a string.

Whatever is not as plain as that is for :mod:`.jsonin` to judge. What is
decided here is decided just as it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
from simdjson import Array as List
from simdjson import Object, Parser

from .counting import hard_numbers
from .leaves import fitted, narrowed
from .regular import shape_of, text_of
from .tensors import Array, Signature, TensorSpec

# All that numbers are written with, and the white space of RFC 8259.
NUMBERS_AND_SPACE = b"0123456789+-.eE \t\r\n"

# The parser keeps up to 12 times the largest body it has read; it is replaced
# by a new one after bodies of more than so many bytes.
KEPT = 2 * 1024 * 1024

# Objects in a list that are smaller are read faster as Python objects, in bytes
# of JSON for each input.
LEAST_OBJECT = 64


class NotPlain(Exception):
    """The body is for somebody else to judge."""


@attrs.frozen
class Column:
    """How an input is read.

    ``first`` and ``next`` are what stands before its value, with numbers and
    white space taken away, if it is the first item of an object or not;
    ``kind`` and ``wide`` are the type of number that the parser writes.
    """

    name: str
    spec: TensorSpec
    first: bytes
    next: bytes
    kind: Literal["d", "i", "u"]
    wide: np.dtype[Any]

    def array(self, flat: Array) -> Array:
        """Numbers in the spec's dtype.

        Raises:
            BadLeaf: one is outside its range.
        """
        convert = narrowed if self.kind == "d" else fitted
        return convert(self.spec, flat)


class Numbers(NamedTuple):
    """What a body holds for an input: flat numbers and the shape they have."""

    column: Column
    flat: Array
    shape: tuple[int, ...]


def columns_of(signature: Signature) -> Sequence[Column]:
    """How the inputs are read; nothing if they are not all numbers."""
    columns: Sequence[Column] | None = signature.notes.get(__name__)
    if columns is None:
        columns = [_column(name, spec) for name, spec in signature.inputs.items()]
        if not all(_is_plain(column) for column in columns):
            columns = ()
        signature.notes[__name__] = columns
    return columns


def read(body: bytes, signature: Signature) -> tuple[int | None, list[Numbers]] | None:
    """The numbers of a body that is one object, or a list of objects alike.

    Args:
        body: JSON, or not.
        signature: whose inputs are read.

    Returns:
        How many objects are in the list, None if there is no list, and the
        numbers for each input, in the signature's order; those of a list have
        its length as dimension 0. None if the body is not so plain.
    """
    columns = columns_of(signature)
    if not columns or hard_numbers(body):
        return None
    try:
        return _PARSING.read(body, columns)
    except NotPlain:
        return None


def flat_numbers(body: bytes, column: Column) -> Array | None:
    """The numbers of an object's only input, flat; None if they are not of the
    type of the column, or the body is not JSON.
    """
    try:
        return _PARSING.flat(body, column)
    except NotPlain:
        return None


def _column(name: str, spec: TensorSpec) -> Column:
    key = f'"{name}":'.encode().translate(None, NUMBERS_AND_SPACE)
    keys = b"{" + key, b"," + key
    if "float" in spec.type:
        return Column(name, spec, *keys, "d", np.dtype(np.float64))
    if spec.type == "uint64":
        return Column(name, spec, *keys, "u", np.dtype(np.uint64))
    return Column(name, spec, *keys, "i", np.dtype(np.int64))


def _is_plain(column: Column) -> bool:
    # A name with an escape in it would leave more than we expect.
    return column.spec.type not in ("string", "bool") and "\\" not in column.name


class _Parsing:
    """Reads one body after the other."""

    def __init__(self) -> None:
        self._parser = Parser()

    def read(
        self, body: bytes, columns: Sequence[Column]
    ) -> tuple[int | None, list[Numbers]]:
        """See :func:`read`; raises NotPlain."""
        document = self._parsed(body)
        left = body.translate(None, NUMBERS_AND_SPACE)
        if type(document) is Object:
            return None, _object(document, columns, left)
        if type(document) is List:
            if len(body) < LEAST_OBJECT * len(document) * len(columns):
                raise NotPlain
            return _list(document, columns, left)
        raise NotPlain

    def flat(self, body: bytes, column: Column) -> Array:
        """See :func:`flat_numbers`; raises NotPlain."""
        document = self._parsed(body)
        if type(document) is not Object:
            raise NotPlain
        return _flat(document, column)

    def _parsed(self, body: bytes) -> Any:
        try:
            return self._parser.parse(body)
        except (ValueError, RuntimeError, MemoryError):
            raise NotPlain from None
        finally:
            if len(body) > KEPT:
                self._parser = Parser()


_PARSING = _Parsing()


def _object(document: Object, columns: Sequence[Column], left: bytes) -> list[Numbers]:
    ordered = _ordered(document, columns)
    flats = {column.name: _flat(document, column) for column in columns}
    shapes, end = _shapes(ordered, flats, left, 0)
    if end != len(left):
        raise NotPlain
    return [Numbers(c, flats[c.name], shapes[c.name]) for c in columns]


def _list(
    document: List, columns: Sequence[Column], left: bytes
) -> tuple[int, list[Numbers]]:
    rows: Iterator[Any] = iter(document)
    first = next(rows, None)
    if type(first) is not Object:
        raise NotPlain
    ordered = _ordered(first, columns)
    flats = {column.name: [_flat(first, column)] for column in columns}
    shapes, end = _shapes(ordered, {n: f[0] for n, f in flats.items()}, left, 1)
    row = left[1:end]
    if b"[" + (row + b",") * (len(document) - 1) + row + b"]" != left:
        raise NotPlain
    for other in rows:
        # Since it leaves the same as the first, it is an object of as many items.
        for column in columns:
            flats[column.name].append(_flat(other, column))
    return len(document), [_joined(c, flats[c.name], shapes[c.name]) for c in columns]


def _joined(column: Column, flats: Sequence[Array], shape: tuple[int, ...]) -> Numbers:
    if len(set(map(len, flats))) > 1:
        raise NotPlain
    return Numbers(column, np.concatenate(flats), (len(flats), *shape))


def _ordered(document: Object, columns: Sequence[Column]) -> Sequence[Column]:
    """The columns in the order in which an object has them, all and only these."""
    if len(document) != len(columns):
        raise NotPlain
    if len(columns) == 1:
        return columns
    by_name = {column.name: column for column in columns}
    ordered = [by_name.pop(name, None) for name in document]
    if None in ordered:
        raise NotPlain
    return ordered  # type: ignore[return-value]


def _flat(document: Object, column: Column) -> Array:
    """The numbers of an input, flat, as the parser has them."""
    try:
        value = document[column.name]
        if type(value) is List:
            return np.frombuffer(value.as_buffer(of_type=column.kind), column.wide)
    except (KeyError, ValueError, TypeError):
        # Another type of number, or none; or no number at all.
        raise NotPlain from None
    if type(value) is int or (type(value) is float and column.kind == "d"):
        return _single(value, column)
    raise NotPlain


def _single(value: float, column: Column) -> Array:
    try:
        return np.array([value], column.wide)
    except OverflowError:
        raise NotPlain from None


def _shapes(
    ordered: Sequence[Column], flats: Mapping[str, Array], left: bytes, start: int
) -> tuple[dict[str, tuple[int, ...]], int]:
    """The shapes of an object's arrays, and where it ends.

    Args:
        ordered: the columns as they come in the object.
        flats: the numbers of each.
        left: what the body leaves.
        start: where in that the object begins.

    Raises:
        NotPlain: it is anything but the columns with regular arrays.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    place = start
    for column in ordered:
        key = column.next if shapes else column.first
        shape = shape_of(left, place + len(key), len(flats[column.name]))
        if shape is None:
            raise NotPlain
        text = key + text_of(shape)
        if not left.startswith(text, place):
            raise NotPlain
        shapes[column.name] = shape
        place += len(text)
    if not left.startswith(b"}", place):
        raise NotPlain
    return shapes, place + 1
