"""Files under one folder, and nothing outside it.

:class:`twisted.web.static.File` follows symlinks, lists folders, serves dot
files, answers any number of ranges and fails on ``%00``. This one does not.
"""

from __future__ import annotations

import os

from twisted.python.filepath import FilePath
from twisted.web import static
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from .web import ErrorResource


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
        if path.startswith(b".") or b"\0" in path:
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
        request.setHeader(b"X-Content-Type-Options", b"nosniff")
        if b"," in (request.getHeader(b"Range") or b""):
            # Ignoring a Range is always allowed (RFC 9110, section 14.2).
            request.requestHeaders.removeHeader(b"Range")
        answer: bytes | int = self.render_GET(request)
        return answer

    def _add_slash(self, request: IRequest) -> bytes:
        location = request.path.rsplit(b"/", 1)[-1] + b"/"
        request.setHeader(b"Location", b"./" + location)
        return ErrorResource(301, "a folder's URL ends in a slash").render(request)
