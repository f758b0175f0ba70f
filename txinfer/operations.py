"""The paths for those who operate a service: health, metrics and statistics.

They answer whatever the models do: nothing here waits for a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from prometheus_client import CollectorRegistry
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from .exposition import CONTENT_TYPE, Exposition, text
from .interfaces import IStatus
from .metrics import Metrics
from .request import JSON_TYPE, error_body
from .routing import respond, respond_failure
from .stats import stats
from .values import dumps

# First segments of paths. Health is everybody's to ask for, at any time.
HEALTH = frozenset({b"healthz", b"readyz"})
FIGURES = frozenset({b"metrics", b"monitoring", b"stats"})

# An answer of a minute ago is of no use to anybody.
NOT_STORED = b"Cache-Control: no-store\r\n"


class Told(Resource):
    """Answers GET with something that is true now."""

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        """There is nothing below."""
        return Missing()

    def render(self, request: IRequest) -> int:
        """Answer, or say how to ask."""
        if request.method in (b"GET", b"HEAD"):
            self.tell(request)
            return NOT_DONE_YET
        lines = JSON_TYPE + b"Allow: GET, HEAD\r\n"
        return respond(request, 405, lines, error_body("method not allowed"))

    def tell(self, request: IRequest) -> None:
        """Answer now or later."""
        raise NotImplementedError


class Missing(Resource):
    """A path where there is nothing, nor below it but for its children."""

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        """There is nothing below."""
        return Missing()

    def render(self, request: IRequest) -> int:
        """Say so."""
        return respond(request, 404, JSON_TYPE, error_body("not found"))


class JsonTold(Told):
    """Tells what a function returns: a status and a JSON value."""

    def __init__(self, value: Callable[[], tuple[int, object]]) -> None:
        super().__init__()
        self._value = value

    def tell(self, request: IRequest) -> None:
        """Answer at once."""
        status, value = self._value()
        respond(request, status, JSON_TYPE + NOT_STORED, dumps(value))


class Scraped(Told):
    """Tells all metrics of a registry, a few at a time: others are served meanwhile."""

    def __init__(self, registry: CollectorRegistry, clock: IReactorTime) -> None:
        super().__init__()
        self._registry = registry
        self._cooperator: Any = Cooperator(
            scheduler=lambda work: clock.callLater(0, work)
        )

    def tell(self, request: IRequest) -> None:
        """Answer when all were read."""
        parts: list[bytes] = []
        done = self._cooperator.coiterate(map(parts.append, text(self._registry)))
        lines = b"Content-Type: %s\r\n%s" % (CONTENT_TYPE, NOT_STORED)
        done.addCallback(lambda _: respond(request, 200, lines, b"".join(parts)))
        done.addErrback(respond_failure, request)


def _registry(given: CollectorRegistry | None) -> CollectorRegistry:
    return CollectorRegistry() if given is None else given


@attrs.define(eq=False)
class Operations:
    """What operators are told of one service.

    Args:
        status: how it is doing.
        clock: the reactor.
        registry: where its metrics are while it runs; one of its own by default.
    """

    status: IStatus
    clock: IReactorTime
    registry: CollectorRegistry = attrs.field(default=None, converter=_registry)
    metrics: Metrics = attrs.field(init=False)
    _exposition: Exposition = attrs.field(init=False)
    _begun: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.metrics = Metrics(self.clock)
        self._exposition = Exposition(self.metrics, self.status.load)

    def begin(self) -> None:
        """Let the registry have the metrics.

        Raises:
            ValueError: it has those of another service.
        """
        if not self._begun:
            self.registry.register(self._exposition)
            self._begun = True

    def end(self) -> None:
        """Take the metrics out of the registry."""
        if self._begun:
            self.registry.unregister(self._exposition)
            self._begun = False

    def mount_health(self, root: Resource) -> None:
        """Put the paths of ``HEALTH`` under a root."""
        root.putChild(b"healthz", JsonTold(self._health))
        root.putChild(b"readyz", JsonTold(self._readiness))

    def mount_figures(self, root: Resource) -> None:
        """Put the paths of ``FIGURES`` under a root."""
        metrics = Scraped(self.registry, self.clock)
        # Where TensorFlow Serving has it.
        monitoring, prometheus = Missing(), Missing()
        monitoring.putChild(b"prometheus", prometheus)
        prometheus.putChild(b"metrics", metrics)
        root.putChild(b"metrics", metrics)
        root.putChild(b"monitoring", monitoring)
        root.putChild(b"stats", JsonTold(self._stats))

    def _health(self) -> tuple[int, object]:
        return 200, {"alive": True}

    def _readiness(self) -> tuple[int, object]:
        reasons = self.status.unready()
        return 503 if reasons else 200, {"ready": not reasons, "reasons": reasons}

    def _stats(self) -> tuple[int, object]:
        now = self.clock.seconds()
        return 200, stats(self.metrics, self.status.load(), now)
