"""Archives of SavedModels, unpacked so that nothing gets out of their folder.

An archive may only hold files and folders, so many and of so many bytes, below
the folder it is unpacked into. Nothing that it says of a size is believed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from typing import IO, Any

import attrs

from . import layout
from .errors import InvalidModel

# The largest SavedModels have hundreds of files, nearly all of them assets.
MAX_FILES = 10_000

# What tarfile reads at once are headers, and those of tens of MiB are no headers.
MAX_READ = 16 * 1024 * 1024

CHUNK = 1024 * 1024

# Folders around a model, as ``models/digits/``: more of them are a mistake.
MAX_DEPTH = 8

#: How the formats that may be around a tar begin, and what reads them.
PACKED: dict[bytes, Callable[[str], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}

ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)


class Refused(Exception):
    """An archive that is not unpacked; the text says why."""


def unpack(path: str, folder: str, max_bytes: int, max_files: int = MAX_FILES) -> None:
    """Unpack a tar, packed or not, or a zip into an empty folder. Blocks.

    Raises:
        Refused: it is neither, or it holds what it must not.
        OSError: the disk is full, or the like.
    """
    budget = Budget(folder, max_bytes, max_files)
    try:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, budget)
        else:
            _unpack_tar(path, budget)
    except ERRORS as error:
        raise Refused(f"not an archive that can be read: {error}") from error
    except (RuntimeError, NotImplementedError, ValueError) as error:
        # zipfile: encrypted, or packed in a way that Python does not know.
        raise Refused(f"the archive cannot be read: {error}") from error


def find_model(folder: str) -> str:
    """The model in an unpacked archive: in the folder, or in the only one below.

    Raises:
        Refused: there is none.
    """
    place = folder
    for _ in range(MAX_DEPTH):
        try:
            layout.versions(place)
        except InvalidModel:
            # Finder adds these two.
            names = [n for n in os.listdir(place) if n not in ("__MACOSX", ".DS_Store")]
            if len(names) != 1 or not os.path.isdir(os.path.join(place, names[0])):
                break
            place = os.path.join(place, names[0])
        else:
            return place
    raise Refused("there is neither a SavedModel nor version folders in it")


@attrs.define(eq=False)
class Budget:
    """Writes what an archive holds, as long as it does not become too much."""

    folder: str
    max_bytes: int
    max_files: int
    count: int = 0
    size: int = 0

    def make_folder(self, name: str) -> None:
        """Make a folder by its name in the archive."""
        self._count_file()
        os.makedirs(place_in(self.folder, name), mode=0o700, exist_ok=True)

    def write(self, name: str, file: IO[bytes]) -> None:
        """Write a file by its name in the archive."""
        self._count_file()
        place = place_in(self.folder, name)
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
        try:
            # Nothing is ever written over, so no member can lead another astray.
            with open(place, "xb") as copy:
                while chunk := file.read(CHUNK):
                    self.size += len(chunk)
                    if self.size > self.max_bytes:
                        raise Refused(f"it has more than {self.max_bytes} bytes")
                    copy.write(chunk)
        except FileExistsError:
            raise Refused(f"it has two files {name!r:.80}") from None

    def _count_file(self) -> None:
        self.count += 1
        if self.count > self.max_files:
            raise Refused(f"it has more than {self.max_files} files")


def place_in(folder: str, name: str) -> str:
    """Where a file of that name is, in a folder; Refused if it would be outside."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise Refused(f"it has a file outside of it: {name!r:.80}")
    return os.path.join(folder, *(part for part in parts if part != "."))


def _unpack_zip(path: str, budget: Budget) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                budget.make_folder(info.filename)
            elif kind in (0, stat.S_IFREG):
                with archive.open(info) as file:
                    budget.write(info.filename, file)
            else:
                raise Refused(f"it has no mere file: {info.filename!r:.80}")


def _unpack_tar(path: str, budget: Budget) -> None:
    with closing(_opened(path)) as file:
        bounded: Any = Bounded(file)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for member in archive:
                if member.isdir():
                    budget.make_folder(member.name)
                elif member.isreg() and not member.issparse():
                    content = archive.extractfile(member)
                    assert content is not None
                    budget.write(member.name, content)
                else:
                    raise Refused(f"it has no mere file: {member.name!r:.80}")


def _opened(path: str) -> IO[bytes]:
    """A file, unpacked as its first bytes say."""
    with open(path, "rb") as file:
        head = file.read(6)
    for magic, opened in PACKED.items():
        if head.startswith(magic):
            found: IO[bytes] = opened(path)
            return found
    return open(path, "rb")


class Bounded:
    """A file for tarfile, which believes what a header says of its own size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int = -1) -> bytes:
        """Read, if it is not too much at once."""
        if not 0 <= size <= MAX_READ:
            raise Refused("it has a header that is too large")
        return self._file.read(size)


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, as far as that can be done. Blocks."""
    shutil.rmtree(folder, ignore_errors=True)
