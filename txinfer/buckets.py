"""Models in object stores, read through fsspec (https://filesystem-spec.readthedocs.io).

Everything here blocks, and is called in threads.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from typing import IO, Any

from . import layout
from .archive import Refused, place_in, remove
from .interfaces import IModel, IThreads
from .sources import Found, LoadFolder, VersionFolders, why_unfinished
from .transfer import Failed, Stopped, TooMuch, Transfer

CHUNK = 1024 * 1024

# A store bills each look; and nobody sees a new version come in there.
LEAST_POLL = 30.0

# What stores say of a file that changes when the file does, by any of these names.
MARKS = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime", "created")


class Bucket(VersionFolders):
    """A SavedModel, or version folders, in an object store.

    Args:
        url: of the folder.
        tags: the tags of the graph to load.
        load: loads one version, once it is on this machine.
        threads: where to wait for the store.
        most: the most bytes of a version.
    """

    least_poll = LEAST_POLL

    def __init__(
        self,
        url: str,
        tags: Sequence[str],
        load: LoadFolder,
        threads: IThreads,
        most: int,
    ) -> None:
        super().__init__(threads, partial(versions, url), self._inspect)
        self._url = url
        self._tags = tags
        self._load = load
        self._most = most
        self._transfers: list[Transfer] = []

    def stop(self) -> None:
        """See :class:`~txinfer.sources.ISource`."""
        for transfer in self._transfers:
            transfer.stopped = True

    def _inspect(self, folder: str) -> Found:
        files = list(listed_files(self._url, folder))
        names = [name for name, *_ in files]
        transfer = Transfer(self._most, total=sum(size for _, size, _ in files))
        copy = LocalCopy(self._url, folder, names, transfer)

        def load() -> IModel:
            return self._load(copy.make(), self._tags)

        # Only the last one that was looked at is ever loaded.
        self._transfers[:] = [transfer]
        place = f"{self._url} ({folder.rpartition('/')[2]})"
        mark: Hashable = tuple(files)
        return Found(
            place,
            mark,
            load,
            why_unfinished(names),
            transfer.text,
            copy.remove,
            lambda: copy.place,
        )


class LocalCopy:
    """A version's files on this machine; ``place`` is their folder, once it is made."""

    def __init__(
        self, url: str, folder: str, names: Sequence[str], transfer: Transfer
    ) -> None:
        self._url = url
        self._folder = folder
        self._names = names
        self._transfer = transfer
        self.place: str | None = None

    def make(self) -> str:
        """Fetch the files; the folder that they are in then.

        Raises:
            InvalidModel: they cannot be had.
        """
        self.place = tempfile.mkdtemp("", "txinfer-")
        fs, _ = opened(self._url)
        self._transfer.done = 0
        try:
            self._transfer.expect(self._transfer.total)
            for name in self._names:
                place = place_in(self.place, name)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "wb") as file:
                    copy(fs, f"{self._folder}/{name}", file, self._transfer)
        except (Failed, Refused, Stopped, TooMuch, OSError) as error:
            raise layout.invalid(self._url, str(error) or "stopped") from error
        return self.place

    def remove(self) -> None:
        """Remove the files."""
        place, self.place = self.place, None
        if place is not None:
            remove(place)


async def bring(
    threads: IThreads, url: str, file: IO[bytes], transfer: Transfer
) -> str:
    """Write one file of a store into a file; see :mod:`txinfer.remote`."""
    return await threads.run(_bring, url, file, transfer)


def _bring(url: str, file: IO[bytes], transfer: Transfer) -> str:
    fs, path = opened(url)
    try:
        transfer.expect(fs.size(path))
    except TooMuch:
        raise
    except Exception as error:
        raise Failed(_words(error)) from error
    return copy(fs, path, file, transfer)


def opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        InvalidModel: it cannot be read with what is installed.
    """
    try:
        from fsspec.core import url_to_fs

        found: tuple[Any, str] = url_to_fs(url)
    except Exception as error:
        raise layout.invalid(url, _words(error)) from error
    return found


def versions(url: str) -> dict[int, str]:
    """The folders of a model's versions in a store; as those on disk."""
    fs, root = opened(url)
    try:
        # What it remembers of the last look is of no use.
        fs.invalidate_cache()
        entries = fs.ls(root, detail=True)
    except Exception as error:
        raise layout.invalid(url, _words(error)) from error
    names = {entry["name"].rstrip("/").rpartition("/")[2]: entry for entry in entries}
    return layout.versions_of(
        url,
        root,
        [name for name in names if name in layout.FILES],
        [name for name, entry in names.items() if entry["type"] == "directory"],
    )


def listed_files(url: str, folder: str) -> Iterator[tuple[str, int, str]]:
    """Relative path, size and mark of each file below a folder, in order."""
    fs, _ = opened(url)
    try:
        found = fs.find(folder, detail=True)
    except Exception as error:
        raise layout.invalid(url, _words(error)) from error
    for path, entry in sorted(found.items()):
        name = path.removeprefix(folder).lstrip("/")
        marks = (str(entry[key]) for key in MARKS if key in entry)
        # Stores have empty objects to stand for folders.
        if name and not name.endswith("/"):
            yield name, int(entry["size"] or 0), next(marks, "")


def copy(fs: Any, path: str, file: IO[bytes], transfer: Transfer) -> str:
    """Write a file of a store into another; returns its SHA-256.

    Raises:
        Failed: the store did not give it.
        Stopped, TooMuch: as ``transfer`` says.
    """
    digest = hashlib.sha256()
    try:
        with fs.open(path, "rb") as source:
            while chunk := source.read(CHUNK):
                transfer.count(len(chunk))
                digest.update(chunk)
                file.write(chunk)
    except (Stopped, TooMuch):
        raise
    except Exception as error:
        raise Failed(_words(error)) from error
    return digest.hexdigest()


def _words(error: BaseException) -> str:
    """What a store's client says, in one line; some say nothing but their name."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
