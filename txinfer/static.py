"""Files under one folder, and nothing outside it.

:class:`twisted.web.static.File` follows symlinks, lists folders, serves dot
files, answers any number of ranges, sends what was appended to a file meanwhile,
and fails on ``%00``. This one does not.
"""

from __future__ import annotations

import errno
import os
import re
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.web.http import datetimeToString, stringToDatetime
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from .files import Entry, content_type, open_below
from .web import ErrorResource, is_utf8

INDEX = b"index.html"

# One range, in either form of RFC 9110, section 14.1.2.
RANGE = re.compile(rb"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")

# What is read at a time, in bytes: as much as a transport buffers before it says
# that it has enough.
CHUNK = 65536

MISSING = ErrorResource(404, "no such file")
BUSY = ErrorResource(503, "too many files are open")


class StaticFiles(Resource):
    """A folder with ``index.html`` for each folder in it, or one file.

    Args:
        path: the file or folder. If it is a symlink it may be changed to lead
            elsewhere at any time.
    """

    isLeaf = True

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def render(self, request: IRequest) -> bytes | int:
        """Answer GET and HEAD; a folder without its slash is sent to it."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return ErrorResource(405, "a file is read with GET").render(request)
        names = _names(request.postpath)
        if names is None:
            return MISSING.render(request)
        try:
            entry = open_below(self._path, names)
        except OSError as error:
            full = error.errno in (errno.EMFILE, errno.ENFILE)
            return (BUSY if full else MISSING).render(request)
        if entry.is_file:
            return _answer(request, entry, names[-1] if names else self._path)
        entry.close()
        if entry.is_folder and request.postpath[-1:] != [b""]:
            return _add_slash(request)
        return MISSING.render(request)


def _names(segments: list[bytes]) -> list[str] | None:
    """The names on the way to a file; None if there can be no such one."""
    if segments and not segments[-1]:
        segments = [*segments[:-1], INDEX]
    if not is_utf8(segments):
        return None
    for name in segments:
        if not name or name.startswith(b".") or b"\0" in name or b"/" in name:
            return None
    return [name.decode() for name in segments]


def _add_slash(request: IRequest) -> bytes:
    location = request.path.rsplit(b"/", 1)[-1] + b"/"
    # Relative: it is right whatever the site is called outside.
    request.setHeader(b"Location", b"./" + location)
    return ErrorResource(301, "a folder's URL ends in a slash").render(request)


def _answer(request: Any, entry: Entry, name: str) -> bytes | int:
    """Send a file, or a range of it, or that the client has it; then close it."""
    for header, value in (
        (b"ETag", entry.tag),
        (b"Last-Modified", datetimeToString(entry.modified)),
        (b"Accept-Ranges", b"bytes"),
        # Ask each time: a page that is changed is seen to have changed.
        (b"Cache-Control", b"no-cache"),
        (b"X-Content-Type-Options", b"nosniff"),
    ):
        request.setHeader(header, value)
    if _has_it(request, entry):
        entry.close()
        request.setResponseCode(304)
        request.finish()
        return NOT_DONE_YET
    part = _part(request, entry)
    if part and part[0] >= entry.size:
        entry.close()
        request.setHeader(b"Content-Range", b"bytes */%d" % entry.size)
        return ErrorResource(416, "the file has no such range").render(request)
    first, end = part or (0, entry.size)
    if part:
        request.setResponseCode(206)
        place = (first, end - 1, entry.size)
        request.setHeader(b"Content-Range", b"bytes %d-%d/%d" % place)
    request.setHeader(b"Content-Type", content_type(name).encode())
    request.setHeader(b"Content-Length", b"%d" % (end - first))
    _Sending(request, entry, first, end).begin()
    return NOT_DONE_YET


def _has_it(request: IRequest, entry: Entry) -> bool:
    """Whether the client's copy is as good (RFC 9110, sections 13.1.2 and 13.1.3)."""
    tags = request.requestHeaders.getRawHeaders(b"If-None-Match")
    if tags is not None:
        given = {tag.strip().removeprefix(b"W/") for tag in b",".join(tags).split(b",")}
        return entry.tag in given or given == {b"*"}
    try:
        since: int = stringToDatetime(request.getHeader(b"If-Modified-Since") or b"")
    except (ValueError, LookupError, OverflowError):
        # Not there, or no date.
        return False
    return entry.modified <= since


def _part(request: IRequest, entry: Entry) -> tuple[int, int] | None:
    """The first byte of the range that is wanted, and the one after its last.

    Returns:
        None if all is wanted, or something else than one range: ignoring that is
        always allowed (RFC 9110, section 14.2). The first byte may not exist.
    """
    match = RANGE.fullmatch(request.getHeader(b"Range") or b"")
    if match is None or request.method != b"GET":
        return None
    if request.getHeader(b"If-Range") not in (None, entry.tag):
        return None
    start, stop, suffix = match.groups()
    if suffix:
        return max(0, entry.size - int(suffix)), entry.size
    first, end = int(start), int(stop) + 1 if stop else entry.size
    return None if stop and end <= first else (first, min(end, entry.size))


@implementer(IPullProducer)
class _Sending:
    """Sends bytes of a file as they are asked for, and closes it at the end.

    Args:
        request: whose head is set.
        entry: the file.
        first: the position of the first byte.
        end: that of the first one not sent.
    """

    def __init__(self, request: Any, entry: Entry, first: int, end: int) -> None:
        self._request = request
        self._entry = entry
        self._next = first
        self._end = end
        self._open = True

    def begin(self) -> None:
        """Send, or say at once that nothing is to be sent."""
        request = self._request
        # Whatever ends the request closes the file.
        request.notifyFinish().addBoth(self._close)
        if self._next == self._end or request.method == b"HEAD":
            request.finish()
        else:
            request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send the next bytes."""
        if not self._open:
            return
        request = self._request
        try:
            data = self._read()
        except OSError:
            data = b""
        if not data:
            # The file has become shorter. More was promised: cut it off.
            request.unregisterProducer()
            request.loseConnection()
            return
        self._next += len(data)
        request.write(data)
        if self._next == self._end and self._open:
            request.unregisterProducer()
            request.finish()

    def stopProducing(self) -> None:
        """The client is gone; the request says so too."""

    def _read(self) -> bytes:
        count = min(CHUNK, self._end - self._next)
        return os.pread(self._entry.fd, count, self._next)

    def _close(self, _: object) -> None:
        self._open = False
        self._entry.close()
