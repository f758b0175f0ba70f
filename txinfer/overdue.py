"""Requests that are still being read when their clients will not wait any longer.

The door looks at all deadlines four times a second, which is late for who has said
that half a second is all there is. These deadlines are kept by a wheel. A request
that comes in one piece is never in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .wheel import Wheel


@attrs.define(eq=False)
class Due:
    """Something that is to be done at a time; ``end`` does it, unless it is None."""

    end: Callable[[], None] | None = None
    _slot: set[Due] | None = None

    def cancel(self) -> None:
        """Do not do it."""
        self.end = None
        if self._slot is not None:
            self._slot.discard(self)


# What is never to be done.
NEVER = Due()


class Overdue:
    """Does things when they are due, or up to 10 ms later. Reactor thread only.

    Args:
        clock: the reactor.
        most: how many of them in one turn of the reactor.
    """

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self._clock = clock
        self._most = most
        self._wheel: Wheel[Due] = Wheel(clock, self._add_late)
        self._late: deque[Due] = deque()
        self._timer: IDelayedCall | None = None

    def add(self, end: Callable[[], None], at: float) -> Due:
        """Have something done at a time, in seconds on the clock."""
        due = Due(end)
        due._slot = self._wheel.add(due, at)
        return due

    def stop(self) -> None:
        """Do nothing more, and let the timers go."""
        self._wheel.stop()
        self._late.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _add_late(self, due: Due) -> None:
        self._late.append(due)
        if self._timer is None:
            self._timer = self._clock.callLater(0, self._see_to_late)

    def _see_to_late(self) -> None:
        self._timer = None
        for _ in range(self._most):
            # What is done may stop it all.
            if not self._late:
                return
            due = self._late.popleft()
            if due.end is not None:
                due.end()
        if self._late and self._timer is None:
            self._timer = self._clock.callLater(0, self._see_to_late)
