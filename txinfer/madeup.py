"""Inputs made up from a signature: different rows, the same ones each time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import product
from math import prod

import numpy as np

from .tensors import Array, Signature, Tensors, TensorSpec

# Sizes tried for unknown inner dimensions. Most graphs take the first; image
# graphs with many strides need more than their strides leave of it, and those
# that want channels take the last dimension of 3.
SIZES = ((8, 8), (64, 3), (128, 128))

# Tensors of more numbers than this are not made up: a row of a large image is
# 12 million, and three of these would take seconds to draw and compare.
MAX_ELEMENTS = 4_000_000


def png(side: int, grey: int) -> bytes:
    """A grey square as a PNG file (https://www.w3.org/TR/png-3/).

    TensorFlow's JPEG decoder takes it as well.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        crc = struct.pack(">I", zlib.crc32(checked))
        return struct.pack(">I", len(data)) + checked + crc

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([grey]) * side) * side
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


# What string inputs may mean: words, of which there are more or fewer, numbers,
# or files of images. Three rows each.
TEXTS = (
    (b"hello", b"", b"a b c"),
    (b"1", b"2.5", b"30"),
    (png(1, 128), png(4, 0), png(2, 255)),
)

ROWS = 3


def made_up(signature: Signature) -> Iterator[Tensors]:
    """Candidates of three rows for a ``by_rows`` signature, plainest first.

    No two rows of a tensor are equal, but for booleans. Candidates that would
    be too large are left out.
    """
    specs = signature.inputs
    has_text = any(spec.type == "string" for spec in specs.values())
    has_numbers = any(spec.type not in ("string", "bool") for spec in specs.values())
    has_gaps = any(None in spec.row_shape for spec in specs.values())
    # Divisors, and what a logarithm is taken of, are not to be 0 or less.
    lows = (0, 1) if has_numbers else (0,)
    sizes = SIZES if has_gaps else SIZES[:1]
    for low, (size, last), texts in product(
        lows, sizes, TEXTS if has_text else TEXTS[:1]
    ):
        shapes = {name: _shape(spec, size, last) for name, spec in specs.items()}
        if sum(map(prod, shapes.values())) > MAX_ELEMENTS:
            continue
        random = np.random.default_rng(0)
        yield {
            name: _filled(spec, shapes[name], low, texts, random)
            for name, spec in specs.items()
        }


def made_up_parts(signature: Signature) -> Iterator[Tensors]:
    """Candidates of unequal rows, for inputs that are parts of ragged tensors.

    TensorFlow's signatures have a ragged tensor as its values and the places where
    its rows begin and end, of which there is one more. So some of the integers
    count from 0, and everything else has a row less.
    """
    counts = [
        name
        for name, spec in signature.inputs.items()
        if spec.type in ("int32", "int64") and not spec.row_shape
    ]
    plainest = next(made_up(signature), None)
    if plainest is None or len(signature.inputs) < 2:
        return
    # The values may be integers, too; they come first.
    for splits in (counts, counts[1:]):
        if splits:
            yield {
                name: np.arange(ROWS).astype(array.dtype)
                if name in splits
                else array[: ROWS - 1]
                for name, array in plainest.items()
            }


def _shape(spec: TensorSpec, size: int, last: int) -> tuple[int, ...]:
    inner = [size if n is None else n for n in spec.row_shape]
    if inner and spec.row_shape[-1] is None:
        inner[-1] = last
    return (ROWS, *inner)


def _filled(
    spec: TensorSpec,
    shape: tuple[int, ...],
    low: int,
    texts: tuple[bytes, ...],
    random: np.random.Generator,
) -> Array:
    rows = np.arange(ROWS).reshape(-1, *[1] * (len(shape) - 1))
    if spec.type == "string":
        chosen = np.array(texts, object).reshape(rows.shape)
        copies: Array = np.broadcast_to(chosen, shape).copy()
        return copies
    if "float" in spec.type:
        numbers: Array = random.standard_normal(shape, np.float32)
        numbers = np.abs(numbers) + low if low else numbers
    elif spec.type == "uint8":
        numbers = random.integers(low, 256, shape, np.uint8)
    else:
        # Numbers up to 2 are in the range of nearly every vocabulary.
        numbers = (random.integers(0, 3, shape[1:]) + rows) % 3 + low
    return numbers.astype(spec.dtype)
