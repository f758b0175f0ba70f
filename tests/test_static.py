from __future__ import annotations

import os
import resource
import socket
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.http import datetimeToString
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.web_client import Answer, Connection, WebClient
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
        self.settle(connection)
        return connection.answer(method)

    def settle(self, connection: Connection) -> None:
        """Let all be sent that will be."""
        written = -1
        while written < len(connection.received):
            written = len(connection.received)
            self.turn()
            connection.settle()

    def turn(self) -> None:
        """Have some of a file sent.

        Twisted sends by its global cooperator, in steps that the reactor is asked
        for; this takes some without waiting for anything.
        """
        for _ in range(10):
            reactor.runUntilCurrent()  # type: ignore[attr-defined]


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
    assert answer["ETag"] is None
    assert SECRET not in answer.body


# What is served


@pytest.mark.parametrize(
    ("path", "body", "type"),
    [
        ("/web/", PAGE, "text/html; charset=utf-8"),
        ("/web/index.html", PAGE, "text/html; charset=utf-8"),
        ("/web/a.txt", TEXT, "text/plain; charset=utf-8"),
        ("/web/a.txt?query", TEXT, "text/plain; charset=utf-8"),
        ("/web/sub/", b"sub", "text/html; charset=utf-8"),
        ("/web/sub/b.js", b"1", "text/javascript; charset=utf-8"),
        ("/web/bare/c.css", b"c", "text/css; charset=utf-8"),
        ("/web/%C3%A9.txt", b"e", "text/plain; charset=utf-8"),
        ("/web/empty", b"", "application/octet-stream"),
        ("/web/a%252fb", b"percent", "application/octet-stream"),
        ("/web/back%5cslash", b"back", "application/octet-stream"),
        ("/web/%61.txt", TEXT, "text/plain; charset=utf-8"),
    ],
)
def test_files_are_served_with_their_type(
    files: Files, path: str, body: bytes, type: str
) -> None:
    answer = files.get(path)
    assert (answer.status, answer.body) == (200, body)
    assert answer["Content-Length"] == str(len(body))
    assert answer["Content-Type"] == type
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Accept-Ranges"] == "bytes"


def test_head_is_get_without_the_body(files: Files) -> None:
    answer = files.ask("HEAD", "/web/a.txt")
    assert (answer.status, answer.body) == (200, b"")
    assert answer["Content-Length"] == "10"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
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
    ],
)
def test_what_is_not_there_is_not_found(files: Files, path: str) -> None:
    assert_missing(files.get(path))


def test_folders_are_not_listed(files: Files) -> None:
    answer = files.get("/web/bare/")
    assert_missing(answer)
    assert b"c.css" not in answer.body


