"""Threads that do not keep the process alive, and take work and give results quickly.

The reactor's own pool is joined at shutdown, and so is any ``ThreadPool`` of
Twisted's; but a look-up that waits for a name server, or a kernel that hangs, cannot
be stopped, and must not keep a server from ending.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

T = TypeVar("T")

#: Called with whether a function returned, and with what that was or a Failure.
Tell = Callable[[bool, Any], object]

Work = tuple[Tell, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class ThreadPool:
    """A pool for ``deferToThreadPool``, with little between the reactor and a thread.

    Twisted's pool coordinates its threads by functions that wait for their turn in
    other functions, and both sides need the interpreter for that; here there is one
    queue. Threads come to life when there is work for them.

    Args:
        most: how many threads there may be.
        name: what they are called.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = Lock()
        self._threads: list[Thread] = []
        # Threads that have nothing to do, less what waits for one.
        self._idle = 0

    def callInThreadWithCallback(
        self,
        onResult: Tell,
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Call a function in one of the threads, and tell there what came of it."""
        with self._lock:
            self._idle -= 1
            self._make_threads()
        self._work.put((onResult, function, args, kwargs))

    def resize(self, most: int) -> None:
        """Have at most so many threads; those that are too many end when idle."""
        with self._lock:
            self._most = most
            while len(self._threads) > most:
                self._end_one()
            self._make_threads()

    def stop(self) -> list[Thread]:
        """Have all threads end when they have done what there is to do.

        Returns:
            These threads. Nobody needs to wait for them.
        """
        threads = list(self._threads)
        self.resize(0)
        return threads

    def _make_threads(self) -> None:
        while self._idle < 0 and len(self._threads) < self._most:
            number = len(self._threads)
            thread = Thread(
                target=self._serve, name=f"{self._name}-{number}", daemon=True
            )
            self._threads.append(thread)
            self._idle += 1
            thread.start()

    def _end_one(self) -> None:
        self._threads.pop()
        self._idle -= 1
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            self._do(*work)
            # What was called with is not kept until there is something else to do.
            del work

    def _do(
        self,
        tell: Tell,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        result: Any
        try:
            result = function(*args, **kwargs)
            succeeded = True
        except BaseException:
            result = Failure()
            succeeded = False
        # Before it is told, so that what comes next finds it idle.
        with self._lock:
            self._idle += 1
        tell(succeeded, result)


def defer_to(
    reactor: Any, pool: ThreadPool, function: Callable[..., T], *args: object
) -> Deferred[T]:
    """Call a function in one of a pool's threads.

    Returns:
        A Deferred that fires in the reactor thread with what the function returns,
        or fails with whatever it raises, ``BaseException`` included.
    """
    # It asks for no more of a pool than is there.
    return deferToThreadPool(reactor, cast(Any, pool), function, *args)
