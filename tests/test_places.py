"""What paths of models mean."""

from __future__ import annotations

import pytest

from txinfer.places import Url, check_model, is_url, parse_url, shown
from txinfer.specs import ModelSpec

SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/srv/models", None),
        ("models/http", None),
        ("C:/models", None),
        ("https://a.example/m", Url("https://a.example/m", "https", None)),
        (
            f"HTTP://a.example/m.zip?key=1#sha256={SUM.upper()}",
            Url("HTTP://a.example/m.zip?key=1", "http", SUM),
        ),
        ("s3://bucket/m", Url("s3://bucket/m", "s3", None)),
        (f"gs://b/m.tgz#sha256={SUM}", Url("gs://b/m.tgz", "gs", SUM)),
    ],
)
def test_a_url_is_told_from_a_path(path: str, url: Url | None) -> None:
    assert parse_url(path) == url
    assert is_url(path) == (url is not None)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("https://a.example/m#sha256=12", "must be sha256= and 64 hex"),
        (f"https://a.example/m#md5={SUM}", "must be sha256= and 64 hex"),
        (f"s3://bucket/m#sha256={SUM}", "only an archive has a checksum"),
        ("https:///m", "must have a host"),
        ("https://me:secret@a.example/m", "must have a host, and no user"),
        ("https://a.example/ü", "must be written in ASCII"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_url(path)


@pytest.mark.parametrize(
    ("path", "archive"),
    [
        ("https://a.example/models/7", True),
        ("s3://bucket/m.tar.gz", True),
        ("s3://bucket/m.zip?versionId=1", True),
        ("s3://bucket/m", False),
    ],
)
def test_what_comes_from_the_web_is_an_archive(path: str, archive: bool) -> None:
    url = parse_url(path)
    assert url is not None
    assert url.is_archive == archive


def test_what_may_be_secret_is_not_shown() -> None:
    assert shown("/srv/m?x#y") == "/srv/m?x#y"
    assert shown(f"https://a.example/m?sig=1#sha256={SUM}") == "https://a.example/m"
    assert shown("s3://key:secret@bucket/m") == "s3://bucket/m"


def test_what_nothing_can_read_is_told() -> None:
    check_model(ModelSpec("memory://models/m"))
    check_model(ModelSpec("https://a.example/m"))
    with pytest.raises(ValueError, match="nothing can read carrier://"):
        check_model(ModelSpec("carrier://pigeon/m"))
    # Nobody who runs the tests has this.
    with pytest.raises(ValueError, match="needs more: "):
        check_model(ModelSpec("oci://bucket/m"))
