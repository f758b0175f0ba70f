"""Bodies that a stranger may send to cost a server as much as he can, by name.

Each is as large as it may be by default, or as the limit that it runs into.
Whoever finds a worse one adds it to :data:`BODIES`.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping

import attrs

from txinfer.limits import CallLimits

LIMITS = CallLimits()
SIZE = LIMITS.request_size
ELEMENTS = LIMITS.json_elements - 10
NUMBERS = LIMITS.json_numbers - 10
ROWS = LIMITS.request_rows

JSON = "application/json"
NPY, NPZ = "application/x-npy", "application/x-npz"
FORM = "multipart/form-data; boundary=XX"


@attrs.frozen
class Body:
    """What is sent, and where to.

    Args:
        name: what it is.
        method: the name of a method of ``hostile_server``.
        make: makes the body.
        media_type: what the request says it is.
        headers: of the request besides.
    """

    name: str
    method: str
    make: Callable[[], bytes]
    media_type: str = JSON
    headers: Mapping[str, str] = attrs.field(factory=dict)


def many(
    unit: bytes,
    most: int,
    before: bytes = b'{"x":[',
    after: bytes = b"]}",
    elements: int = 1,
) -> Callable[[], bytes]:
    """A unit again and again, until there are so many elements or the body is full."""

    def make() -> bytes:
        room = (SIZE - len(before) - len(after)) // (len(unit) + 1)
        return before + b",".join([unit] * min(room, most // elements)) + after

    return make


def full(
    unit: bytes, before: bytes = b'{"x":["', after: bytes = b'"]}'
) -> Callable[[], bytes]:
    """A unit again and again without commas, until the body is full."""

    def make() -> bytes:
        room = SIZE - len(before) - len(after)
        return before + unit * (room // len(unit)) + after

    return make


def names() -> bytes:
    """An object of many different names."""
    items = b",".join(b'"%d":1' % number for number in range(ELEMENTS // 2))
    return b"{" + items + b"}"


def padded() -> bytes:
    """Short strings and one long one, to which numpy would pad all others."""
    return many(b'""', ROWS // 2, after=b',"' + b"x" * (SIZE // 2) + b'"]}')()


def zip_of(data: bytes) -> bytes:
    """An ``.npz`` archive with one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", data)
    return file.getvalue()


def npy_head(shape: str, dtype: str = "<f4") -> bytes:
    """The head of an ``.npy`` file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(padded)) + padded.encode()


def png(width: int, height: int) -> bytes:
    """A black picture of so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    rows = zlib.compressobj(1)
    row = b"\0" + bytes(3 * width)
    data = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def parts(head: bytes, data: bytes, count: int) -> Callable[[], bytes]:
    """A form of so many parts, or as many as there is room for."""
    part = b"--XX\r\n" + head + b"\r\n\r\n" + data + b"\r\n"
    return lambda: part * min(count, (SIZE - 6) // len(part)) + b"--XX--"


FIELD = b'Content-Disposition: form-data; name="x"'

JSON_NUMBERS = [
    Body("ones", "whole", many(b"1", NUMBERS)),
    Body("floats", "whole", many(b"0.1234567", NUMBERS)),
    Body("doubles", "whole", many(b"0.12345678901234567", NUMBERS)),
    Body("16-bit floats", "halves", many(b"0.1234567", NUMBERS, b'{"x":[[', b"]]}")),
    Body("triples", "triples", many(b"[1,2,3]", ROWS * 4, elements=4)),
    Body(
        "wide rows",
        "whole",
        many(b"[%s]" % b",".join([b"1"] * 999), NUMBERS, elements=1000),
    ),
    Body(
        "deep arrays of one",
        "whole",
        many(b"[" * 25 + b"1" + b"]" * 25, NUMBERS, elements=26),
    ),
    Body("integers", "ints", many(b"123456789", NUMBERS, b'{"x":[[', b"]]}")),
    Body("examples", "numbers", many(b'{"x":1}', 3 * ROWS, b"[", b"]", 3)),
    Body(
        "examples of a direct method",
        "direct",
        many(b'{"x":1}', 3 * 200, b"[", b"]", 3),
    ),
    Body("too many numbers", "whole", many(b"1", SIZE)),
    Body("one of them is null", "whole", many(b"1.5", ELEMENTS, after=b",null]}")),
    Body("one of too many is null", "whole", many(b"1.5", NUMBERS, after=b",null]}")),
    Body(
        "one of the lists is shorter",
        "whole",
        many(b"[1,2,3]", ELEMENTS, after=b",[1]]}", elements=4),
    ),
    Body("numbers of 19 digits", "whole", many(b"1.234567890123456789e-300", ELEMENTS)),
    Body(
        "numbers of 25 digits",
        "whole",
        many(b"1.234567890123456789012345e-300", ELEMENTS),
    ),
    Body(
        "too many numbers of 25 digits",
        "whole",
        many(b"1.234567890123456789012345e-300", NUMBERS),
    ),
    Body(
        "as many as are borne", "whole", many(b"1.234567890123456789012345e-300", 2040)
    ),
    Body(
        "numbers of 800 digits",
        "whole",
        many(b"1." + b"0" * 50 + b"123456789" * 80, NUMBERS),
    ),
    Body("a number of ten million digits", "numbers", full(b"1", b'{"x":[0.', b"]}")),
    Body("an integer of ten million digits", "numbers", full(b"1", b'{"x":[', b"]}")),
    Body("white space", "whole", full(b" ", b'{"x":[', b"1]}")),
]

JSON_STRUCTURE = [
    Body("empty lists", "whole", many(b"[]", ELEMENTS, elements=2)),
    Body("too many empty lists", "whole", many(b"[]", SIZE, elements=2)),
    Body("empty objects", "whole", many(b"{}", ELEMENTS, elements=2)),
    Body("small objects", "whole", many(b'{"a":1}', ELEMENTS, elements=3)),
    Body("lists of one", "words", many(b'["a"]', ELEMENTS, elements=2)),
    Body(
        "deep lists",
        "words",
        many(b"[" * 31 + b'"a"' + b"]" * 31, ELEMENTS, elements=32),
    ),
    Body("different names", "numbers", names),
    Body("too many examples", "numbers", many(b'{"x":1}', ELEMENTS, b"[", b"]", 3)),
    Body(
        "examples of all kinds",
        "numbers",
        many(b'{"x":1},[],1,"a"', ELEMENTS, b"[", b"]", 6),
    ),
    Body("opening brackets", "numbers", full(b"[", b"", b"")),
    Body("opening objects", "numbers", full(b'{"x":[', b"", b"")),
    Body("bytes that are no text", "numbers", full(bytes(range(256)), b"", b"")),
    Body("booleans", "flags", many(b"true", ELEMENTS, b'{"x":[[', b"]]}")),
]

JSON_STRINGS = [
    Body("strings", "words", many(b'"a"', ELEMENTS)),
    Body("longer strings", "words", many(b'"%s"' % (b"a" * 37), ELEMENTS)),
    Body("strings of emoji", "words", many('"😀"'.encode(), ELEMENTS)),
    Body("padded strings", "texts", padded),
    Body("a long string", "texts", full(b"a")),
    Body("a long string of emoji", "texts", full("😀".encode())),
    Body("a long string with one emoji", "texts", full(b"a", after='😀"]}'.encode())),
    Body("escapes", "texts", full(rb"\u0041")),
    Body("escaped emoji", "texts", full(rb"\ud83d\ude00")),
    Body("backslashes", "texts", full(rb"\\")),
    Body("brackets in a string", "texts", full(b"[")),
    Body("base64", "texts", full(b"AAAA", b'{"x":[{"b64":"', b'"}]}')),
    Body(
        "base64 with an error at its end",
        "texts",
        full(b"AAAA", b'{"x":[{"b64":"', b'!"}]}'),
    ),
    Body("base64 for numbers", "numbers", full(b"AAAA", b'{"x":[{"b64":"', b'"}]}')),
    Body(
        "small pieces of base64", "words", many(b'{"b64":"YQ=="}', ELEMENTS, elements=3)
    ),
    Body("too many URLs", "words", many(b'{"url":"a"}', ELEMENTS, elements=3)),
]

IMAGES = [
    Body("a PNG bomb", "texts", lambda: png(12_000, 12_000), "image/png"),
    Body("the largest PNG", "texts", lambda: png(10_000, 5_000), "image/png"),
    Body(
        "JPEG segments without an end",
        "texts",
        full(b"\xff\xe0\0\2", b"\xff\xd8", b""),
        "image/jpeg",
    ),
    Body(
        "GIF blocks without an end",
        "texts",
        full(b"\1x", b"GIF89a" + bytes(7) + b"!\xfe", b""),
        "image/gif",
    ),
    Body(
        "WebP chunks without an end",
        "texts",
        full(b"JUNK\0\0\0\0", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10), b""),
        "image/webp",
    ),
    Body("half a JPEG marker", "texts", full(b"\xff", b"\xff\xd8", b""), "image/jpeg"),
]

