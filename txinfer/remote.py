"""Models in archives that are somewhere else.

An archive is fetched and unpacked once, when its versions are first asked for. It
is not looked at again: what changes should be in version folders.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import IO, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from . import layout
from .archive import Refused, find_model, remove, unpack
from .interfaces import IThreads
from .progress import told_of
from .sources import Folder, Found, ISource, LoadFolder
from .transfer import Failed, TooMuch, Transfer

# One that could not be had is not asked for again at every look.
RETRY_SECONDS = 60.0

# Writes a file and returns its SHA-256; fails with Failed or TooMuch.
Bring = Callable[[IO[bytes], Transfer], Coroutine[Deferred[Any], Any, str]]


@implementer(ISource)
class Archive:
    """The model in an archive, or the versions in it.

    Args:
        name: where it is, for the log.
        sha256: the checksum that it must have, or None.
        bring: fetches it.
        tags: the tags of the graph to load.
        load: loads one version.
        threads: where to wait for the disk.
        clock: for the time that it takes.
        transfer: bounds the archive, and what is in it.
    """

    log = Logger()
    least_poll = RETRY_SECONDS

    def __init__(
        self,
        name: str,
        sha256: str | None,
        bring: Bring,
        tags: Sequence[str],
        load: LoadFolder,
        threads: IThreads,
        clock: IReactorTime,
        transfer: Transfer,
    ) -> None:
        self._name = name
        self._sha256 = sha256
        self._bring = bring
        self._tags = tags
        self._load = load
        self._threads = threads
        self._clock = clock
        self._places: list[str] = []
        self._folder: Folder | None = None
        self._coming: Deferred[Any] | None = None
        self._transfer = transfer

    def numbers(self) -> Deferred[Collection[int]]:
        """See :class:`~txinfer.sources.ISource`."""
        return Deferred.fromCoroutine(self._numbers())

    def inspect(self, number: int) -> Deferred[Found]:
        """See :class:`~txinfer.sources.ISource`."""
        assert self._folder is not None
        return self._folder.inspect(number)

    def refresh(self) -> Deferred[None]:
        """Fetch it again; if that fails all is as it was."""
        return Deferred.fromCoroutine(self._refresh())

    def stop(self) -> None:
        """See :class:`~txinfer.sources.ISource`."""
        self._transfer.stopped = True
        if self._coming is not None:
            self._coming.cancel()

    def clear(self) -> Deferred[None]:
        """See :class:`~txinfer.sources.ISource`."""
        self._folder = None
        return Deferred.fromCoroutine(self._keep(0))

    async def _numbers(self) -> Collection[int]:
        if self._folder is None:
            self._folder = await self._have()
        return await self._folder.numbers()

    async def _refresh(self) -> None:
        # What is loaded is from the last one.
        await self._keep(1)
        self._folder = await self._have()

    async def _keep(self, count: int) -> None:
        """Remove all that was unpacked but the newest."""
        while len(self._places) > count:
            await self._threads.run(remove, self._places.pop(0))

    async def _have(self) -> Folder:
        """The folder that it is unpacked into.

        Raises:
            InvalidModel: it cannot be had, or is not what it should be.
        """
        self._transfer.done = 0
        place = await self._threads.run(tempfile.mkdtemp, "", "txinfer-")
        try:
            model = await self._bring_into(place)
        except (Failed, TooMuch, Refused, OSError, CancelledError) as error:
            await self._threads.run(remove, place)
            raise layout.invalid(self._name, str(error) or "stopped") from error
        self._places.append(place)
        return Folder(model, self._tags, self._load, self._threads)

    async def _bring_into(self, place: str) -> str:
        path = os.path.join(place, "archive")
        with open(path, "wb") as file, told_of(self._tell, self._clock):
            self._coming = Deferred.fromCoroutine(self._bring(file, self._transfer))
            found = await self._coming
        if self._sha256 not in (None, found):
            raise Refused(f"its SHA-256 is {found}, not {self._sha256}")
        return await self._threads.run(_unpack, path, place, self._transfer.most)

    def _tell(self) -> None:
        far = self._transfer.text()
        self.log.info("Downloading {name} ... {far}", name=self._name, far=far)


def _unpack(path: str, place: str, most: int) -> str:
    """Unpack an archive and remove it; the folder of the model in it. Blocks."""
    inside = os.path.join(place, "model")
    os.mkdir(inside)
    unpack(path, inside, most)
    os.remove(path)
    return find_model(inside)
