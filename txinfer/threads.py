"""The threads in which models block, apart from the reactor's own.

Twisted resolves names in the reactor's pool and joins it at shutdown; a model
that runs for seconds must not hold up either. The threads are daemons: one that
never comes back must not keep the process.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from .interfaces import IThreads

T = TypeVar("T")

Work = tuple[Callable[[Any, float], None], Callable[..., Any], tuple[Any, ...]]


@implementer(IThreads)
@attrs.define(eq=False)
class ModelThreads:
    """As many as ``size`` threads, which can be started again after a stop.

    Everything is for the reactor thread. A queue of the standard library hands
    work over, and ``callFromThread`` what came of it.
    """

    _reactor: Any
    size: int = 1
    _work: SimpleQueue[Work | None] | None = attrs.field(default=None, init=False)
    _threads: list[Thread] = attrs.field(factory=list, init=False)
    _live: int = attrs.field(default=0, init=False)
    _busy: int = attrs.field(default=0, init=False)

    def start(self) -> None:
        """Take work; threads come to life when there is some."""
        self._work = SimpleQueue()
        self._threads = []
        self._live = self._busy = 0

    def stop(self) -> None:
        """End the threads. Those that still run something end when it returns."""
        work, self._work = self._work, None
        if work is None:
            return
        for _ in range(self._live):
            work.put(None)
        if not self._busy:
            for thread in self._threads:
                thread.join()

    def grow(self) -> None:
        """See :class:`~txinfer.interfaces.IThreads`."""
        self.size += 1

    def shrink(self) -> None:
        """See :class:`~txinfer.interfaces.IThreads`."""
        self.size -= 1
        if self._work is not None and self._live > self.size:
            # Whichever has nothing to do ends.
            self._live -= 1
            self._work.put(None)

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
        assert self._work is not None, "the threads are not started"
        self._busy += 1
        if self._live < min(self._busy, self.size):
            self._add_thread(self._work)
        self._work.put((done, blocking, args))

    def _add_thread(self, work: SimpleQueue[Work | None]) -> None:
        name = f"txinfer-{len(self._threads)}"
        thread = Thread(target=self._serve, args=(work,), name=name, daemon=True)
        self._threads = [it for it in self._threads if it.is_alive()]
        self._threads.append(thread)
        self._live += 1
        thread.start()

    def _serve(self, queue: SimpleQueue[Work | None]) -> None:
        """Work in a thread until told to end."""
        seconds = self._reactor.seconds
        while (work := queue.get()) is not None:
            done, blocking, args = work
            began = seconds()
            try:
                result = blocking(*args)
            except BaseException:
                result = Failure()
            took = seconds() - began
            self._reactor.callFromThread(self._back, queue, done, result, took)
            # Nothing of this work is kept while waiting for the next.
            del work, done, blocking, args, result

    def _back(
        self,
        queue: SimpleQueue[Work | None],
        done: Callable[[Any, float], None],
        result: object,
        seconds: float,
    ) -> None:
        if queue is self._work:
            self._busy -= 1
        done(result, seconds)
