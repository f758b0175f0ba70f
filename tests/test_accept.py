"""Accept headers: weights and who prefers what."""

from __future__ import annotations

import pytest

from txinfer.accept import media_weight, prefers_gzip, weights


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"gzip", {b"gzip": 1.0}),
        (b"GZip , br", {b"gzip": 1.0, b"br": 1.0}),
        (b"gzip;q=0.5", {b"gzip": 0.5}),
        (b"gzip ; q = 0.25 , *;q=0", {b"gzip": 0.25, b"*": 0.0}),
        (b"gzip;q=.5", {b"gzip": 0.5}),
        (b"gzip;q=1.", {b"gzip": 1.0}),
        (b"gzip;q=1.9", {b"gzip": 1.0}),
        (b"a;q=0.1, a;q=0.3, a;q=0.2", {b"a": 0.3}),
        (b"text/html;level=1;q=0.4", {b"text/html": 0.4}),
        (b"", {}),
        (b" , ,;q=1", {}),
    ],
)
def test_names_have_weights(header: bytes, found: dict[bytes, float]) -> None:
    assert weights(header) == found


@pytest.mark.parametrize(
    "weight",
    [b"q=", b"q=x", b"q=nan", b"q=-1", b"q=2", b"q=1e0", b"q=0x1", b"q", b"q=1 1"],
)
def test_a_weight_that_cannot_be_read_is_none(weight: bytes) -> None:
    assert weights(b"gzip;" + weight) == {b"gzip": 0.0}


def test_the_most_specific_range_decides() -> None:
    wanted = weights(b"*/*;q=0.1, application/*;q=0.5, application/json;q=0.2")
    assert media_weight(wanted, b"application/json") == 0.2
    assert media_weight(wanted, b"application/x-npy") == 0.5
    assert media_weight(wanted, b"text/plain") == 0.1
    assert media_weight(weights(b"text/plain"), b"application/json") == 0


@pytest.mark.parametrize(
    "header",
    [
        b"gzip",
        b"x-gzip",
        b"gzip, deflate, br, zstd",
        b"gzip;q=0.001",
        b"identity;q=0.5, gzip;q=0.5",
        b"gzip;q=0, x-gzip",
    ],
)
def test_gzip_is_wanted(header: bytes) -> None:
    assert prefers_gzip(header)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"*",
        b"identity",
        b"br, deflate",
        b"gzip;q=0",
        b"gzip;q=0.0, *",
        b"identity, gzip;q=0.5",
        b"gzipped",
    ],
)
def test_gzip_is_not_wanted(header: bytes) -> None:
    assert not prefers_gzip(header)
