"""Files below a folder: found without leaving it, and what they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

import attrs

# A FIFO would otherwise block whoever opens it until somebody writes into it.
OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# What browsers run, and what people put beside a model. A table of our own, since
# Python's reads the machine's, and a script of the wrong type is not run.
TYPES = {
    "avif": "image/avif",
    "bmp": "image/bmp",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xml": "application/xml",
    "zip": "application/zip",
}
UNKNOWN = "application/octet-stream"


def content_type(name: str) -> str:
    """The media type of a file of that name."""
    return TYPES.get(name.rpartition(".")[2].lower(), UNKNOWN)


@attrs.frozen
class Entry:
    """An open file or folder.

    ``size`` is in bytes, ``modified`` in seconds since 1970. ``tag`` is an entity
    tag: another one whenever the file has been written to.
    """

    fd: int
    is_folder: bool
    is_file: bool
    size: int
    modified: int
    tag: bytes

    @classmethod
    def of(cls, fd: int) -> Entry:
        """What is open as ``fd``."""
        status = os.fstat(fd)
        return cls(
            fd,
            stat.S_ISDIR(status.st_mode),
            stat.S_ISREG(status.st_mode),
            status.st_size,
            int(status.st_mtime),
            b'"%x-%x"' % (status.st_mtime_ns, status.st_size),
        )

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def open_below(root: str, names: Sequence[str]) -> Entry:
    """Open what a path leads to, unless that is outside of ``root``.

    Symlinks are followed as long as they end inside. What they lead to is then
    opened name by name without following any, so that one that is put there
    after the check is not followed either.

    Raises:
        OSError: there is no such thing, or it is outside, or may not be read.
    """
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, *names))
    if os.path.commonpath([real, real_root]) != real_root:
        raise FileNotFoundError
    inner = os.path.relpath(real, real_root)
    return open_plain(real_root, () if inner == os.curdir else inner.split(os.sep))


def open_plain(folder: str, names: Sequence[str]) -> Entry:
    """Open a path below a folder, if nothing on the way is a symlink.

    Raises:
        OSError: there is no such thing, or it may not be read, or one is.
    """
    fd = os.open(folder, OPEN)
    try:
        for name in names:
            outer, fd = fd, os.open(name, OPEN | os.O_NOFOLLOW, dir_fd=fd)
            os.close(outer)
        return Entry.of(fd)
    except BaseException:
        os.close(fd)
        raise
