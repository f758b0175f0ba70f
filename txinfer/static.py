"""Files under one folder, and nothing outside it.

:class:`twisted.web.static.File` follows symlinks, lists folders, serves dot
files, answers any number of ranges and fails on ``%00``. This one does not.
"""

from __future__ import annotations

import os
import re

from twisted.python.filepath import FilePath
from twisted.web import static
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from .web import ErrorResource, is_utf8

# One range, in either form of RFC 9110, section 14.1.2.
RANGE = re.compile(rb"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class StaticFiles(static.File):
    """A folder with ``index.html`` for each folder in it, or one file of it.

    Args:
        path: the file or folder.
        root: the folder that nothing outside of is served; ``path`` by default.
    """

    indexNames = ["index.html"]  # noqa: RUF012
    childNotFound: Resource = ErrorResource(404, "no such file")  # type: ignore[assignment]
    forbidden: Resource = ErrorResource(404, "no such file")  # type: ignore[assignment]

    def __init__(self, path: str, root: str | None = None) -> None:
        super().__init__(path, defaultType="application/octet-stream")
        self.root = os.path.realpath(path if root is None else root)

    def createSimilarFile(self, path: str) -> StaticFiles:
        """A file below this one, held in by the same root."""
        return StaticFiles(path, self.root)

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        """The file of that name, if it is one to be served."""
        if path.startswith(b".") or b"\0" in path or b"/" in path:
            return self.childNotFound
        if not is_utf8([path]):
            return self.childNotFound
        child: IResource = super().getChild(path, request)
        if isinstance(child, StaticFiles) and not child.is_inside():
            return self.childNotFound
        return child

    def is_inside(self) -> bool:
        """Whether this is below the root once all symlinks are followed."""
        real = os.path.realpath(self.path)
        return os.path.commonpath([real, self.root]) == self.root

    def directoryListing(self) -> Resource:
        """Folders are not listed."""
        return self.childNotFound

    def render(self, request: IRequest) -> bytes | int:
        """Answer GET and HEAD; a folder without its slash is sent to it."""
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return ErrorResource(405, "a file is read with GET").render(request)
        if FilePath(self.path).isdir():
            return self._add_slash(request)
        if not os.path.isfile(self.path):
            # Opening a pipe would block.
            return ErrorResource(404, "no such file").render(request)
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if not self._clear_range(request):
            return self._no_such_range(request)
        answer: bytes | int = self.render_GET(request)
        return answer

    def _clear_range(self, request: IRequest) -> bool:
        """Leave one well-formed range in the request, or none.

        Ignoring a Range is always allowed (RFC 9110, section 14.2).

        Returns:
            Whether the file has any of it.
        """
        asked = request.getHeader(b"Range")
        request.requestHeaders.removeHeader(b"Range")
        match = RANGE.fullmatch(asked or b"")
        if match is None or request.getHeader(b"If-Range") is not None:
            return True
        size = os.path.getsize(self.path)
        start, end, suffix = match.groups()
        first = max(0, size - int(suffix)) if suffix else int(start)
        last = int(end) if end else size - 1
        if end and last < first:
            return True
        request.requestHeaders.setRawHeaders(b"Range", [b"bytes=%d-%d" % (first, last)])
        return first < size

    def _no_such_range(self, request: IRequest) -> bytes:
        size = os.path.getsize(self.path)
        request.setHeader(b"Content-Range", b"bytes */%d" % size)
        return ErrorResource(416, "the file has no such range").render(request)

    def _add_slash(self, request: IRequest) -> bytes:
        location = request.path.rsplit(b"/", 1)[-1] + b"/"
        request.setHeader(b"Location", b"./" + location)
        return ErrorResource(301, "a folder's URL ends in a slash").render(request)
