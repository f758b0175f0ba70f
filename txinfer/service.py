"""The parts wired together, started and stopped in order.

:class:`InferenceService` is what other Twisted programs embed; it listens
nowhere and touches nothing global.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from zope.interface import implementer

from . import layout
from .collector import BatchPolicy, Collector
from .errors import FetchFailed, Unavailable
from .fetch import Fetcher, FetchPolicy
from .inputs import conform_inputs, fill
from .interfaces import IFetcher, IMethod, IModel, IPredictor
from .models import Servable
from .protocols.native import Dialect
from .static import StaticFiles
from .tensors import Tensors
from .threads import ModelThreads
from .web import CORS_HEADERS, PREFLIGHT_HEADERS, Root

# A SavedModel can take a minute to load; silence that long looks like a hang.
PROGRESS_SECONDS = 5.0

DEFAULT_REQUEST_SIZE = 10 * 1024 * 1024

DEFAULT_FETCH = FetchPolicy()

STATIC_SEGMENT = b"web"


@implementer(IPredictor, IFetcher)
class InferenceService(Service):
    """A SavedModel whose signatures can be called, in Python and over HTTP.

    All methods are for the reactor thread. The service can be stopped and
    started again; the model is then loaded anew.

    Args:
        path: a SavedModel directory, or a folder of integer version folders,
            of which the highest is served.
        tags: the tags of the graph to load.
        policy: how calls are gathered into batches.
        fetch: how far URL inputs are fetched; None takes no URLs.
        static_path: a folder served under ``web/``; None serves none.
        batch_transpose: over HTTP an object is always one example.
        cors: answer scripts of every origin.
        request_size: the largest request body, in bytes.
        threads: how many runs may be under way at once.
        load: loads the model instead of TensorFlow; blocks, in a thread of
            the service's own, and raises :class:`~txinfer.errors.InvalidModel`.
        reactor: the global one by default.
    """

    log = Logger()

    def __init__(
        self,
        path: str,
        *,
        tags: tuple[str, ...] = ("serve",),
        policy: BatchPolicy | None = None,
        fetch: FetchPolicy | None = DEFAULT_FETCH,
        static_path: str | None = None,
        batch_transpose: bool = False,
        cors: bool = True,
        request_size: int = DEFAULT_REQUEST_SIZE,
        threads: int = 1,
        load: Callable[[], IModel] | None = None,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.path = path
        self.policy = policy or BatchPolicy()
        self.cors = cors
        self.request_size = request_size
        self._tags = tags
        self._fetch_policy = fetch
        self._fetcher: Fetcher | None = None
        self._static_path = static_path
        self.batch_transpose = batch_transpose
        self._load = load or self._load_saved_model
        self._reactor = reactor
        self._threads = ModelThreads(reactor, threads)
        self._servable: Servable | None = None
        self._outcome: Failure | Literal["loaded"] | None = None
        self._waiting: list[Deferred[None]] = []

    # Calls

    def predict(self, name: str, /, **inputs: object) -> Deferred[Tensors]:
        """Call a method, in the same batches as everybody else.

        Args:
            name: the signature's name.
            inputs: a value for each input: an array of the input's dtype and
                shape, or nested lists of numbers, booleans, ``str``, ``bytes``
                or ``{"url": …}``. Unless the signature says otherwise,
                dimension 0 counts rows.

        Returns:
            A Deferred that fires with a dict from output name to array (strings
            as object arrays of ``bytes``), or fails with an
            :class:`~txinfer.errors.InferenceError`. Cancelling it takes the
            call out of the queue if it still waits.
        """
        return Deferred.fromCoroutine(self._predict(name, inputs))

    def methods(self) -> list[IMethod]:
        """Every method; see :class:`~txinfer.interfaces.IPredictor`."""
        return self._current().methods()

    def method(self, name: str) -> IMethod:
        """The method of that name; see :class:`~txinfer.interfaces.IPredictor`."""
        return self._current().method(name)

    def lease(self, name: str) -> AbstractContextManager[IMethod]:
        """See :class:`~txinfer.interfaces.IPredictor`."""
        return self._current().lease(name)

    def fetch(self, url: str) -> Deferred[bytes]:
        """Fetch a URL input; see :class:`~txinfer.interfaces.IFetcher`."""
        if self._fetcher is None:
            return fail(FetchFailed("the service is not running"))
        return self._fetcher.fetch(url)

    def resource(self) -> Resource:
        """The HTTP interface, to be mounted anywhere in a site's tree.

        It answers requests while the service runs, and 503 at other times. The
        site's own settings decide how large a body is read before it is asked;
        more than ``request_size`` bytes are refused with 413 all the same.
        """
        dialect = Dialect(
            self, self._url_source(), self.request_size, self.batch_transpose
        )
        headers = CORS_HEADERS if self.cors else ()
        preflight = PREFLIGHT_HEADERS if self.cors else ()
        root = Root(dialect.router().resource(), headers, preflight)
        if self._static_path is not None:
            root.putChild(STATIC_SEGMENT, StaticFiles(self._static_path))
        return root

    # Life

    def startService(self) -> None:
        """Begin to load the model."""
        super().startService()
        self._threads.start()
        if self._fetch_policy is not None:
            self._fetcher = Fetcher(self._reactor, self._fetch_policy)
        self._collector = Collector(self._threads, self._reactor, self.policy)
        self._servable = Servable(self._load, self._threads, self._collector)
        self._outcome = None
        loading = Deferred.fromCoroutine(self._load_servable(self._servable))
        loading.addCallbacks(self._settle, self._settle)

    def when_ready(self) -> Deferred[None]:
        """Wait for the model.

        Returns:
            A Deferred that fires with None once calls are answered, or fails
            with :class:`~txinfer.errors.InvalidModel` if the model cannot be
            served, or whatever else loading raised.
        """
        ready: Deferred[None] = Deferred()
        self._waiting.append(ready)
        self._tell_waiting()
        return ready

    def stopService(self) -> Deferred[None]:
        """Take no more calls, answer those that were taken, free the model.

        Returns:
            A Deferred that fires with None when that is done.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        servable, self._servable = self._servable, None
        if servable is None:
            return
        returned = servable.retire()
        # A load cannot be interrupted.
        await self.when_ready().addErrback(lambda _: None)
        await returned
        await self._collector.drained()
        if self._fetcher is not None:
            self._fetcher.close()
        await servable.close()
        self._threads.stop()

    async def _load_servable(self, servable: Servable) -> None:
        started = self._reactor.seconds()

        def tell() -> None:
            seconds = self._reactor.seconds() - started
            self.log.info(
                "Loading {path} ... {seconds:.0f} s", path=self.path, seconds=seconds
            )

        progress = LoopingCall(tell)
        progress.clock = self._reactor
        progress.start(PROGRESS_SECONDS)
        try:
            await servable.load()
        finally:
            progress.stop()
        if self._static_path is not None:
            self._warn_of_hidden(servable)

    def _warn_of_hidden(self, servable: Servable) -> None:
        """Methods whose paths are those of static files are out of HTTP's reach."""
        folder = STATIC_SEGMENT.decode()
        for name in servable.names():
            if name.split("/")[0] == folder:
                self.log.warn("Static files hide the method {name}", name=name)

    def _settle(self, failure: Failure | None) -> None:
        """Loading is over; a failure that nobody waits for is logged."""
        self._outcome = failure or "loaded"
        if failure is not None and not self._waiting:
            self.log.failure("{path} is not served", failure, path=self.path)
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

    def _load_saved_model(self) -> IModel:
        """Blocks. TensorFlow is imported here and no earlier: twistd forks first."""
        from . import savedmodel

        return savedmodel.load(layout.find(self.path, self._tags), self._tags)

    def _current(self) -> Servable:
        if self._servable is None:
            raise Unavailable("the service is not running")
        return self._servable

    async def _predict(self, name: str, values: Mapping[str, object]) -> Tensors:
        with self.lease(name) as method:
            inputs = conform_inputs(method.signature, values)
            return await method.predict(await fill(inputs, self._url_source()))

    def _url_source(self) -> IFetcher | None:
        return None if self._fetch_policy is None else self
