"""The parts wired together, started and stopped in order.

:class:`InferenceService` is what other Twisted programs embed; it listens
nowhere and touches nothing global.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from klein import Klein
from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from zope.interface import implementer

from .admin import AdminRoot
from .administration import Administration
from .callers import Calls
from .deadlines import due
from .errors import FetchFailed, Unavailable
from .fetch import FetchPolicy
from .guard import Guard
from .held import Held
from .interfaces import IFetcher, IModel, IModels, IPredictor, IStatus
from .keys import ApiKeys
from .life import Life
from .limits import CallLimits, ClientLimits
from .observe import NOBODY, IObserver, Load
from .operations import FIGURES, Operations
from .paths import STATIC_SEGMENT, Paths
from .places import MODEL_SIZE
from .policy import BatchPolicy, bounded, sized
from .processors import runs_at_once
from .protocols.addressed import add_routes
from .protocols.native import Dialect
from .proxies import Proxies
from .routing import Api
from .sources import LoadFolder, load_saved_model
from .specs import ModelSpec, as_specs
from .static import StaticFiles
from .tune import SessionPolicy
from .web import CORS_HEADERS, PREFLIGHT_HEADERS, Root

DEFAULT_LIMITS = CallLimits()

DEFAULT_CLIENTS = ClientLimits()

DEFAULT_FETCH = FetchPolicy()

# TensorFlow Serving looks every second; nobody misses the other one.
POLL_SECONDS = 2.0

NOT_RUNNING = "the service is not running"


@implementer(IPredictor, IModels, IFetcher, IStatus)
class InferenceService(Service, Calls):
    """SavedModels whose signatures can be called, in Python and over HTTP.

    All methods are for the reactor thread. The service can be stopped and
    started again, even while it still stops; the models are then loaded anew.

    Args:
        path: a SavedModel directory, or a folder of integer version folders,
            of which the highest is served; or the URL of an archive, or of a
            folder in an object store. The model is called by its name.
        models: instead, any number of models, by name: a path, or what else
            there is to say of one. The first is meant where none is named.
        tags: the tags of the graph to load, of models that do not say theirs.
        poll_seconds: how often folders are searched for new versions; with 0
            only at the start.
        policy: how calls are gathered into batches; by default of 32 rows, or of 128
            where runs of them are short.
        fetch: how far URL inputs are fetched; None takes no URLs.
        static_path: a folder served under ``web/``; None serves none.
        batch_transpose: over HTTP an object is always one example.
        cors: answer scripts of every origin.
        limits: what one call may hold.
        clients: how often one client may ask over HTTP.
        api_keys: the keys of which requests over HTTP must have one; None asks
            for none. Static files are for everybody.
        proxies: addresses and ranges of proxies, or ``unix`` for whoever connects
            to a UNIX socket, that say in ``X-Forwarded-For`` who asks.
        threads: how many runs may be under way at once; 0 for one for each
            processor, up to 8. With more than one it is measured whether runs of a
            method at once get through more.
        model_size: the most bytes of an archive, and of a model that is fetched.
        pad_batches: sizes, in rows, to which batches are filled up with rows that
            are thrown away, for devices that compile for each shape; no batch is
            larger than the largest. Empty for none.
        load: makes the model at ``path`` instead of TensorFlow; blocks, in a
            thread of the service's own, and raises
            :class:`~txinfer.errors.InvalidModel`.
        session: how models are run; by default that is measured as they are
            loaded.
        load_folder: instead, makes the model of a version's folder that has
            these tags, as ``load`` does.
        registry: where the service's metrics are while it runs; a registry of its
            own by default. One registry takes one service.
        metrics: answer scrapers, and show statistics, over HTTP.
        reactor: the global one by default.
    """

    log = Logger()

    def __init__(
        self,
        path: str | None = None,
        *,
        models: Mapping[str, str | ModelSpec] | None = None,
        tags: tuple[str, ...] = ("serve",),
        policy: BatchPolicy | None = None,
        fetch: FetchPolicy | None = DEFAULT_FETCH,
        static_path: str | None = None,
        batch_transpose: bool = False,
        cors: bool = True,
        limits: CallLimits = DEFAULT_LIMITS,
        clients: ClientLimits = DEFAULT_CLIENTS,
        api_keys: ApiKeys | None = None,
        proxies: Iterable[str] = (),
        threads: int = 0,
        poll_seconds: float = POLL_SECONDS,
        model_size: int = MODEL_SIZE,
        pad_batches: Sequence[int] = (),
        load: Callable[[], IModel] | None = None,
        session: SessionPolicy | None = None,
        load_folder: LoadFolder | None = None,
        registry: CollectorRegistry | None = None,
        metrics: bool = True,
        reactor: Any = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.models = as_specs(path, models, tags, load)
        self._tags = tags
        self._static_path = static_path
        pads = sorted(set(pad_batches))
        self.policy = bounded(policy or sized(), pads)
        # What several lives hold, and the door of a site.
        self.held = Held(self.policy.queue_rows, self.policy.queue.queue_bytes)
        self.cors = cors
        self.limits = limits
        self._fetch_policy = fetch
        self.batch_transpose = batch_transpose
        self.operations = Operations(self, reactor, registry)
        self._paths = Paths(metrics, static_path is not None)
        self.guard = Guard(
            reactor,
            api_keys,
            clients,
            self._paths.anybodys(),
            FIGURES,
            self.operations.metrics,
            Proxies(proxies),
        )
        self.hangs = False
        self._announced: list[str] = []
        self._poll_seconds = poll_seconds
        self._model_size = model_size
        self._pad_batches = pads
        threads = threads or runs_at_once()
        session = session or SessionPolicy(clock=reactor.seconds, at_once=threads)
        self._load_folder = load_folder or partial(load_saved_model, policy=session)
        self._reactor = reactor
        self._threads = threads
        self._life: Life | None = None

    # Calls

    def at(
        self,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> IPredictor:
        """See :class:`~txinfer.interfaces.IModels`."""
        return self._current().registry.at(model, version, label)

    def listing(self) -> list[dict[str, Any]]:
        """See :class:`~txinfer.interfaces.IModels`."""
        return self._current().registry.listing()

    def fetch(
        self, urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        """Fetch URL inputs; see :class:`~txinfer.interfaces.IFetcher`."""
        if self._life is None:
            return fail(FetchFailed(NOT_RUNNING))
        return self._life.fetch(urls, client, most)

    def resource(self) -> Root:
        """The HTTP interface, to be mounted anywhere in a site's tree.

        It answers requests while the service runs, and 503 at other times. The
        site's own settings decide how large a body is read before it is asked;
        more than ``limits.request_size`` bytes are refused with 413 all the same.
        """
        headers = CORS_HEADERS if self.cors else ()
        preflight = PREFLIGHT_HEADERS if self.cors else ()
        guard = None if self.guard.admits_all else self.guard
        router = self._router(self.operations.metrics)
        full = partial(self.held.body_refusal, self.operations.metrics)
        root = Root(
            Api(router, guard),
            headers,
            preflight,
            guard,
            full,
            self._paths.private(),
            self.operations.metrics,
            partial(due, limits=self.limits, clock=self._reactor),
        )
        self.operations.metrics.in_flight.append(root.elsewhere.in_flight)
        self.operations.mount_health(root)
        if self._paths.metrics:
            self.operations.mount_figures(root)
        if self._static_path is not None:
            root.putChild(STATIC_SEGMENT, StaticFiles(self._static_path))
        return root

    def admin(self) -> AdminRoot:
        """The HTTP interface of those who load and unload models. Whoever reaches it
        can have any program run: it has no place beside :meth:`resource`.
        """
        models = Administration(self._current, self._tags)
        return AdminRoot(models, self.operations.metrics)

    def rehearsal(self) -> Root:
        """What calls methods as :meth:`resource` does, for whoever starts the service:
        it needs no key, and is not counted among the answers.
        """
        return Root(Api(self._router(NOBODY)))

    def _router(self, observer: IObserver) -> Klein:
        dialect = Dialect(
            self,
            self.url_source(),
            self.limits,
            self._reactor,
            self.batch_transpose,
            observer,
        )
        router = dialect.router()
        add_routes(router, dialect, self)
        # Otherwise the first request would wait for it.
        router.url_map.update()
        return router

    def load(self) -> Load | None:
        """See :class:`~txinfer.interfaces.IStatus`."""
        return None if self._life is None else self._life.collector.load()

    def run_waits(self) -> bool:
        """Whether as many rows wait as any run may have."""
        return self._life is not None and self._life.collector.run_waits

    def unready(self) -> list[str]:
        """See :class:`~txinfer.interfaces.IStatus`."""
        if self._life is None:
            return [NOT_RUNNING]
        return self._announced + self._life.unready()

    def announce_start(self) -> None:
        """Be not ready before :meth:`announce_ready`, though calls are answered."""
        self._announced = ["the server is starting"]

    def announce_ready(self) -> None:
        """Be ready if the models are."""
        self._announced = []

    def announce_stop(self) -> None:
        """Be not ready any more, though calls are answered until the stop."""
        self._announced = ["the server is shutting down"]
        if self._life is not None:
            self._life.limit()

    # Life

    def startService(self) -> None:
        """Begin to load the models.

        Raises:
            ValueError: the registry has another service's metrics.
        """
        self.operations.begin()
        super().startService()
        self._life = life = Life(
            self._reactor,
            self.models,
            self._load_folder,
            self._threads,
            self.policy,
            self._fetch_policy,
            self.operations.metrics,
            self._poll_seconds,
            self._model_size,
            self.held,
            self._pad_batches,
        )
        self._announced = []
        life.begin()
        life.when_ready().addCallbacks(self._warn_of_hidden, lambda _: None)

    def when_ready(self) -> Deferred[None]:
        """Wait for the models.

        Returns:
            A Deferred that fires with None once the calls of all are answered,
            or fails with :class:`~txinfer.errors.InvalidModel` if one cannot be
            served, with whatever else loading raised, or with
            :class:`~txinfer.errors.Unavailable` if the service is not running.
        """
        if self._life is None:
            return fail(Unavailable(NOT_RUNNING))
        return self._life.when_ready()

    def stopService(self) -> Deferred[None]:
        """Take no more calls, answer those that were taken, free the models.

        Returns:
            A Deferred that fires with None when that is done, or given up; if
            runs hang, ``hangs`` is true then.
        """
        super().stopService()
        self.operations.end()
        life, self._life = self._life, None
        if life is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._end(life))

    async def _end(self, life: Life) -> None:
        await life.end()
        self.hangs = life.collector.hangs()

    def _warn_of_hidden(self, _: None) -> None:
        """Methods whose paths mean something else cannot be called at the root."""
        for method in self.methods() if self._life else ():
            what = self._paths.hiding(method.name)
            if what is not None:
                self.log.warn(
                    "{what} hides the method {name}", what=what, name=method.name
                )

    def _current(self) -> Life:
        if self._life is None:
            raise Unavailable(NOT_RUNNING)
        return self._life

    def url_source(self) -> IFetcher | None:
        """What fetches URL inputs; None if they are not taken."""
        return None if self._fetch_policy is None else self
