"""Model threads stepped by hand, so that tests decide when a run returns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from txinfer.interfaces import IThreads

T = TypeVar("T")


@implementer(IThreads)
class SteppedThreads:
    """Runs wait in ``started`` until :meth:`step` lets the oldest one return."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.started: deque[tuple[Deferred[Any], Callable[..., Any], Any]] = deque()

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing may be running any more."""
        assert not self.started

    def run(self, blocking: Callable[..., T], *args: object) -> Deferred[T]:
        """Keep the call for :meth:`step`."""
        done: Deferred[T] = Deferred()
        self.started.append((done, blocking, args))
        assert len(self.started) <= self.size, "more runs than threads"
        return done

    def step(self) -> None:
        """Let the oldest run happen and return."""
        done, blocking, args = self.started.popleft()
        try:
            result = blocking(*args)
        except BaseException:
            done.errback(Failure())
        else:
            done.callback(result)

    def finish(self) -> int:
        """Step until nothing is left; returns the number of runs."""
        runs = 0
        while self.started:
            self.step()
            runs += 1
        return runs
