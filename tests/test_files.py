from __future__ import annotations

import os
from pathlib import Path

import pytest

from txinfer.files import content_type, open_below, open_plain


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("INDEX.HTM", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.min.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.js.map", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.JPEG", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.ico", "image/x-icon"),
        # Not taken apart: its bytes are sent as they are.
        ("a.json.gz", "application/gzip"),
        ("a.exe", "application/octet-stream"),
        ("html", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_a_file_s_type_is_told_by_its_name(name: str, kind: str) -> None:
    expected = "text/html; charset=utf-8" if name == "html" else kind
    assert content_type(name) == expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "public" / "sub").mkdir(parents=True)
    (tmp_path / "public" / "sub" / "a.txt").write_bytes(b"public")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "a.txt").write_bytes(b"secret")
    return tmp_path / "public"


def test_what_is_below_is_opened(folder: Path) -> None:
    entry = open_below(str(folder), ["sub", "a.txt"])
    assert os.pread(entry.fd, 100, 0) == b"public"
    assert (entry.is_file, entry.is_folder, entry.size) == (True, False, 6)
    entry.close()
    for names in ([], ["sub"]):
        entry = open_below(str(folder), names)
        assert (entry.is_file, entry.is_folder) == (False, True)
        entry.close()


@pytest.mark.parametrize("names", [["..", "private", "a.txt"], ["nope"], ["sub", "x"]])
def test_what_is_not_below_is_not_opened(folder: Path, names: list[str]) -> None:
    with pytest.raises(FileNotFoundError):
        open_below(str(folder), names)


def test_a_link_that_is_put_there_after_the_check_is_not_followed(
    folder: Path,
) -> None:
    # What open_below found to lead inside has become, one by one:
    file = folder / "sub" / "a.txt"
    file.unlink()
    file.symlink_to(folder.parent / "private" / "a.txt")
    with pytest.raises(OSError, match="symbolic links"):
        open_plain(str(folder), ["sub", "a.txt"])
    file.unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(folder.parent / "private")
    with pytest.raises(OSError, match="symbolic links"):
        open_plain(str(folder), ["sub", "a.txt"])


def test_what_cannot_be_opened_leaves_nothing_open(folder: Path) -> None:
    before = os.listdir("/dev/fd")
    for names in (["sub", "nope"], ["sub", "a.txt", "x"], ["nope", "x"]):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            open_plain(str(folder), names)
    assert os.listdir("/dev/fd") == before
