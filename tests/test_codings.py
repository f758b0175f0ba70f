"""Content-Encoding: what comes out, what is refused, and how little is held."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

from tests.deferreds import reason, result
from txinfer.codings import LEVEL, STEP, packed, unpacked
from txinfer.errors import InvalidBody
from txinfer.refusals import TooLarge, UnsupportedCoding

TEXT = b'{"x": [1, 2, 3]}'
LIMIT = 1_000_000


def bare(data: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush()


def noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


CODERS = [
    (b"gzip", gzip.compress),
    (b"X-GZip", gzip.compress),
    (b" GZIP\t", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", bare),
    (b"identity", bytes),
    (b"", bytes),
]


@pytest.mark.parametrize(("coding", "coder"), CODERS)
@given(body=st.binary(max_size=5000))
def test_what_was_put_in_comes_out(coding: bytes, coder: type, body: bytes) -> None:
    assert unpacked(coder(body), coding, LIMIT) == body


@pytest.mark.parametrize(("coding", "coder"), CODERS[:5])
@pytest.mark.parametrize("body", [bytes(LIMIT), noise(LIMIT)])
def test_the_limit_is_for_what_comes_out(
    coding: bytes, coder: type, body: bytes
) -> None:
    assert unpacked(coder(body), coding, LIMIT) == body
    with pytest.raises(TooLarge, match="larger than 999999 bytes"):
        unpacked(coder(body), coding, LIMIT - 1)


def test_a_bomb_is_given_up_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            unpacked(bomb, b"gzip", LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 3 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_no_body_at_all_needs_no_coding(coding: bytes) -> None:
    assert unpacked(b"", coding, LIMIT) == b""


@pytest.mark.parametrize(
    "coding",
    [
        b"br",
        b"zstd",
        b"compress",
        b"gzip, gzip",
        b"gzip,deflate",
        b"identity, gzip",
        b"\xff",
    ],
)
def test_other_codings_and_several_are_refused_with_the_known_ones(
    coding: bytes,
) -> None:
    with pytest.raises(UnsupportedCoding, match="one Content-Encoding of: gzip, def"):
        unpacked(TEXT, coding, LIMIT)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (TEXT, b"gzip"),
        (TEXT, b"deflate"),
        (zlib.compress(TEXT), b"gzip"),
        (gzip.compress(TEXT), b"deflate"),
        (gzip.compress(TEXT)[:-8] + bytes(8), b"gzip"),
        (zlib.compress(TEXT)[:-4] + bytes(4), b"deflate"),
        (b"\x1f", b"gzip"),
    ],
)
def test_what_is_not_in_its_coding_is_refused(body: bytes, coding: bytes) -> None:
    with pytest.raises(InvalidBody):
        unpacked(body, coding, LIMIT)


@pytest.mark.parametrize(("coding", "coder"), CODERS[:5])
def test_a_body_cut_anywhere_is_refused(coding: bytes, coder: type) -> None:
    whole = coder(noise(STEP))
    for end in (1, 2, 9, 100, len(whole) // 2, len(whole) - 1):
        with pytest.raises(InvalidBody):
            unpacked(whole[:end], coding, LIMIT)


@pytest.mark.parametrize(("coding", "coder"), CODERS[:5])
@pytest.mark.parametrize("more", [b"\0", gzip.compress(b""), bytes(3 * STEP)])
def test_nothing_may_follow(coding: bytes, coder: type, more: bytes) -> None:
    with pytest.raises(InvalidBody, match="goes on behind its end"):
        unpacked(coder(TEXT) + more, coding, LIMIT)


# Answers


@pytest.mark.parametrize("size", [0, 1, 2000, STEP - 1, STEP])
def test_a_short_answer_is_packed_at_once(size: int) -> None:
    body = noise(size)
    made = result(Deferred.fromCoroutine(packed(body, Clock())))
    assert gzip.decompress(made) == body


class Turning(Clock):
    """A clock that counts the turns it is asked for."""

    turns = 0

    def callLater(self, *args: Any, **kwargs: Any) -> IDelayedCall:
        self.turns += 1
        return super().callLater(*args, **kwargs)


def test_a_long_answer_is_packed_in_steps_between_which_the_reactor_turns() -> None:
    clock = Turning()
    body = bytes(4 * STEP + 1)
    making = Deferred.fromCoroutine(packed(body, clock))
    assert not making.called
    clock.advance(0)
    assert clock.turns == 4
    assert gzip.decompress(result(making)) == body


def test_packing_can_be_cancelled() -> None:
    clock = Clock()
    making = Deferred.fromCoroutine(packed(bytes(4 * STEP), clock))
    making.cancel()
    assert isinstance(reason(making), CancelledError)
    assert not clock.getDelayedCalls()


def test_equal_answers_are_packed_into_equal_bytes() -> None:
    first, second = (
        result(Deferred.fromCoroutine(packed(TEXT, Clock()))) for _ in "12"
    )
    assert first == second
    assert LEVEL == 1
