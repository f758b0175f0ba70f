from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.http import datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.web_client import Answer, WebClient
from txinfer.static import StaticFiles
from txinfer.web import Root

PAGE = b"<p>hello</p>"
TEXT = b"0123456789"
SECRET = b"secret"
MODIFIED = 1_600_000_000


class Files(WebClient):
    """Asks for files under ``/web``."""

    def ask(self, method: str, path: str, *args: object) -> Answer:
        connection = self.begin(method, path, *args)
        written = -1
        while written < len(connection.received):
            written = len(connection.received)
            # Twisted writes files by its global cooperator, in steps that the
            # reactor is asked for; this takes some without waiting for anything.
            for _ in range(10):
                reactor.runUntilCurrent()  # type: ignore[attr-defined]
        return connection.answer(method)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served; a secret lies beside it."""
    folder = tmp_path / "public"
    for name, content in {
        "index.html": PAGE,
        "a.txt": TEXT,
        "empty": b"",
        "sub/index.html": b"sub",
        "sub/b.js": b"1",
        "bare/c.css": b"c",
        ".hidden": SECRET,
        ".dots/d.txt": SECRET,
        "é.txt": b"e",
        "a%2fb": b"percent",
        "back\\slash": b"back",
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (MODIFIED, MODIFIED))
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "public-too").mkdir()
    (tmp_path / "public-too" / "secret.txt").write_bytes(SECRET)
    return folder


def serving(path: Path) -> Files:
    api = Resource()
    root = Root(api)
    root.putChild(b"web", StaticFiles(str(path)))
    return Files(root)


@pytest.fixture
def files(folder: Path) -> Files:
    return serving(folder)


def assert_missing(answer: Answer) -> None:
    assert (answer.status, answer.error) == (404, "no such file")
    assert SECRET not in answer.body


# What is served


@pytest.mark.parametrize(
    ("path", "body", "type"),
    [
        ("/web/", PAGE, "text/html"),
        ("/web/index.html", PAGE, "text/html"),
        ("/web/a.txt", TEXT, "text/plain"),
        ("/web/a.txt?query", TEXT, "text/plain"),
        ("/web/sub/", b"sub", "text/html"),
        ("/web/sub/b.js", b"1", "text/javascript"),
        ("/web/bare/c.css", b"c", "text/css"),
        ("/web/%C3%A9.txt", b"e", "text/plain"),
        ("/web/empty", b"", None),
        ("/web/a%252fb", b"percent", "application/octet-stream"),
        ("/web/back%5cslash", b"back", "application/octet-stream"),
        ("/web/%61.txt", TEXT, "text/plain"),
    ],
)
def test_files_are_served_with_their_type(
    files: Files, path: str, body: bytes, type: str | None
) -> None:
    answer = files.get(path)
    assert (answer.status, answer.body) == (200, body)
    assert answer["Content-Length"] == str(len(body))
    if type is not None:
        assert answer["Content-Type"] in (type, type.replace("text", "application"))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Accept-Ranges"] == "bytes"


def test_head_is_get_without_the_body(files: Files) -> None:
    answer = files.ask("HEAD", "/web/a.txt")
    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == "10"
    assert answer["Content-Type"] == "text/plain"
    missing = files.ask("HEAD", "/web/nope")
    assert (missing.status, missing.body) == (404, b"")


def test_a_large_file_is_served_whole(folder: Path, files: Files) -> None:
    content = os.urandom(1_000_000)
    (folder / "large").write_bytes(content)
    assert files.get("/web/large").body == content


def test_one_file_can_be_served_alone(folder: Path) -> None:
    files = serving(folder / "a.txt")
    assert files.get("/web").body == TEXT
    for path in ("/web/", "/web/a.txt", "/web/index.html"):
        assert_missing(files.get(path))


@pytest.mark.parametrize(
    ("path", "location"), [("/web", "./web/"), ("/web/sub", "./sub/")]
)
def test_a_folder_without_its_slash_is_redirected(
    files: Files, path: str, location: str
) -> None:
    for method in ("GET", "HEAD"):
        answer = files.ask(method, path)
        assert answer.status == 301
        # Relative: whatever the site is called outside, and not to //sub.
        assert answer["Location"] == location


def test_a_redirect_leads_nowhere_else(files: Files) -> None:
    for path in ("//web", "/%2f%2fevil.org/web", "/web/%0d%0aX:y", "/web/sub%0d%0a"):
        answer = files.get(path)
        assert answer.status == 404
        assert answer["Location"] is None


# What is not


@pytest.mark.parametrize(
    "path",
    [
        "/web/nope",
        "/web/nope/",
        "/web/nope/a.txt",
        "/web/a.txt/",
        "/web/a.txt/b",
        "/web//",
        "/web//a.txt",
        "/web/sub//b.js",
    ],
)
def test_what_is_not_there_is_not_found(files: Files, path: str) -> None:
    answer = files.get(path)
    if answer.status == 200:
        # An empty segment asks for the index, which has nothing below it.
        assert path == "/web//"
    else:
        assert_missing(answer)


def test_folders_are_not_listed(files: Files) -> None:
    answer = files.get("/web/bare/")
    assert_missing(answer)
    assert b"c.css" not in answer.body


@pytest.mark.parametrize(
    "path", ["/web/.hidden", "/web/.dots/d.txt", "/web/.dots/", "/web/%2ehidden"]
)
def test_dot_files_are_not_served(files: Files, path: str) -> None:
    assert_missing(files.get(path))


@pytest.mark.parametrize(
    "way",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "%2E%2E/secret.txt",
        ".%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "sub/../../secret.txt",
        "sub/%2e%2e/%2e%2e/secret.txt",
        "sub%2f..%2f..%2fsecret.txt",
        "..%5csecret.txt",
        "%2e%2e%5csecret.txt",
        "..\\secret.txt",
        "%252e%252e/secret.txt",
        "%252e%252e%252fsecret.txt",
        "..%c0%afsecret.txt",
        "%c0%ae%c0%ae/secret.txt",
        "../public-too/secret.txt",
        "..%2fpublic-too%2fsecret.txt",
        "./a.txt",
        ".",
        "..",
        "sub%2fb.js",
        "sub%2f",
        "%2f",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "//etc/passwd",
        "a.txt%00",
        "%00",
        "a.txt%00.html",
        "sub/%00/b.js",
        "%ff",
        "a.txt%ff",
        "a" * 5000,
        "a/" * 2000,
        "~root",
        "C:%5c",
        "%",
        "%zz",
        "%u002e",
    ],
)
def test_no_way_leads_out(files: Files, way: str) -> None:
    assert_missing(files.get(f"/web/{way}"))


def test_no_symlink_leads_out(folder: Path, files: Files) -> None:
    outside = folder.parent
    (folder / "file").symlink_to(outside / "secret.txt")
    (folder / "folder").symlink_to(outside)
    (folder / "twin").symlink_to(outside / "public-too")
    (folder / "relative").symlink_to("../secret.txt")
    (folder / "chain").symlink_to("relative")
    (folder / "root").symlink_to("/")
    (folder / "nothing").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "bare" / "index.html").symlink_to(outside / "secret.txt")
    for path in [
        "file",
        "folder",
        "folder/",
        "folder/secret.txt",
        "folder/public/a.txt/../../secret.txt",
        "twin/secret.txt",
        "relative",
        "chain",
        "root",
        "root/etc/passwd",
        "nothing",
        "loop",
        "bare/",
        "bare/index.html",
    ]:
        assert_missing(files.get(f"/web/{path}"))


def test_symlinks_within_are_followed(folder: Path, files: Files) -> None:
    (folder / "link.txt").symlink_to("a.txt")
    (folder / "other").symlink_to("sub")
    (folder / "bare" / "up").symlink_to("..")
    assert files.get("/web/link.txt").body == TEXT
    assert files.get("/web/other/b.js").body == b"1"
    assert files.get("/web/bare/up/a.txt").body == TEXT


def test_the_folder_itself_may_be_a_symlink(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    files = serving(link)
    assert files.get("/web/a.txt").body == TEXT
    assert files.get("/web/").body == PAGE
    assert_missing(files.get("/web/%2e%2e/secret.txt"))


def test_what_is_no_file_is_not_opened(folder: Path, files: Files) -> None:
    # Opening a pipe would block the reactor until somebody writes into it.
    os.mkfifo(folder / "pipe")
    assert_missing(files.get("/web/pipe"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_found(folder: Path, files: Files) -> None:
    (folder / "a.txt").chmod(0)
    assert_missing(files.get("/web/a.txt"))


@pytest.mark.parametrize("path", ["/web", "/web/", "/web/a.txt", "/web/sub"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_files_are_only_read(files: Files, method: str, path: str) -> None:
    answer = files.ask(method, path, b"{}")
    assert answer.status == 405
    assert answer.error
    assert answer["Allow"] == "GET, HEAD"


# Ranges


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-3", 0, 3),
        ("bytes=3-3", 3, 3),
        ("bytes=0-9", 0, 9),
        ("bytes=5-", 5, 9),
        ("bytes=8-1000", 8, 9),
        ("bytes=-3", 7, 9),
        ("bytes=-10", 0, 9),
        ("bytes=-1000", 0, 9),
    ],
)
def test_one_range_is_served(files: Files, asked: str, first: int, last: int) -> None:
    answer = files.get("/web/a.txt", Range=asked)
    assert (answer.status, answer.body) == (206, TEXT[first : last + 1])
    assert answer["Content-Range"] == f"bytes {first}-{last}/10"
    assert answer["Content-Length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_that_the_file_does_not_have_is_refused(
    files: Files, asked: str
) -> None:
    answer = files.get("/web/a.txt", Range=asked)
    assert (answer.status, answer.error) == (416, "the file has no such range")
    assert answer["Content-Range"] == "bytes */10"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,3-4",
        "bytes=0-0,-1",
        "bytes=" + ",".join(f"{n}-" for n in range(1000)),
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=3-1",
        "bytes=1",
        "bytes=+1-2",
        "bytes=1_0-",
        "bytes=--1",
        "bytes=" + "9" * 5000 + "-",
        "lines=0-1",
        "0-1",
        "\xff",
        "",
    ],
)
def test_any_other_range_is_ignored(files: Files, asked: str) -> None:
    answer = files.get("/web/a.txt", Range=asked)
    assert (answer.status, answer.body) == (200, TEXT)
    assert answer["Content-Range"] is None


def test_a_range_on_condition_is_ignored(files: Files) -> None:
    for condition in ('"tag"', datetimeToString(MODIFIED).decode()):
        answer = files.get("/web/a.txt", Range="bytes=0-1", If_Range=condition)
        assert (answer.status, answer.body) == (200, TEXT)


# What has not changed


def test_a_file_tells_when_it_was_modified(files: Files) -> None:
    answer = files.get("/web/a.txt")
    assert answer["Last-Modified"] == datetimeToString(MODIFIED).decode()


@pytest.mark.parametrize(
    ("seconds", "status"), [(-1, 200), (0, 304), (1, 304), (10**6, 304)]
)
def test_a_file_is_not_sent_again_unless_modified(
    files: Files, seconds: int, status: int
) -> None:
    since = datetimeToString(MODIFIED + seconds).decode()
    answer = files.get("/web/a.txt", If_Modified_Since=since)
    assert (answer.status, answer.body) == (status, TEXT if status == 200 else b"")


@pytest.mark.parametrize("since", ["yesterday", "\xff", "", "0"])
def test_a_bad_date_is_ignored(files: Files, since: str) -> None:
    assert files.get("/web/a.txt", If_Modified_Since=since).body == TEXT


# Anywhere


def test_it_works_under_a_plain_site(folder: Path) -> None:
    top = Resource()
    top.putChild(b"files", StaticFiles(str(folder)))
    files = Files(top, Site(top, reactor=Clock()))
    assert files.get("/files/a.txt").body == TEXT
    assert_missing(files.get("/files/%2e%2e/secret.txt"))
    assert_missing(files.get("/files/%00"))
