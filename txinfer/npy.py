"""numpy's ``.npy`` files to arrays and back: numbers only, and never a pickle.

The format (numpy's NEP 1): a magic string, a version, and a header, which is the
text of a Python dict, before the bare data. The header is matched here, and
not evaluated. Clients send the same header again and again, so what was made of it
is remembered, and so is what was written.
"""

from __future__ import annotations

import re
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import NamedTuple

import numpy as np

from .errors import InvalidBody
from .refusals import TooLarge
from .tensors import MAX_RANK, Array

NPY = b"application/x-npy"

MAGIC = b"\x93NUMPY"

# How many bytes tell the header's length, by the version of the format.
LENGTH_SIZES = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}

# numpy's own is 118 bytes for a few dimensions; 32 of 19 digits are 704.
LONGEST_HEADER = 1024

# Headers that are remembered, of those that come and of those that are written: some
# hundred kilobytes at most. Who sends more of them has each looked at anew.
MAX_KEPT = 128

# The entries, and all three of them. No two neighbours in these match the same
# text, so there is only one way to match it.
DESCR = re.compile(rb"""['"]descr['"]\s*:\s*['"]([^'"]*)['"]""")
ORDER = re.compile(rb"""['"]fortran_order['"]\s*:\s*(True|False)""")
SHAPE = re.compile(rb"""['"]shape['"]\s*:\s*\(([\d, ]*)\)""")
ENTRIES = (DESCR, ORDER, SHAPE)
ENTRY = b"|".join(entry.pattern for entry in ENTRIES)
HEADER = re.compile(rb"\s*\{\s*(?:(?:%s)\s*(?:,\s*)?){3}\}\s*" % ENTRY)

# Booleans, integers, floats, and two bytes each, as which numpy saves bfloat16.
DTYPE = re.compile(rb"[<>=|]?(?:b1|[iu][1248]|f[248]|V2)")


class Layout(NamedTuple):
    """What a header says.

    ``start`` is where the data begins, ``elements`` how many it has, and ``size`` how
    many bytes; ``most`` is that size with a dimension of 0 counted as 1.
    """

    start: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    is_fortran: bool
    elements: int
    size: int
    most: int


def read_npy(data: bytes, limit: int) -> Array:
    """The array in a file; it may be a read-only view of the data.

    Args:
        data: the whole file.
        limit: the most bytes that the array may have. A dimension of 0 hides
            the sizes of the others: here it counts as 1.

    Raises:
        InvalidBody: it is no such file, or its data is not of the length that
            its header says, or not of numbers.
        TooLarge: the array is larger than ``limit``.
    """
    start, dtype, shape, is_fortran, count, size, most = _layout(_header(data))
    if most > limit:
        raise TooLarge(limit)
    if len(data) - start != size:
        raise InvalidBody(".npy: the data is not as long as its header says")
    # numpy takes no buffer of no bytes.
    flat = np.frombuffer(data, dtype, count, start) if count else np.empty(0, dtype)
    if dtype.kind == "b" and count and flat.view(np.uint8).max() > 1:
        raise InvalidBody(".npy: a boolean is neither 0 nor 1")
    return flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)


# The headers that were written, by the dtype, the shape, and if it is Fortran's order.
_headers: dict[tuple[np.dtype[np.generic], tuple[int, ...], bool], bytes] = {}


def write_npy(array: Array) -> bytes:
    """A file of an array of numbers; bfloat16, which others cannot read, as float32."""
    if array.dtype.kind == "V" and array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    flags = array.flags
    is_fortran = flags.f_contiguous and not flags.c_contiguous
    key = array.dtype, array.shape, is_fortran
    header = _headers.get(key)
    if header is not None:
        return header + array.tobytes("F" if is_fortran else "C")
    file = BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    whole = file.getvalue()
    if len(_headers) >= MAX_KEPT:
        _headers.clear()
    _headers[key] = whole[: len(whole) - array.nbytes]
    return whole


def _header(data: bytes) -> bytes:
    """All that comes before the data."""
    length_size = LENGTH_SIZES.get(data[6:8])
    if data[:6] != MAGIC or length_size is None:
        raise InvalidBody("not an .npy file")
    text_start = 8 + length_size
    length = int.from_bytes(data[8:text_start], "little")
    if length > LONGEST_HEADER:
        raise InvalidBody(f".npy: the header is longer than {LONGEST_HEADER} bytes")
    if text_start + length > len(data):
        raise _not_numpys()
    return data[: text_start + length]


@lru_cache(MAX_KEPT)
def _layout(header: bytes) -> Layout:
    text = header[8 + LENGTH_SIZES[header[6:8]] :]
    found = [match[1] for match in (entry.search(text) for entry in ENTRIES) if match]
    if not HEADER.fullmatch(text) or len(found) < 3:
        raise _not_numpys()
    dtype, shape = _dtype(found[0]), _shape(found[2])
    count = prod(shape)
    return Layout(
        len(header),
        dtype,
        shape,
        found[1] == b"True",
        count,
        count * dtype.itemsize,
        prod(size or 1 for size in shape) * dtype.itemsize,
    )


def _not_numpys() -> InvalidBody:
    return InvalidBody(".npy: the header is not numpy's for an array of numbers")


def _dtype(text: bytes) -> np.dtype[np.generic]:
    if not DTYPE.fullmatch(text):
        raise InvalidBody(".npy: only arrays of numbers or booleans are taken")
    return np.dtype(text.decode())


def _shape(text: bytes) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(b",")]
    sizes = [size for size in sizes if size]
    # 19 digits are what 64 bits can hold; a space may be in between.
    if len(sizes) > MAX_RANK or not all(s.isdigit() and len(s) < 20 for s in sizes):
        raise InvalidBody(".npy: the shape makes no sense")
    return tuple(map(int, sizes))