GZIP = {"Content-Encoding": "gzip"}

PACKED = [
    Body(
        "a gzip bomb", "texts", lambda: gzip.compress(bytes(20 * SIZE), 1), JSON, GZIP
    ),
    Body(
        "gzip to the limit",
        "numbers",
        lambda: gzip.compress(many(b"1", NUMBERS)(), 1),
        JSON,
        GZIP,
    ),
    Body(
        "gzip that unpacks to a string",
        "texts",
        lambda: gzip.compress(full(b"a")(), 1),
        JSON,
        GZIP,
    ),
    Body(
        "a bomb in an archive",
        "numbers",
        lambda: zip_of(npy_head("(52428800,)") + bytes(20 * SIZE)),
        NPZ,
    ),
    Body(
        "an archive to the limit",
        "numbers",
        lambda: zip_of(npy_head("(2600000,)") + bytes(10_400_000)),
        NPZ,
    ),
]

FILES = [
    Body(
        "a large array",
        "whole",
        lambda: npy_head("(2600000,)") + bytes(10_400_000),
        NPY,
    ),
    Body(
        "a large array of bytes for floats",
        "whole",
        lambda: npy_head("(10000000,)", "|u1") + bytes(10_000_000),
        NPY,
    ),
    Body(
        "a head that promises much",
        "whole",
        lambda: npy_head("(99999999999,)") + bytes(1000),
        NPY,
    ),
    Body("parts", "texts", parts(FIELD, b"a", LIMITS.multipart_parts), FORM),
    Body("too many parts", "texts", parts(FIELD, b"a", SIZE), FORM),
    Body(
        "parts of numbers", "numbers", parts(FIELD, b"1", LIMITS.multipart_parts), FORM
    ),
    Body(
        "a part of many numbers",
        "numbers",
        lambda: parts(FIELD, many(b"1", ELEMENTS, b"[", b"]")(), 1)(),
        FORM,
    ),
    Body(
        "a part of too many lists",
        "numbers",
        lambda: parts(FIELD, many(b"[]", 2_000_000, b"[", b"]", 2)(), 1)(),
        FORM,
    ),
    Body("boundaries that are none", "texts", full(b"\r\n--X", b"--XX\r\n", b""), FORM),
]

BODIES = [*JSON_NUMBERS, *JSON_STRUCTURE, *JSON_STRINGS, *IMAGES, *PACKED, *FILES]
