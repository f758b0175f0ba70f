"""The least of many tags, each of which only grows."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

T = TypeVar("T")

# Entries of what is gone are swept out when they are more than the others and
# these few: sweeping then costs nothing to speak of for each entry.
SWEEP_FROM = 64


class Least(Generic[T]):
    """Items by a tag that changes while they are here; equal ones as they came.

    Tags are looked up only when an item seems to be the least, so nobody has to
    say that one has grown, or that an item is gone.

    Args:
        tag: the tag of an item now, never less than before; None if it is gone.
    """

    def __init__(self, tag: Callable[[T], float | None]) -> None:
        self._tag = tag
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        self._sweep_at = SWEEP_FROM

    def __len__(self) -> int:
        """How many entries there are, of items that are gone too."""
        return len(self._heap)

    def add(self, item: T) -> None:
        """Put in an item that is not gone."""
        tag = self._tag(item)
        assert tag is not None
        self._number += 1
        heappush(self._heap, (tag, self._number, item))
        if len(self._heap) > self._sweep_at:
            self._sweep()

    def clear(self) -> None:
        """Forget all items."""
        self._heap.clear()

    def least(self) -> T | None:
        """The item with the least tag, which stays; None if all are gone."""
        heap = self._heap
        while heap:
            old, number, item = heap[0]
            tag = self._tag(item)
            if tag is None:
                heappop(heap)
            elif tag > old:
                heapreplace(heap, (tag, number, item))
            else:
                return item
        return None

    def pop(self) -> T | None:
        """The item with the least tag, taken out; None if all are gone."""
        item = self.least()
        if item is not None:
            heappop(self._heap)
        return item

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if self._tag(entry[2]) is not None]
        heapify(self._heap)
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))
