"""A request on its way through a dialect: who asks, and where the time goes."""

from __future__ import annotations

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from .deadlines import deadline_of, in_time
from .errors import DeadlineExceeded
from .guard import client_of
from .headers import server_timing
from .inputs import Inputs
from .interfaces import IMethod
from .limits import CallLimits
from .observe import IObserver, Labels
from .request import BoundedRequest
from .tensors import Tensors
from .trace import Trace

T = TypeVar("T")


class Visit:
    """One call over HTTP, from its whole body to the body of its answer.

    It is a context manager; at the exit the answer has its ``Server-Timing``, which
    our own site gives it by itself. ``client`` is who asks. ``trace`` is to be
    handed on with the call; ``deadline`` is when the answer has to be there.

    Args:
        request: what is answered. Once the method is known it has its ``labels``,
            and the ``trace``, for whoever tells of the answer.
        limits: how long it may take.
        observer: is told if that is too long.
        clock: what times the phases.
    """

    __slots__ = (
        "_clock",
        "_limits",
        "_observer",
        "_request",
        "_since",
        "client",
        "deadline",
        "trace",
    )

    def __init__(
        self,
        request: IRequest,
        limits: CallLimits,
        observer: IObserver,
        clock: IReactorTime,
    ) -> None:
        self._request: Any = request
        self._observer = observer
        self._clock = clock
        self._since = clock.seconds()
        self.client = client_of(request)
        self._limits = limits
        self.deadline: float | None = None
        self.trace = Trace()

    # The phases

    def begin(self, labels: Labels) -> None:
        """The method is known; raises what :func:`deadline_of` raises."""
        self._request.labels = labels
        self._request.trace = self.trace
        self.deadline = deadline_of(self._request, self._limits, self._clock)

    def decoded(self) -> None:
        """The time since the last phase went into reading the call."""
        self.trace.decode_seconds += self._lap()

    def fetched(self, *calls: Inputs) -> None:
        """It went into fetching the URL inputs of these calls, if there were any."""
        if any(parsed.urls for inputs in calls for parsed in inputs.values()):
            self.trace.fetch_seconds += self._lap()

    async def predict(self, method: IMethod, tensors: Tensors) -> Tensors:
        """Call a method; the collector knows how long it waited and ran."""
        outputs = await method.predict(tensors, self.deadline, self.client, self.trace)
        self._since = self._clock.seconds()
        return outputs

    async def in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns; DeadlineExceeded if that is too late."""
        try:
            return await in_time(work, self.deadline, self._clock)
        except DeadlineExceeded:
            self._observer.expired(self._request.labels)
            raise

    def encoded(self) -> None:
        """It went into writing the answer."""
        self.trace.encode_seconds += self._lap()

    def _lap(self) -> float:
        last, self._since = self._since, self._clock.seconds()
        return self._since - last

    # The whole

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if kind is not CancelledError and not isinstance(self._request, BoundedRequest):
            self._request.setHeader(b"Server-Timing", server_timing(self.trace))
