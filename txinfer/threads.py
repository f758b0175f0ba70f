"""The threads in which models block, apart from the reactor's own.

Twisted resolves names in the reactor's pool and joins it at shutdown; a model
that runs for seconds must not hold up either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from .interfaces import IThreads

T = TypeVar("T")


@implementer(IThreads)
@attrs.define(eq=False)
class ModelThreads:
    """A pool of ``size`` threads that can be started again after it was stopped.

    All methods are for the reactor thread.
    """

    _reactor: Any
    size: int = 1
    _pool: ThreadPool | None = attrs.field(default=None, init=False)

    def start(self) -> None:
        """Make the pool; threads come to life when there is work for them."""
        self._pool = ThreadPool(0, self.size, "txinfer")
        self._pool.start()

    def stop(self) -> None:
        """End the threads; blocks until what they run has returned, so drain first."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()

    def run(self, blocking: Callable[..., T], *args: object) -> Deferred[T]:
        """Call a function in one of the threads.

        Returns:
            A Deferred that fires in the reactor thread with what the function
            returns, or fails with whatever it raises, ``BaseException`` included.
        """
        assert self._pool is not None, "the threads are not started"
        return deferToThreadPool(self._reactor, self._pool, blocking, *args)
