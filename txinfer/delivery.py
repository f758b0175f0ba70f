"""Answers handed out without keeping the reactor from its other work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

A = TypeVar("A")
B = TypeVar("B")

# Seconds. Whoever is answered encodes and writes at once, which for a large
# answer takes long; a health probe should be answered within 50 ms all the same.
SLICE = 0.005


class Delivery(Generic[A, B]):
    """Has pairs handled one after the other, some milliseconds at a time.

    ``going`` is whether some are left.

    Args:
        clock: the reactor's, which does other work in between.
        deliver: handles one pair; must not raise.
        finished: called when none is left.
    """

    def __init__(
        self,
        clock: IReactorTime,
        deliver: Callable[[A, B], object],
        finished: Callable[[], object],
    ) -> None:
        self.going = False
        self._clock = clock
        self._deliver = deliver
        self._finished = finished
        self._left: deque[tuple[A, B]] = deque()

    def add(self, pairs: Iterable[tuple[A, B]]) -> None:
        """Have pairs handled after those that are left."""
        self._left.extend(pairs)
        if not self.going:
            self._go()

    def _go(self) -> None:
        self.going = True
        left, deliver, seconds = self._left, self._deliver, self._clock.seconds
        until = seconds() + SLICE
        while left:
            deliver(*left.popleft())
            if left and seconds() > until:
                self._clock.callLater(0, self._go)
                return
        self.going = False
        self._finished()
