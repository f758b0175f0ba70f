"""All that a service has between one start and the next stop.

It is made anew at each start, so a service may be started while its former
life still ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .collector import Collector
from .errors import FetchFailed
from .fetch import Fetcher, FetchPolicy
from .interfaces import IModel
from .models import Servable
from .observe import NOBODY, IObserver
from .policy import BatchPolicy
from .threads import ModelThreads

# A SavedModel can take a minute to load; silence that long looks like a hang.
PROGRESS_SECONDS = 5.0


class Life:
    """A model with its threads, its collector and its fetcher, until it ends.

    Args:
        reactor: the reactor.
        path: of the model, for the log.
        load: loads the model; blocks, in a thread.
        threads: how many runs may be under way at once.
        policy: how calls are gathered into batches.
        fetch: how far URL inputs are fetched; None takes no URLs.
        observer: is told what happens.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        path: str,
        load: Callable[[], IModel],
        threads: int,
        policy: BatchPolicy,
        fetch: FetchPolicy | None,
        observer: IObserver = NOBODY,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._threads = ModelThreads(reactor, threads)
        self._fetcher = (
            None if fetch is None else Fetcher(reactor, fetch, observer=observer)
        )
        self.collector = Collector(self._threads, reactor, policy, observer)
        self.servable = Servable(load, self._threads, self.collector)
        self._outcome: Failure | Literal["loaded"] | None = None
        self._waiting: list[Deferred[None]] = []

    def begin(self) -> None:
        """Begin to load the model."""
        self._threads.start()
        loading = Deferred.fromCoroutine(self._load())
        loading.addCallbacks(self._settle, self._settle)

    def when_ready(self) -> Deferred[None]:
        """A Deferred that fires with None once the model is loaded, or fails as
        loading does. Each caller has one of its own.
        """
        ready: Deferred[None] = Deferred()
        self._waiting.append(ready)
        self._tell_waiting()
        return ready

    def unready(self) -> list[str]:
        """See :class:`~txinfer.interfaces.IStatus`."""
        if self._outcome is None:
            return ["the model is still loading"]
        if self._outcome != "loaded":
            return ["the model could not be loaded; the log says why"]
        load = self.collector.load()
        if load.lost >= load.slots:
            return ["no session slot is left: all are held by runs that hang"]
        return []

    def fetch(self, urls: Sequence[str], client: str = "") -> Deferred[list[bytes]]:
        """Fetch URL inputs; see :class:`~txinfer.interfaces.IFetcher`."""
        if self._fetcher is None:
            return fail(FetchFailed("URLs are not taken"))
        return self._fetcher.fetch(urls, client)

    async def end(self) -> None:
        """Take no more calls, answer those that were taken, free the model."""
        returned = self.servable.retire()
        # A load cannot be interrupted.
        await self.when_ready().addErrback(lambda _: None)
        await returned
        await self.collector.close()
        if self._fetcher is not None:
            self._fetcher.close()
        await self.servable.close()
        self._threads.stop()

    async def _load(self) -> None:
        started = self._reactor.seconds()

        def tell() -> None:
            seconds = self._reactor.seconds() - started
            self.log.info(
                "Loading {path} ... {seconds:.0f} s", path=self._path, seconds=seconds
            )

        progress = LoopingCall(tell)
        progress.clock = self._reactor
        progress.start(PROGRESS_SECONDS)
        try:
            await self.servable.load()
        finally:
            progress.stop()

    def _settle(self, failure: Failure | None) -> None:
        """Loading is over; a failure that nobody waits for is logged."""
        self._outcome = failure or "loaded"
        if failure is not None and not self._waiting:
            self.log.failure("{path} is not served", failure, path=self._path)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        if self._outcome is None:
            return
        waiting, self._waiting = self._waiting, []
        for ready in waiting:
            if self._outcome == "loaded":
                ready.callback(None)
            else:
                ready.errback(self._outcome)
