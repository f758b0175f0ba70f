"""How many pixels an image file announces, read off its header without decoding.

A file of a few kilobytes may announce gigabytes, which whatever decodes it
allocates. Formats: JPEG (ITU-T T.81, annex B), PNG, GIF89a, WebP (RFC 9649), BMP.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterator

# Of a header that goes on and on.
UNTOLD = sys.maxsize

# Pieces of a file that are looked at, and for how many of its bytes one more.
# Encoders leave 255 bytes to a block of a GIF; of JPEG's segments there are some
# dozen, and a frame of a WebP animation takes some hundred bytes.
FREE_PIECES = 1000
GIF_BLOCK = 64
OTHER_PIECE = 1024

# A marker is any number of 0xFF and a byte that is neither that nor 0. What is
# before it does not stop decoders.
FILLED = re.compile(rb"\xff+")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# Those without a length: TEM and the restarts; SOI once more.
BARE = {0x01, 0xD8, *range(0xD0, 0xD8)}
# 0xC4, 0xC8 and 0xCC are in the middle of them, but something else.
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

EXTENSION, IMAGE = 0x21, 0x2C

BMP_HEADERS = {40, 52, 56, 64, 108, 124}


def announced(data: bytes) -> int:
    """The pixels of an image file, of all its frames together.

    Only data that begin as a key of ``BEGINNINGS`` can be one.

    Returns:
        0 for what is no image, or has no header that decoders could read;
        ``UNTOLD`` if it takes too long to find.
    """
    read = BEGINNINGS.get(data[:2])
    if read is None:
        return 0
    try:
        return read(data)
    except (struct.error, IndexError):
        return 0  # cut short
    except _TooLong:
        return UNTOLD


class _TooLong(Exception):
    """The header is in more pieces than any encoder makes."""


def _steps(data: bytes, piece: int) -> Iterator[int]:
    """As many numbers as a file may have pieces."""
    yield from range(FREE_PIECES + len(data) // piece)
    raise _TooLong


def _jpeg(data: bytes) -> int:
    place = 2
    for _ in _steps(data, OTHER_PIECE):
        found = FILLED.search(data, place)
        if found is None:
            return 0
        marker, place = data[found.end()], found.end() + 1
        if not marker:
            continue
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 3)
            return int(height * width)
        if marker in (START_OF_SCAN, END_OF_IMAGE):
            return 0
        if marker not in BARE:
            place += struct.unpack_from(">H", data, place)[0]
    return 0


def _png(data: bytes) -> int:
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return 0
    width, height = struct.unpack_from(">II", data, 16)
    return int(width * height)


def _gif(data: bytes) -> int:
    """All frames have the size of the largest side of any, as decoders have it."""
    if not data.startswith((b"GIF87a", b"GIF89a")):
        return 0
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + _color_table(flags)
    frames = 0
    steps = _steps(data, GIF_BLOCK)
    try:
        while data[place] in (EXTENSION, IMAGE):
            if data[place] == EXTENSION:
                place += 2
            else:
                frames += 1
                across, down, flags = struct.unpack_from("<HHB", data, place + 5)
                width, height = max(width, across), max(height, down)
                place += 11 + _color_table(flags)
            place = _past_blocks(data, place, steps)
    except (struct.error, IndexError):
        pass  # Decoders may take what they have of a file that is cut short.
    return int(width * height * frames)


def _color_table(flags: int) -> int:
    """Its size in bytes."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _past_blocks(data: bytes, place: int, steps: Iterator[int]) -> int:
    """The end of a row of blocks, of which the last is empty."""
    while data[place]:
        next(steps)
        place += 1 + data[place]
    next(steps)
    return place + 1


def _webp(data: bytes) -> int:
    if not (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        return 0
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return int((width & 0x3FFF) * (height & 0x3FFF))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return int(((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1))
    if kind != b"VP8X":
        return 0
    low, width, high, height = struct.unpack_from("<HBHB", data, 24)
    pixels = ((low | width << 16) + 1) * ((high | height << 16) + 1)
    return int(pixels * max(_webp_frames(data), 1))


def _webp_frames(data: bytes) -> int:
    """How many frames an animation has."""
    place, frames = 12, 0
    for _ in _steps(data, OTHER_PIECE):
        if place + 8 > len(data):
            break
        kind, size = struct.unpack_from("<4sI", data, place)
        frames += kind == b"ANMF"
        place += 8 + size + size % 2
    return frames


def _bmp(data: bytes) -> int:
    size, width, height = struct.unpack_from("<Iii", data, 14)
    if size not in BMP_HEADERS:
        return 0
    return abs(int(width * height))


BEGINNINGS: dict[bytes, Callable[[bytes], int]] = {
    b"\xff\xd8": _jpeg,
    b"\x89P": _png,
    b"GI": _gif,
    b"RI": _webp,
    b"BM": _bmp,
}
