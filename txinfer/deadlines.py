"""When the answer to a request has to be there.

A client says how long it will wait with ``X-Request-Timeout-Ms``; who says
nothing waits as long as the server's default. What counts is when the request's
first byte came.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from .errors import DeadlineExceeded
from .limits import CallLimits
from .refusals import InvalidHeader

T = TypeVar("T")

HEADER = b"x-request-timeout-ms"

# Digits. More than the largest would be years.
MOST_DIGITS = 12


def deadline_of(
    request: IRequest, limits: CallLimits, clock: IReactorTime
) -> float | None:
    """When the answer to a request has to be there.

    Args:
        request: under our own site it knows when it came; elsewhere it comes now.
        limits: the default, and the longest that a client may wait.
        clock: what time it is.

    Returns:
        Seconds on the clock; None if there is no deadline.

    Raises:
        InvalidHeader: the client's own timeout makes no sense.
    """
    wait = wait_of(request.getHeader(HEADER), limits)
    if wait is None:
        return None
    arrived: float | None = getattr(request, "arrived", None)
    return (clock.seconds() if arrived is None else arrived) + wait


def wait_of(given: bytes | None, limits: CallLimits) -> float | None:
    """How long an answer is waited for, in seconds; None for ever.

    Args:
        given: the client's header, if there is one.
        limits: the default, and the longest that a client may wait.

    Raises:
        InvalidHeader: it makes no sense.
    """
    wait = limits.deadline_ms if given is None else _read(given)
    most = limits.deadline_max_ms
    if most and not 0 < wait <= most:
        wait = most
    return wait / 1000 if wait else None


def due(request: IRequest, limits: CallLimits, clock: IReactorTime) -> float | None:
    """The same of a request that is still being read: whether what its client says
    makes sense is seen to when it is whole.
    """
    try:
        return deadline_of(request, limits, clock)
    except InvalidHeader:
        return None


async def in_time(
    work: Coroutine[Any, Any, T], deadline: float | None, clock: IReactorTime
) -> T:
    """What a coroutine returns, or raises, if that is before a deadline.

    Raises:
        DeadlineExceeded: it was not; the coroutine is cancelled.
    """
    done = Deferred.fromCoroutine(work)
    if deadline is not None and not done.called:
        done.addTimeout(max(deadline - clock.seconds(), 0.0), clock, _too_late)
    return await done


def _too_late(result: object, _: float) -> object:
    raise DeadlineExceeded


def _read(given: bytes) -> int:
    if given.isdigit() and len(given) <= MOST_DIGITS and int(given):
        return int(given)
    raise InvalidHeader("X-Request-Timeout-Ms", "a whole number of at least 1")
