"""Deadlines by the thousand for the price of one timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

# Seconds. Deadlines this near to each other are told together: a fifth of the
# 50 ms within which a caller is to hear of one.
GRAIN = 0.01

# A timer set for a time may fire this much before it, since doubles of seconds
# since 1970 are no finer.
ROUNDING = 1e-6


class Wheel(Generic[T]):
    """Items with the time at which each expires. Reactor thread only.

    An item is told at its time or up to a ``grain`` later, never before. One
    timer is set, for the first time of all. When an item is taken out the timer
    stays, since it costs more to stop than to let it find nothing.

    Args:
        clock: the reactor's.
        expire: called with each item whose time has come; it is out by then.
        grain: how late an item may be told, in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        expire: Callable[[T], None],
        grain: float = GRAIN,
    ) -> None:
        self._clock = clock
        self._grain = grain
        self._expire = expire
        self._slots: dict[int, set[T]] = {}
        self._order: list[int] = []
        self._timer: IDelayedCall | None = None

    def add(self, item: T, at: float) -> set[T]:
        """Put in an item that expires at a time, in seconds on the clock.

        Returns:
            A set that has the item; to take it out, discard it from there.
        """
        number = math.ceil(at / self._grain)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._open(number)
        slot.add(item)
        return slot

    def stop(self) -> None:
        """Forget all items, and let the timer go."""
        self._slots.clear()
        self._order.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _open(self, number: int) -> set[T]:
        slot = self._slots[number] = set()
        heappush(self._order, number)
        if self._order[0] == number:
            self._set_timer()
        return slot

    def _set_timer(self) -> None:
        wait = max(self._order[0] * self._grain - self._clock.seconds(), 0.0)
        if self._timer is not None and self._timer.active():
            self._timer.reset(wait)
        else:
            self._timer = self._clock.callLater(wait, self._turn)

    def _turn(self) -> None:
        until = self._clock.seconds() + ROUNDING
        while self._order and self._order[0] * self._grain <= until:
            slot = self._slots.pop(heappop(self._order))
            while slot:
                self._expire(slot.pop())
        # Of most slots everything was taken out long ago.
        while self._order and not self._slots[self._order[0]]:
            del self._slots[heappop(self._order)]
        if self._order:
            self._set_timer()
