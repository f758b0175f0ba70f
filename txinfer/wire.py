"""The fields of a protocol buffer that hold bytes, found without its description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

# Wire types: https://protobuf.dev/programming-guides/encoding/#structure
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Number and size of each field that holds bytes, in the message up to ``end``.

    The file stands at the field's first byte when it is yielded; whatever the
    caller leaves unread is skipped.

    Raises:
        ValueError: these are not the bytes of a message.
    """
    while file.tell() < end:
        field, wire = divmod(_varint(file), 8)
        if wire == VARINT:
            _varint(file)
            continue
        if wire not in (FIXED64, BYTES, FIXED32):
            raise ValueError(f"wire type {wire}")
        size = _varint(file) if wire == BYTES else {FIXED64: 8, FIXED32: 4}[wire]
        after = file.tell() + size
        if after > end:
            raise ValueError("it is cut short")
        if wire == BYTES:
            yield field, size
        file.seek(after)


def _varint(file: BinaryIO) -> int:
    """A number of at most ten bytes of seven bits, the lowest first."""
    number = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it is cut short")
        number |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return number
    raise ValueError("a number is too long")
