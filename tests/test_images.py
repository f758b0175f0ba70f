from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from txinfer.images import UNTOLD, announced

WIDE, HIGH = 37, 11


def file(kind: str, frames: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    """An image of 37 x 11 pixels as Pillow writes it."""
    out = io.BytesIO()
    images = [
        Image.effect_noise((WIDE, HIGH), 50 + n).convert(mode) for n in range(frames)
    ]
    if frames > 1:
        options.update(save_all=True, append_images=images[1:])
    images[0].save(out, kind, **options)
    return out.getvalue()


FILES = {
    "jpeg": file("JPEG"),
    "progressive jpeg": file("JPEG", progressive=True),
    "grey jpeg": file("JPEG", mode="L"),
    "jpeg with comments": file("JPEG", comment=b"\xff\xc0" * 9, exif=b"Exif\0\0" * 99),
    "jpeg, padded": file("JPEG").replace(b"\xff\xc0", b"\xff\xff\xff\xc0"),
    "jpeg, dirty": file("JPEG").replace(b"\xff\xc0", b"dirt\xff\0dirt\xff\xc0"),
    "png": file("PNG"),
    "png with a palette": file("PNG", mode="P"),
    "gif": file("GIF", mode="P"),
    "gif with a comment": file("GIF", mode="L", comment=b"x" * 600),
    "webp": file("WEBP"),
    "lossless webp": file("WEBP", lossless=True),
    "webp with alpha": file("WEBP", mode="RGBA", exif=b"Exif\0\0"),
    "bmp": file("BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_an_image_announces_its_pixels(name: str) -> None:
    assert announced(FILES[name]) == WIDE * HIGH


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_announces_the_pixels_of_all_frames(kind: str) -> None:
    data = file(kind, frames=5)
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 5
    assert announced(data) == 5 * WIDE * HIGH


def test_a_bmp_may_be_upside_down() -> None:
    data = bytearray(FILES["bmp"])
    struct.pack_into("<i", data, 22, -HIGH)
    assert announced(bytes(data)) == WIDE * HIGH


@pytest.mark.parametrize("name", FILES)
def test_a_header_suffices(name: str) -> None:
    data = FILES[name]
    found = {announced(data[:size]) for size in range(len(data))}
    assert found == {0, WIDE * HIGH}
    assert announced(data + b"more") == WIDE * HIGH


GIF_START = b"GIF89a" + bytes(7)
WEBP_HEAD = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0"
GIF_HEAD = b"GIF89a" + struct.pack("<HHBBB", 100, 100, 0, 0, 0)
GIF_FRAME = b"," + struct.pack("<HHHHB", 0, 0, 100, 100, 0) + b"\2\1\0\0"
GIF_LARGE = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\1\0\0"


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff", 65535**2),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + b"\x7f\xff\xff\xff" * 2,
            (2**31 - 1) ** 2,
        ),
        (GIF_HEAD + GIF_FRAME * 400 + b";", 400 * 100 * 100),
        (GIF_HEAD + GIF_FRAME + GIF_LARGE, 2 * 65535**2),
        (GIF_HEAD + b"!\xfe\3abc\0" + GIF_FRAME, 10**4),
        (WEBP_HEAD + b"\xff" * 6, 2**48),
        (
            b"BM" + bytes(12) + struct.pack("<Iii", 40, 2**31 - 1, -(2**31)),
            2**62 - 2**31,
        ),
    ],
)
def test_few_bytes_may_announce_many_pixels(data: bytes, pixels: int) -> None:
    assert announced(data) == pixels


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"BMW makes cars, and some motorcycles too, they say",
        b"GIF89a is a format of the last century",
        b"GIFs are fun",
        b"RIFF and other words, WEBP among them",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\x89PNG\r\n\x1a\n",
        "\x89PNG\r\n\x1a\n".encode() + bytes(99),
    ],
)
def test_what_is_no_image_announces_nothing(data: bytes) -> None:
    assert announced(data) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000,
        b"\xff\xd8" + b"\xff\xd0" * 100_000,
        GIF_START + b"!\xfe" + b"\1x" * 100_000,
        GIF_START + b"!\xfe\0" * 100_000,
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0"
        + bytes(6)
        + b"JUNK\0\0\0\0" * 100_000,
    ],
)
def test_a_header_without_an_end_is_not_read_to_its_end(data: bytes) -> None:
    assert announced(data) == UNTOLD


@given(
    st.sampled_from([b"", *(data[:40] for data in FILES.values())]),
    st.binary(),
    st.binary(),
)
@example(b"\xff\xd8", b"\xff\xc0", b"")
@example(b"GIF89a", b"\0" * 7, b",")
def test_anything_announces_something(start: bytes, middle: bytes, end: bytes) -> None:
    assert announced(start + middle + end) >= 0
