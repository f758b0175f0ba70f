"""All that a service has between one start and the next stop.

It is made anew at each start, so a service may be started while its former
life still ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import Deferred, DeferredList, fail, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .admission import NO_SLOT
from .collector import Collector
from .errors import FetchFailed, InvalidModel, Unavailable
from .fetch import Fetcher, FetchPolicy
from .held import Held
from .loader import Loader
from .models import CLOSING
from .observe import NOBODY, IObserver
from .origin import source_of
from .places import MODEL_SIZE
from .policy import BatchPolicy
from .registry import Registry, Versions
from .sources import LoadFolder
from .specs import ModelSpec
from .threads import ModelThreads
from .watch import VersionWatcher

# One loads, another looks for new versions while it does; disks may be slow.
LOADERS = 2


class Life:
    """Models with their threads, collector and fetcher, until they end.

    Args:
        reactor: the reactor.
        models: what is served, by name.
        load: loads a version; blocks, in a thread.
        threads: how many runs may be under way at once.
        policy: how calls are gathered into batches.
        fetch: how far URL inputs are fetched; None takes no URLs.
        observer: is told what happens.
        poll_seconds: how often new versions are looked for; 0 for never.
        model_size: the most bytes of a model that is fetched.
        held: the account of all that is held for callers.
        pad_batches: sizes to which batches are filled up, in order.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        models: Mapping[str, ModelSpec],
        load: LoadFolder,
        threads: int,
        policy: BatchPolicy,
        fetch: FetchPolicy | None,
        observer: IObserver = NOBODY,
        poll_seconds: float = 0.0,
        model_size: int = MODEL_SIZE,
        held: Held | None = None,
        pad_batches: Sequence[int] = (),
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._drain_seconds = policy.runs.drain_seconds
        self._limit: IDelayedCall | None = None
        self._threads = ModelThreads(reactor, threads)
        self._loaders = ModelThreads(reactor, LOADERS, lasting=False)
        self._fetcher = (
            None if fetch is None else Fetcher(reactor, fetch, observer=observer)
        )
        self.collector = Collector(self._threads, reactor, policy, observer, held)
        self._loader = Loader(
            self._loaders, self.collector, reactor, observer, pad_batches
        )
        self._load = load
        self._model_size = model_size
        self._poll_seconds = poll_seconds
        self.specs = dict(models)
        self.watchers = {name: self._watch(name, it) for name, it in models.items()}
        self.registry = Registry(it.versions for it in self.watchers.values())
        self._outcome: Failure | Literal["loaded"] | None = None
        self._waiting: list[Deferred[None]] = []
        self._ending = False
        self._leaving: list[VersionWatcher] = []
        self._named = set(models)

    def begin(self) -> None:
        """Begin to load the models."""
        self._threads.start()
        self._loaders.start()
        watchers = self.watchers.values()
        starts = [Deferred.fromCoroutine(it.start()) for it in watchers]
        DeferredList(starts, consumeErrors=True).addCallback(self._settle)

    def when_ready(self) -> Deferred[None]:
        """A Deferred that fires with None once all models are loaded, or fails as
        the first did that was not. Each caller has one of its own.
        """
        ready: Deferred[None] = Deferred()
        self._waiting.append(ready)
        self._tell_waiting()
        return ready

    def unready(self) -> list[str]:
        """See :class:`~txinfer.interfaces.IStatus`."""
        if self._outcome is None:
            return ["a model is still loading"]
        # Those that are added later on keep nobody from calling the others.
        named = [it for it in self.registry if it.name in self._named]
        idle = [it.name for it in named if not it.available]
        if idle:
            return [f"no version of model '{name}' is loaded" for name in idle]
        if not self.collector.slots_left:
            return [NO_SLOT]
        return []

    def fetch(
        self, urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        """Fetch URL inputs; see :class:`~txinfer.interfaces.IFetcher`."""
        if self._fetcher is None:
            return fail(FetchFailed("URLs are not taken"))
        return self._fetcher.fetch(urls, client, most)

    def limit(self) -> None:
        """The end is near: calls are answered in so many seconds, or given up."""
        if self._limit is None:
            give_up = self.collector.give_up
            self._limit = self._reactor.callLater(self._drain_seconds, give_up)

    async def end(self) -> None:
        """Take no more calls, answer those that were taken, free the models.

        What a run hangs in is not freed.
        """
        self.limit()
        watchers = [*self.watchers.values(), *self._leaving]
        self._ending = True
        await gatherResults(Deferred.fromCoroutine(it.stop()) for it in watchers)
        await self.collector.close()
        if self._fetcher is not None:
            self._fetcher.close()
        self._loaders.stop()
        self._threads.stop()
        if self._limit is not None and self._limit.active():
            self._limit.cancel()

    # Models that come and go

    async def add(self, name: str, spec: ModelSpec) -> None:
        """Load one more model, and serve it.

        Raises:
            KeyError: there is one of that name.
            InvalidModel: it cannot be served; it is then not there.
            ValueError: its URL makes no sense.
            Unavailable: the service stops.
        """
        if self._ending:
            raise Unavailable(CLOSING)
        watcher = self._watch(name, spec)
        self.registry.add(watcher.versions)
        self.watchers[name] = watcher
        self.specs[name] = spec
        try:
            await watcher.start()
        except BaseException:
            await self.remove(name)
            raise

    async def remove(self, name: str) -> None:
        """Serve a model no more. Returns when its calls are answered.

        Raises:
            UnknownModel: there is none of that name.
        """
        watcher = self.watcher(name)
        del self.watchers[name], self.specs[name]
        self.registry.remove(name)
        self._leaving.append(watcher)
        await watcher.stop()
        self._leaving.remove(watcher)
        if name not in self.watchers:
            self._observer.removed(name)

    def watcher(self, name: str) -> VersionWatcher:
        """What keeps a model; UnknownModel if there is none of that name."""
        self.registry.versions(name)
        return self.watchers[name]

    def _watch(self, name: str, spec: ModelSpec) -> VersionWatcher:
        return VersionWatcher(
            Versions(name, dict(spec.labels)),
            source_of(spec, self._load, self._loaders, self._reactor, self._model_size),
            spec.versions,
            self._loader,
            self._reactor,
            self._poll_seconds,
        )

    def _settle(self, results: Sequence[tuple[bool, object]]) -> None:
        """Every model has been tried. One failure is told; the others are logged,
        and so is that one if nobody waits for it.
        """
        failures = [it for _, it in results if isinstance(it, Failure)]
        self._outcome = failures[0] if failures else "loaded"
        for failure in failures[1 if self._waiting else 0 :]:
            if failure.check(InvalidModel):
                self.log.error("{why}", why=failure.getErrorMessage())
            else:
                self.log.failure("A model could not be loaded", failure)
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
