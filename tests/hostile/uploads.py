"""Bodies that are files: bombs, lies about lengths, and what is not what it says."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.hostile.wire import Case, case, chunked, post

NPY = "Content-Type: application/x-npy"
NPZ = "Content-Type: application/x-npz"
FORM = "Content-Type: multipart/form-data; boundary=XX"
GZIP = "Content-Encoding: gzip"
DEFLATE = "Content-Encoding: deflate"

GOOD = b'{"x": [1.0]}'
ZEROS = bytes(5_000_000)


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_of(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def shaped(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return npy_of(header, data)


def npz(files: list[tuple[str, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return file.getvalue()


def field(name: str, data: bytes, *lines: str) -> bytes:
    head = [f'--XX\r\nContent-Disposition: form-data; name="{name}"', *lines, "", ""]
    return "\r\n".join(head).encode() + data + b"\r\n"


END = b"--XX--\r\n"


def uploads() -> Iterator[Case]:
    """All of them; the method takes one input ``x``, float32 [-1]."""
    for name, body, lines, status in (
        *compressed(),
        *arrays(),
        *archives(),
        *forms(),
        *wishes(),
        ("image_for_numbers", b"\x89PNG", ["Content-Type: image/png"], 415),
        ("type_without_a_slash", GOOD, ["Content-Type: json"], 415),
        ("type_of_commas", GOOD, ["Content-Type: a/b, application/json"], 415),
        ("type_very_long", GOOD, ["Content-Type: a/b" + ";a=b" * 450], 415),
        ("charset_unknown", GOOD, ["Content-Type: application/json; charset=x"], 200),
    ):
        yield case(f"upload_{name}", post(body, *lines), status, closes=False)
    bomb = gzip.compress(ZEROS)
    line = f"{len(bomb):x}\r\n".encode()
    sent = chunked(line + bomb + b"\r\n").replace(
        b"\r\n", b"\r\n" + GZIP.encode() + b"\r\n", 1
    )
    yield case("upload_gzip_bomb_chunked", sent, 413, closes=False)


Upload = tuple[str, bytes, list[str], int]


def compressed() -> Iterator[Upload]:
    """Content-Encoding."""
    packed = gzip.compress(GOOD)
    for name, body, coding, status in (
        ("gzip", packed, GZIP, 200),
        ("deflate", zlib.compress(GOOD), DEFLATE, 200),
        ("gzip_bomb", gzip.compress(ZEROS), GZIP, 413),
        ("deflate_bomb", zlib.compress(ZEROS, 9), DEFLATE, 413),
        ("gzip_bomb_in_a_bomb", gzip.compress(gzip.compress(ZEROS)), GZIP, 400),
        ("gzip_one_past_the_limit", gzip.compress(GOOD.ljust(10_001)), GZIP, 413),
        ("gzip_at_the_limit", gzip.compress(GOOD.ljust(10_000)), GZIP, 200),
        ("gzip_cut", packed[:-1], GZIP, 400),
        ("gzip_without_its_header", packed[10:], GZIP, 400),
        ("gzip_of_wrong_sum", packed[:-8] + bytes(8), GZIP, 400),
        ("gzip_of_many_members", gzip.compress(b"") * 400, GZIP, 400),
        ("gzip_and_more", packed + b"x", GZIP, 400),
        ("gzip_that_is_none", GOOD, GZIP, 400),
        ("deflate_that_is_none", GOOD, DEFLATE, 400),
        ("deflate_of_empty_blocks", b"\0\0\0\xff\xff" * 1900, DEFLATE, 400),
        ("coding_brotli", GOOD, "Content-Encoding: br", 415),
        ("coding_twice_in_one", packed, "Content-Encoding: gzip, gzip", 415),
        ("coding_of_many", packed, "Content-Encoding: " + "gzip," * 300, 415),
        ("coding_not_ascii", packed, "Content-Encoding: \xff", 415),
    ):
        yield name, body, [coding], status
    yield "coding_in_two_headers", packed, [GZIP, GZIP], 415


def arrays() -> Iterator[Upload]:
    """npy files."""
    data = np.ones(2, "<f4").tobytes()
    for name, body, status in (
        ("good", npy(np.ones(2, np.float32)), 200),
        ("pickle", npy(np.array([{}], object)), 400),
        ("pickle_of_strings", npy(np.array(["a"], object)), 400),
        ("strings", npy(np.array(["a"])), 400),
        ("records", npy(np.zeros(1, "f4,i4")), 400),
        ("dates", npy(np.zeros(1, "M8[s]")), 400),
        ("empty", b"", 400),
        ("magic_only", b"\x93NUMPY", 400),
        ("version_unknown", npy_of("", version=b"\x09\0"), 400),
        ("header_longer_than_all", b"\x93NUMPY\2\0\xff\xff\xff\xff{", 400),
        ("header_of_code", npy_of("__import__('os').abort()"), 400),
        ("header_of_braces", npy_of("{" * 1000), 400),
        ("header_of_spaces", npy_of("{" + " " * 1000), 400),
        ("header_very_long", npy_of(" " * 9000), 400),
        ("shape_of_a_terabyte", shaped("(1000000000000,)", data), 413),
        ("shape_that_overflows", shaped("(4294967296, 4294967296)", data), 413),
        ("shape_of_nothing_huge", shaped("(0, 1000000000000)"), 413),
        ("shape_of_huge_nothing", shaped("(1000000000000, 0)"), 413),
        ("shape_negative", shaped("(-2,)", data), 400),
        ("shape_of_many_digits", shaped("(" + "9" * 900 + ",)", data), 400),
        ("shape_of_many_ones", shaped("(" + "1," * 400 + ")", data), 400),
        ("shape_for_more_data", shaped("(3,)", data), 400),
        ("shape_for_less_data", shaped("(1,)", data), 400),
        ("shape_of_33_dimensions", shaped("(" + "1," * 33 + ")", data[:4]), 400),
        ("shape_of_32_dimensions", shaped("(" + "1," * 32 + ")", data[:4]), 400),
        ("dtype_of_no_bytes", shaped("(2,)", b"", "'|S0'"), 400),
        ("dtype_object", shaped("(1,)", data, "'|O'"), 400),
        ("dtype_of_many_bytes", shaped("(1,)", data, "'<f999999999'"), 400),
        ("dtype_a_list", shaped("(1,)", data, "[('a', '<f4')]"), 400),
        ("dtype_bool_of_7", shaped("(2,)", b"\7\7", "'|b1'"), 400),
        ("nan", npy(np.array([np.nan], np.float32)), 200),
        ("too_large_for_float", npy(np.array([1e300])), 400),
        ("no_rows", npy(np.zeros(0)), 400),
    ):
        yield f"npy_{name}", body, [NPY], status


def archives() -> Iterator[Upload]:
    """npz files."""
    one = npy(np.ones(1, np.float32))
    good = npz([("x.npy", one)])
    end = len(good) - 22
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    start = good.rindex(b"PK\1\2")
    loop = good[:start] + good[start:end] * 100 + good[end:]
    far = bytearray(good)
    struct.pack_into("<L", far, start + 42, 0xFFFFFFF0)
    long = bytearray(good)
    struct.pack_into("<L", long, start + 24, 0x7FFFFFFF)
    for name, body, status in (
        ("good", good, 200),
        ("bomb", npz([("x.npy", ZEROS)]), 413),
        ("bomb_that_is_not_wanted", npz([("x.npy", one), ("y.npy", ZEROS)]), 400),
        ("pickle", npz([("x.npy", npy(np.array([{}], object)))]), 400),
        ("no_arrays", npz([]), 400),
        ("no_array", npz([("x.npy", b"hello")]), 400),
        ("name_twice", npz([("x.npy", one), ("x", one)]), 400),
        ("name_of_a_path", npz([("../../x.npy", one)]), 400),
        ("many_names", npz([(f"{i}", b"") for i in range(80)]), 400),
        ("bzip2", npz([("x.npy", one)], zipfile.ZIP_BZIP2), 400),
        ("lzma", npz([("x.npy", one)], zipfile.ZIP_LZMA), 400),
        ("directory_elsewhere", good[:end] + locator + good[end:], 400),
        ("directory_many_times", loop, 400),
        ("file_far_away", bytes(far), 400),
        ("file_longer_than_it_is", bytes(long), 400),
        ("cut", good[:-1], 400),
        ("comment", good[:-2] + b"\3\0abc", 400),
        ("empty", b"", 400),
    ):
        yield f"npz_{name}", body, [NPZ], status


def forms() -> Iterator[Upload]:
    """multipart/form-data."""
    good = field("x", b"1")
    for name, body, status in (
        ("good", good * 3 + END, 200),
        ("empty", b"", 400),
        ("no_parts", END, 400),
        ("cut", good, 400),
        ("many_parts", field("x", b"") * 101 + END, 413),
        ("many_false_boundaries", field("x", b"\r\n--XXx" * 1000) + END, 400),
        ("near_boundaries", field("x", b"\r\n--X" * 1500) + END, 400),
        ("many_headers", field("x", b"1", *["a: b"] * 900) + END, 400),
        ("long_header", field("x", b"1", "a: " + "b" * 9000) + END, 400),
        ("name_very_long", field("x" * 3000, b"1") + END, 400),
        ("name_unknown", good + field("y", b"1") + END, 400),
        ("name_of_newlines", field("x%0d%0aSet-Cookie: a=b", b"1") + END, 400),
        ("no_name", good.replace(b' name="x"', b"") + END, 400),
        ("attachment", good.replace(b"form-data", b"attachment") + END, 400),
        ("value_not_json", field("x", b"\xff") + END, 400),
        ("value_deep", field("x", b"[" * 4000) + END, 400),
        ("url", field("x", b'{"url": "http://localhost/"}') + END, 400),
        (
            "npy_bomb",
            field("x", shaped("(99999999,)"), "Content-Type: application/x-npy") + END,
            413,
        ),
        (
            "base64",
            field("x", b"MQ==", "Content-Transfer-Encoding: base64") + END,
            400,
        ),
        (
            "part_of_parts",
            field("x", b"", "Content-Type: multipart/mixed; boundary=Y") + END,
            400,
        ),
        ("length_of_a_part", field("x", b"1", "Content-Length: 9") + END, 400),
    ):
        yield f"form_{name}", body, [FORM], status
    kind = "Content-Type: multipart/form-data"
    for name, boundary in (
        ("no_boundary", ""),
        ("boundary_empty", "; boundary="),
        ("boundary_very_long", "; boundary=" + "X" * 1500),
        ("boundary_of_quotes", '; boundary="' + '\\"' * 700),
    ):
        yield f"form_{name}", good + END, [kind + boundary], 400


def wishes() -> Iterator[Upload]:
    """Accept and Accept-Encoding."""
    for name, line, status in (
        ("npz", "Accept: application/x-npz", 200),
        ("of_many", "Accept: " + "application/x-npy;q=0.1," * 70, 200),
        ("of_commas", "Accept: application/x-npy" + "," * 1500, 200),
        ("weight_of_digits", "Accept: application/x-npy;q=0." + "0" * 1500, 200),
        ("weight_unreadable", "Accept: application/x-npy;q=nan", 200),
        ("not_ascii", "Accept: application/x-npy\xff", 200),
        ("coding_of_many", "Accept-Encoding: " + "gzip;q=0.5," * 150, 200),
        ("coding_not_ascii", "Accept-Encoding: \xff", 200),
    ):
        yield f"accept_{name}", GOOD, [line], status
