"""The threads in which models block, apart from the reactor's own.

Twisted resolves names in the reactor's pool and joins it at shutdown; a model
that runs for seconds must not hold up either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from .interfaces import IThreads
from .pools import ThreadPool, defer_to

T = TypeVar("T")


@implementer(IThreads)
@attrs.define(eq=False)
class ModelThreads:
    """As many as ``size`` threads, which can be started again after a stop.

    Everything is for the reactor thread. Threads that are not ``lasting`` end when
    there is nothing to do.
    """

    _reactor: Any
    size: int = 1
    lasting: bool = True
    _pool: ThreadPool | None = attrs.field(default=None, init=False)
    _busy: int = attrs.field(default=0, init=False)

    def start(self) -> None:
        """Take work; threads come to life when there is some."""
        self._pool = ThreadPool(self.size, "txinfer", self.lasting)
        self._busy = 0

    def stop(self) -> None:
        """End the threads. Those that still run something end when it returns."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        threads = pool.stop()
        if not self._busy:
            for thread in threads:
                thread.join()

    def grow(self) -> None:
        """See :class:`~txinfer.interfaces.IThreads`."""
        self._resize(self.size + 1)

    def shrink(self) -> None:
        """See :class:`~txinfer.interfaces.IThreads`."""
        self._resize(self.size - 1)

    def run(self, blocking: Callable[..., T], *args: object) -> Deferred[T]:
        """Call a function in one of the threads.

        Returns:
            A Deferred that fires in the reactor thread with what the function
            returns, or fails with whatever it raises, ``BaseException`` included.
        """
        deferred: Deferred[T] = Deferred()
        self.call(lambda result, _: deferred.callback(result), blocking, *args)
        return deferred

    def call(
        self,
        done: Callable[[T | Failure, float], None],
        blocking: Callable[..., T],
        *args: object,
    ) -> None:
        """See :class:`~txinfer.interfaces.IThreads`."""
        pool = self._pool
        assert pool is not None, "the threads are not started"
        self._busy += 1
        seconds = self._reactor.seconds
        work = defer_to(self._reactor, pool, _timed, seconds, blocking, args)
        work.addCallback(partial(self._back, pool, done))

    def _back(
        self,
        pool: ThreadPool,
        done: Callable[[Any, float], None],
        result: tuple[Any, float],
    ) -> None:
        if pool is self._pool:
            self._busy -= 1
        done(*result)

    def _resize(self, size: int) -> None:
        self.size = size
        if self._pool is not None:
            self._pool.resize(size)


def _timed(
    seconds: Callable[[], float], blocking: Callable[..., T], args: Sequence[object]
) -> tuple[T | Failure, float]:
    """What a function gives or raises, and how long it took; blocks.

    Only the thread itself knows how long it was at it: on its way back a result
    waits for the reactor.
    """
    began = seconds()
    result: T | Failure
    try:
        result = blocking(*args)
    except BaseException:
        result = Failure()
    return result, seconds() - began
