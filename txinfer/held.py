"""One account of all that is held for callers, and what does not fit into it.

Whoever holds something says how much when asked: the collector what waits and
runs, the door the bodies it has read and the answers that are not sent yet. So
nothing is counted twice, and no count can go astray.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .errors import CallTooLarge, InferenceError, Overloaded
from .observe import NOBODYS, Amount, IObserver, Shed

# Rows and bytes; a plain pair, since it is asked for at every call.
Holder = Callable[[], tuple[int, int]]


class Refusal(NamedTuple):
    """Why a call is not taken, for those who count and for the caller.

    ``reason`` is None for a call whose deadline is over already.
    """

    reason: Shed | None
    error: InferenceError


def _soon() -> int:
    return 1


class Held:
    """Knows what is held by all, and what there is room for. Reactor thread only.

    Args:
        max_rows: the most rows held at once.
        max_size: the most bytes held at once.

    ``retry_after`` tells in how many whole seconds there will be room; whoever
    knows better than the default may set it.
    """

    def __init__(self, max_rows: int, max_size: int) -> None:
        self.max_rows = max_rows
        self.max_size = max_size
        self.retry_after: Callable[[], int] = _soon
        self._holders: list[Holder] = []

    def add(self, holder: Holder) -> None:
        """Ask somebody else, too, from now on."""
        self._holders.append(holder)

    def discard(self, holder: Holder) -> None:
        """Ask somebody no longer, who holds nothing any more."""
        if holder in self._holders:
            self._holders.remove(holder)

    def amount(self) -> Amount:
        """What is held now."""
        return Amount(*self._sum(0, 0))

    def refusal(self, rows: int, size: int) -> Refusal | None:
        """Why so much more cannot be held, now or ever; None if it can."""
        all_rows, all_size = rows, size
        # Not by _sum: each call comes here.
        for holder in self._holders:
            more_rows, more_size = holder()
            all_rows += more_rows
            all_size += more_size
        if all_rows <= self.max_rows and all_size <= self.max_size:
            return None
        if rows > self.max_rows or size > self.max_size:
            too_large = CallTooLarge(self.max_rows, self.max_size)
            return Refusal(Shed.TOO_LARGE, too_large)
        reason = Shed.BYTES if all_rows <= self.max_rows else Shed.ROWS
        return Refusal(reason, Overloaded(self.retry_after()))

    def body_refusal(
        self, observer: IObserver, announced: int
    ) -> InferenceError | None:
        """Why not to read a body of so many bytes; None to read it.

        Args:
            observer: is told of the refusal; nobody knows the method yet.
            announced: the length of the body, 0 if that is not known.
        """
        refusal = self.refusal(1, announced)
        if refusal is None or refusal.reason is None:
            return None
        observer.shed(NOBODYS, refusal.reason)
        return refusal.error

    def _sum(self, rows: int, size: int) -> tuple[int, int]:
        for holder in self._holders:
            more_rows, more_size = holder()
            rows += more_rows
            size += more_size
        return rows, size
