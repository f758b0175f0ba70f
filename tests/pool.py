"""Model threads stepped by hand, so that tests decide when a run returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from txinfer.interfaces import IThreads

T = TypeVar("T")


@attrs.define(eq=False)
class Work:
    """A call of a function that is under way."""

    done: Callable[[Any, float], None]
    blocking: Callable[..., Any]
    args: tuple[Any, ...]
    began: float


@implementer(IThreads)
class SteppedThreads:
    """Runs wait in ``started`` until :meth:`step` lets the oldest one return.

    A run takes as long as the clock says, if there is one, else no time.
    """

    def __init__(self, size: int = 1, clock: IReactorTime | None = None) -> None:
        self.size = size
        self.started: deque[Work] = deque()
        self._clock = clock or Clock()

    def grow(self) -> None:
        """One more may run."""
        self.size += 1

    def shrink(self) -> None:
        """One less may run."""
        self.size -= 1

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing may be running any more."""
        assert not self.started

    def run(self, blocking: Callable[..., T], *args: object) -> Deferred[T]:
        """Keep the call for :meth:`step`."""
        deferred: Deferred[T] = Deferred()
        self.call(lambda result, _: deferred.callback(result), blocking, *args)
        return deferred

    def call(
        self,
        done: Callable[[T | Failure, float], None],
        blocking: Callable[..., T],
        *args: object,
    ) -> None:
        """Keep the call for :meth:`step`."""
        self.started.append(Work(done, blocking, args, self._clock.seconds()))
        assert len(self.started) <= self.size, "more runs than threads"

    def step(self, number: int = 0) -> None:
        """Let a run happen and return, by default the oldest."""
        work = self.started[number]
        del self.started[number]
        try:
            result = work.blocking(*work.args)
        except BaseException:
            result = Failure()
        work.done(result, self._clock.seconds() - work.began)

    def finish(self) -> int:
        """Step until nothing is left; returns the number of runs."""
        runs = 0
        while self.started:
            self.step()
            runs += 1
        return runs


class TimedThreads(SteppedThreads):
    """Runs return by themselves, as the clock is advanced.

    Args:
        size: how many run at once.
        clock: what is advanced.
        seconds: how long a function takes, by itself and its arguments.
    """

    def __init__(
        self, size: int, clock: IReactorTime, seconds: Callable[..., float]
    ) -> None:
        super().__init__(size, clock)
        self._seconds = seconds

    def call(
        self,
        done: Callable[[T | Failure, float], None],
        blocking: Callable[..., T],
        *args: object,
    ) -> None:
        """Have the call return when its time has passed."""
        super().call(done, blocking, *args)
        work = self.started[-1]
        self._clock.callLater(self._seconds(blocking, *args), self._end, work)

    def _end(self, work: Work) -> None:
        self.started.remove(work)
        self.started.appendleft(work)
        self.step()
