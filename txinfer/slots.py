"""The session slots: what runs in them, and for how long it is expected to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from .calls import Batch, work_of
from .interfaces import IThreads
from .overlap import Overlap
from .tensors import Tensors

# What the longest run lately took fades to half in some seven hundred runs.
FORGET = 0.999

Result = list[Tensors] | Failure


class Slots:
    """Runs batches, as many at once as there are threads and as it pays.

    Args:
        threads: where runs block.
        clock: the reactor's.
        landed: called with each batch that is back, what came of it and the
            seconds that it took; its slot is free then.

    ``rows`` and ``size`` (bytes) count what runs; ``longest`` is what the longest
    run took lately, in seconds.
    """

    def __init__(
        self,
        threads: IThreads,
        clock: IReactorTime,
        landed: Callable[[Batch, Result, float], None],
    ) -> None:
        self._threads = threads
        self._clock = clock
        self._landed = landed
        self.rows = 0
        self.size = 0
        self.longest = 0.0
        self._running: dict[Batch, None] = {}
        self._overlap = Overlap(threads.size)

    def __len__(self) -> int:
        """How many runs are under way."""
        return len(self._running)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._running)

    @property
    def count(self) -> int:
        """How many slots there are."""
        return self._threads.size

    @property
    def limit(self) -> int:
        """How many runs may be under way at once."""
        return self._overlap.limit

    @property
    def free(self) -> bool:
        """Whether another run may start now."""
        return len(self._running) < self._overlap.limit

    def start(self, batch: Batch) -> None:
        """Run a batch."""
        self._running[batch] = None
        self.rows += batch.rows
        self.size += batch.size
        batch.left = self._clock.seconds()
        done: Any = partial(self._back, batch)
        self._threads.call(done, *work_of(batch))

    def learn(self, batch: Batch, seconds: float, backlog: bool) -> None:
        """Take note of what a run that gave outputs took.

        Args:
            batch: what ran.
            seconds: how long.
            backlog: whether calls wait for the slot.
        """
        self.longest = max(seconds, self.longest * FORGET)
        now = self._clock.seconds()
        batch.method.cost.learn(batch.rows, seconds, now)
        self._overlap.landed(batch.rows, now, backlog)

    def wait(self) -> float:
        """Seconds until a slot is expected to be free."""
        if self.free:
            return 0.0
        now = self._clock.seconds()
        return max(min(_ends(batch) for batch in self._running) - now, 0.0)

    def _back(self, batch: Batch, result: Result, seconds: float) -> None:
        del self._running[batch]
        self.rows -= batch.rows
        self.size -= batch.size
        self._landed(batch, result, seconds)


def _ends(batch: Batch) -> float:
    return batch.left + batch.method.cost.seconds(batch.rows)