# Paths below /web/, by what they try.
WAYS = {
    "up": "../secret.txt",
    "up encoded": "%2e%2e/secret.txt",
    "up encoded in upper case": "%2E%2E/secret.txt",
    "up half encoded": ".%2e/secret.txt",
    "a slash encoded": "..%2fsecret.txt",
    "all encoded": "%2e%2e%2fsecret.txt",
    "down and up": "sub/../../secret.txt",
    "down and up encoded": "sub/%2e%2e/%2e%2e/secret.txt",
    "down and up in one name": "sub%2f..%2f..%2fsecret.txt",
    "a backslash encoded": "..%5csecret.txt",
    "up and a backslash encoded": "%2e%2e%5csecret.txt",
    "a backslash": "..\\secret.txt",
    "up encoded twice": "%252e%252e/secret.txt",
    "all encoded twice": "%252e%252e%252fsecret.txt",
    "an overlong slash": "..%c0%afsecret.txt",
    "overlong dots": "%c0%ae%c0%ae/secret.txt",
    "an overlong slash of three bytes": "..%e0%80%afsecret.txt",
    "full-width dots": "%ef%bc%8e%ef%bc%8e/secret.txt",
    "a full-width slash": "..%ef%bc%8fsecret.txt",
    "a folder that begins the same": "../public-too/secret.txt",
    "the same encoded": "..%2fpublic-too%2fsecret.txt",
    "here": "./a.txt",
    "here at the end": ".",
    "up at the end": "..",
    "a parameter": "..;/secret.txt",
    "more dots": ".../secret.txt",
    "dots and a slash twice": "....//secret.txt",
    "a slash within encoded": "sub%2fb.js",
    "a slash at the end encoded": "sub%2f",
    "a slash alone encoded": "%2f",
    "an absolute path encoded": "%2fetc%2fpasswd",
    "an absolute path": "/etc/passwd",
    "an absolute path with two slashes": "//etc/passwd",
    "a drive": "C:%5c",
    "a home": "~root",
    "a stream": "a.txt::$DATA",
    "null at the end": "a.txt%00",
    "null alone": "%00",
    "null and another type": "a.txt%00.html",
    "null in the middle": "sub/%00/b.js",
    "not UTF-8": "%ff",
    "not UTF-8 at the end": "a.txt%ff",
    "a line end": "a.txt%0a",
    "a space": "a.txt%20",
    "another case": "A.TXT",
    "a dot at the end": "a.txt.",
    "a slash after a file": "a.txt/",
    "a long name": "a" * 5000,
    "many names": "a/" * 2000,
    "an escape cut": "%",
    "an escape of no number": "%zz",
    "an escape of another kind": "%u002e",
    "a hidden file": ".hidden",
    "a hidden file encoded": "%2ehidden",
    "a hidden folder": ".dots/d.txt",
    "a hidden folder listed": ".dots/",
    "nothing between slashes": "sub//b.js",
    "nothing first": "/a.txt",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
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


def test_a_link_may_lead_to_a_hidden_folder(folder: Path, files: Files) -> None:
    # So volumes are mounted whose files are all changed at once.
    (folder / "..data").symlink_to(".dots")
    (folder / "d.txt").symlink_to("..data/d.txt")
    assert files.get("/web/d.txt").body == SECRET
    assert_missing(files.get("/web/..data/d.txt"))


def test_the_folder_s_own_link_may_be_changed(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder / "sub")
    files = serving(link)
    assert files.get("/web/").body == b"sub"
    link.unlink()
    link.symlink_to(folder)
    assert files.get("/web/").body == PAGE


def test_what_is_no_file_is_not_found(folder: Path, files: Files) -> None:
    # Opening a pipe would block the reactor until somebody writes into it.
    os.mkfifo(folder / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as door:
        door.bind(str(folder / "door"))
        for name in ("pipe", "door"):
            assert_missing(files.get(f"/web/{name}"))


def test_what_vanishes_is_not_found(folder: Path, files: Files) -> None:
    (folder / "a.txt").unlink()
    assert_missing(files.get("/web/a.txt"))
    for file in (folder / "sub").iterdir():
        file.unlink()
    (folder / "sub").rmdir()
    assert_missing(files.get("/web/sub"))


def test_too_many_open_files_are_no_missing_file(files: Files) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        answer = files.get("/web/a.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (answer.status, answer.error) == (503, "too many files are open")


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


def test_a_range_is_served_if_the_file_is_still_the_same(files: Files) -> None:
    tag = files.get("/web/a.txt")["ETag"]
    assert tag is not None
    answer = files.get("/web/a.txt", Range="bytes=0-1", If_Range=tag)
    assert (answer.status, answer.body) == (206, TEXT[:2])
    # A weak tag says nothing of bytes, and of a date nobody knows how exact it is.
    date = datetimeToString(MODIFIED).decode()
    for condition in ('"tag"', f"W/{tag}", date, "x"):
        answer = files.get("/web/a.txt", Range="bytes=0-1", If_Range=condition)
        assert (answer.status, answer.body) == (200, TEXT)


def test_an_empty_file_has_no_range(files: Files) -> None:
    for asked in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        answer = files.get("/web/empty", Range=asked)
        assert answer.status == 416
        assert answer["Content-Range"] == "bytes */0"


def test_only_get_has_ranges(files: Files) -> None:
    answer = files.ask("HEAD", "/web/a.txt", None, {"Range": "bytes=0-1"})
    assert answer.status == 200
    assert answer["Content-Length"] == "10"


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


@pytest.mark.parametrize(
    "since",
    [
        "yesterday",
        "\xff",
        "",
        "0",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 99:99:99 GMT",
        "Sun, 06 Non 1994 08:49:37 GMT",
        "Sun, 06-Nov 08:49:37 GMT",
        "Sun, 06 Nov 1994 08 GMT",
    ],
)
def test_a_bad_date_is_ignored(files: Files, since: str) -> None:
    assert files.get("/web/a.txt", If_Modified_Since=since).body == TEXT


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("{tag}", 304),
        ("W/{tag}", 304),
        ('"x", {tag}', 304),
        ('"x",{tag},"y"', 304),
        ("*", 304),
        ('"x"', 200),
        ("{tag}x", 200),
        ("", 200),
        ("x", 200),
        ('"' + "x" * 2000 + '"', 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_file_is_not_sent_again_to_who_has_it(
    files: Files, method: str, asked: str, status: int
) -> None:
    tag = files.get("/web/a.txt")["ETag"]
    fields = {
        "If-None-Match": asked.replace("{tag}", str(tag)),
        # It does not count where tags are given.
        "If-Modified-Since": datetimeToString(MODIFIED - 1).decode(),
        "Range": "bytes=0-",
    }
    del fields["Range" if status == 200 else "If-Modified-Since"]
    answer = files.ask(method, "/web/a.txt", None, fields)
    assert answer.status == status
    assert answer.body == (TEXT if (status, method) == (200, "GET") else b"")
    assert answer["ETag"] == tag
    assert answer["Last-Modified"] == datetimeToString(MODIFIED).decode()
    assert answer["Content-Length"] == ("10" if status == 200 else None)


def test_another_content_has_another_tag(folder: Path, files: Files) -> None:
    tags = {files.get("/web/a.txt")["ETag"]}
    (folder / "a.txt").write_bytes(TEXT)
    tags.add(files.get("/web/a.txt")["ETag"])
    (folder / "a.txt").write_bytes(TEXT + TEXT)
    os.utime(folder / "a.txt", (MODIFIED, MODIFIED))
    tags.add(files.get("/web/a.txt")["ETag"])
    assert len(tags) == 3
    assert files.get("/web/a.txt", If_None_Match='"x"').body == TEXT + TEXT


# While a file is sent


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


class Slow:
    """A client that reads a large file when it is told to."""

    def __init__(self, folder: Path, files: Files, **fields: str) -> None:
        self.path = folder / "large"
        self.content = os.urandom(3_000_000)
        self.path.write_bytes(self.content)
        self.before = open_files()
        self.files = files
        self.connection = files.begin("GET", "/web/large", None, fields)
        self.connection.channel.pauseProducing()
        self.files.turn()

    @property
    def body(self) -> bytes:
        """What of the body has come."""
        return self.connection.received.partition(b"\r\n\r\n")[2]

    def reads_on(self) -> None:
        self.connection.channel.resumeProducing()
        self.files.settle(self.connection)


def test_a_file_waits_for_a_slow_reader_on_the_disk(folder: Path, files: Files) -> None:
    slow = Slow(folder, files)
    for _ in range(10):
        files.turn()
        assert len(slow.body) <= 65536
    assert open_files() == slow.before + 1
    slow.reads_on()
    assert slow.body == slow.content
    assert open_files() == slow.before


def test_what_is_appended_meanwhile_is_not_sent(folder: Path, files: Files) -> None:
    slow = Slow(folder, files)
    with slow.path.open("ab") as file:
        file.write(b"more")
    slow.reads_on()
    assert slow.body == slow.content
    assert slow.connection.open


def test_a_file_that_is_replaced_meanwhile_is_sent_as_it_was(
    folder: Path, files: Files
) -> None:
    slow = Slow(folder, files)
    (folder / "other").write_bytes(b"x" * 3_000_000)
    (folder / "other").rename(slow.path)
    slow.reads_on()
    assert slow.body == slow.content


@pytest.mark.parametrize("left", [0, 1_000_000, 2_999_999])
def test_a_file_that_is_cut_short_meanwhile_is_cut_off(
    folder: Path, files: Files, left: int
) -> None:
    slow = Slow(folder, files)
    os.truncate(slow.path, left)
    slow.reads_on()
    # The client sees that it is not whole.
    assert not slow.connection.open
    assert len(slow.body) < len(slow.content)
    assert slow.content.startswith(slow.body)
    assert open_files() == slow.before


def test_a_range_is_not_read_past_its_end(folder: Path, files: Files) -> None:
    slow = Slow(folder, files, Range="bytes=100-1000099")
    slow.reads_on()
    assert slow.body == slow.content[100:1000100]


def test_who_hangs_up_leaves_no_file_open(folder: Path, files: Files) -> None:
    slow = Slow(folder, files)
    slow.connection.hang_up()
    files.turn()
    assert open_files() == slow.before


def test_no_answer_leaves_a_file_open(folder: Path, files: Files) -> None:
    before = open_files()
    for method in ("GET", "HEAD", "POST"):
        for path in ("a.txt", "empty", "sub", "sub/", "nope", ".hidden", "a.txt/b"):
            for fields in (
                {},
                {"Range": "bytes=99-"},
                {"Range": "bytes=1-2"},
                {"If-None-Match": "*"},
            ):
                files.ask(method, f"/web/{path}", None, fields)
    assert open_files() == before


# Anywhere


def test_it_works_under_a_plain_site(folder: Path) -> None:
    top = Resource()
    top.putChild(b"files", StaticFiles(str(folder)))
    files = Files(top, Site(top, reactor=Clock()))
    assert files.get("/files/a.txt").body == TEXT
    assert_missing(files.get("/files/%2e%2e/secret.txt"))
    assert_missing(files.get("/files/%00"))
