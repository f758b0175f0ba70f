"""Threads that do not keep the process alive, and take work and give results quickly.

The reactor's own pool is joined at shutdown, and so is any ``ThreadPool`` of
Twisted's; but a look-up that waits for a name server, or a kernel that hangs, cannot
be stopped, and must not keep a server from ending.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

T = TypeVar("T")

#: Called with whether a function returned, and with what that was or a Failure.
Tell = Callable[[bool, Any], object]

Work = tuple[Tell, Callable[..., Any], tuple[Any, ...], dict[str, Any]]

#: What a thread is to do, and in the end None.
Queue: TypeAlias = "SimpleQueue[Work | None]"


class ThreadPool:
    """A pool for ``deferToThreadPool``, with little between the reactor and a thread.

    Twisted's pool coordinates its threads by functions that wait for their turn in
    other functions, and both sides need the interpreter for that; here each thread has
    a queue, on which it waits. Threads come to life when there is work for them, and
    of those that are idle the one that was so last is next: what it works with is in
    the processor's caches, or kept for the thread.

    Args:
        most: how many threads there may be.
        name: what they are called.
        lasting: whether a thread stays when there is nothing to do. What kernels keep
            for a thread goes with it.
    """

    def __init__(self, most: int, name: str, lasting: bool = True) -> None:
        self._most = most
        self._name = name
        self._lasting = lasting
        self._lock = Lock()
        self._threads: dict[Queue, Thread] = {}
        self._idle: list[Queue] = []
        self._waiting: deque[Work] = deque()

    def callInThreadWithCallback(
        self,
        onResult: Tell,
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Call a function in one of the threads, and tell there what came of it."""
        work = onResult, function, args, kwargs
        with self._lock:
            if self._idle:
                self._idle.pop().put(work)
            else:
                self._waiting.append(work)
                self._make_threads()

    def resize(self, most: int) -> None:
        """Have at most so many threads; those that are too many end when idle."""
        with self._lock:
            self._most = most
            while self._idle and len(self._threads) > most:
                self._end(self._idle.pop())
            self._make_threads()

    def stop(self) -> list[Thread]:
        """Have all threads end when they have done what there is to do.

        Returns:
            These threads. Nobody needs to wait for them.
        """
        threads = list(self._threads.values())
        self.resize(0)
        return threads

    def _make_threads(self) -> None:
        while self._waiting and len(self._threads) < self._most:
            queue: Queue = SimpleQueue()
            queue.put(self._waiting.popleft())
            name = f"{self._name}-{len(self._threads)}"
            thread = Thread(target=self._serve, args=[queue], name=name, daemon=True)
            self._threads[queue] = thread
            thread.start()

    def _end(self, queue: Queue) -> None:
        del self._threads[queue]
        queue.put(None)

    def _serve(self, queue: Queue) -> None:
        while (work := queue.get()) is not None:
            self._do(queue, *work)
            # What was called with is not kept until there is something else to do.
            del work

    def _do(
        self,
        queue: Queue,
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
        self._is_done(queue)
        tell(succeeded, result)

    def _is_done(self, queue: Queue) -> None:
        with self._lock:
            if self._waiting:
                queue.put(self._waiting.popleft())
            elif len(self._threads) > self._most or not self._lasting:
                self._end(queue)
            else:
                self._idle.append(queue)


def call_in(pool: ThreadPool, function: Callable[..., T], *args: object) -> T:
    """Call a function in one of a pool's threads, and wait for it. Blocks.

    Raises:
        BaseException: whatever the function raises.
    """
    told: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    pool.callInThreadWithCallback(lambda *it: told.put(it), function, *args)
    succeeded, result = told.get()
    if not succeeded:
        result.raiseException()
    return cast(T, result)


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
