"""Who waits for work to be done, of some methods or of all."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred, succeed

from .interfaces import IRunnable

Methods = Collection[IRunnable]


class Drain:
    """Fires Deferreds once there is nothing left to do.

    Args:
        is_idle: whether nothing is left of some methods, or of all if it is None.
    """

    def __init__(self, is_idle: Callable[[Methods | None], bool]) -> None:
        self._is_idle = is_idle
        self._waiting: list[tuple[Methods | None, Deferred[None]]] = []

    def wait(self, methods: Methods | None) -> Deferred[None]:
        """A Deferred that fires with None once nothing is left of the methods."""
        if self._is_idle(methods):
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._waiting.append((methods, idle))
        return idle

    def tell(self) -> None:
        """Something is done: perhaps it was the last."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for methods, idle in waiting:
            if self._is_idle(methods):
                idle.callback(None)
            else:
                self._waiting.append((methods, idle))
