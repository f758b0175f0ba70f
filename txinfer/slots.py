"""The session slots: what runs in them, for how long, and which are lost.

How many of them a method may have at once is learned (:mod:`.overlap`).

A kernel that never returns cannot be stopped, only left alone: its slot is lost,
a spare thread takes its place, and both are undone if it comes back after all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .calls import Batch, work_of
from .interfaces import IRunnable, IThreads
from .tensors import Tensors
from .wheel import Wheel

# What the longest run lately took fades to half in some seven hundred runs.
FORGET = 0.999

# Spare threads at once. A kernel that hangs may do so in a loop, on a core.
SPARES = 4

# Seconds by which a run may be taken for lost too late; finer costs more memory.
WATCH_GRAIN = 1.0

Result = list[Tensors] | Failure


class Slots:
    """Runs batches, as many at once as there are threads, and of each method as pays.

    Args:
        threads: where runs block.
        clock: the reactor's.
        stuck_seconds: how long a run may take before its slot counts as lost.
        landed: called with each batch that is back, what came of it and the
            seconds that it took; its slot is free then.
        lost: called when a slot was lost.

    ``rows`` and ``size`` (bytes) count what runs; ``longest`` is what the longest
    run took lately, in seconds; ``limit`` is how many runs may be under way now, if all
    are of the method whose run came back last.
    """

    log = Logger()

    def __init__(
        self,
        threads: IThreads,
        clock: IReactorTime,
        stuck_seconds: float,
        landed: Callable[[Batch, Result, float], None],
        lost: Callable[[], None],
    ) -> None:
        self.rows = 0
        self.size = 0
        self.longest = 0.0
        self._threads = threads
        self._clock = clock
        self._stuck_seconds = stuck_seconds
        self._on_landed = landed
        self._on_lost = lost
        self._running: dict[Batch, None] = {}
        self._lost: dict[Batch, None] = {}
        self._spares = 0
        self._given_up = False
        self._watch: Wheel[Batch] = Wheel(clock, self._lose, WATCH_GRAIN)
        self._left = self.limit = threads.size

    def __len__(self) -> int:
        """How many runs are under way, in lost slots too."""
        return len(self._running) + len(self._lost)

    def __iter__(self) -> Iterator[Batch]:
        """What is under way, in lost slots too."""
        yield from self._lost
        yield from self._running

    @property
    def count(self) -> int:
        """How many slots there are, those that are lost among them."""
        return self._threads.size

    @property
    def lost(self) -> int:
        """How many slots are lost."""
        return len(self._lost)

    @property
    def free(self) -> bool:
        """Whether another run may start now, of some method."""
        return len(self._running) < self._left

    def has_room(self, method: IRunnable) -> bool:
        """Whether another run of a method may start now."""
        overlap = method.cost.overlap
        return overlap.running < overlap.limit and len(self._running) < self._left

    def start(self, batch: Batch) -> None:
        """Run a batch."""
        self._running[batch] = None
        self.rows += batch.rows
        self.size += batch.size
        batch.left = now = self._clock.seconds()
        overlap = batch.method.cost.overlap
        overlap.started(now)
        batch.share = 1 / max(min(overlap.limit, self._left), 1)
        batch.slot = self._watch.add(batch, now + self._stuck_seconds)
        done: Any = partial(self._back, batch)
        self._threads.call(done, *work_of(batch))

    def learn(self, batch: Batch, seconds: float) -> None:
        """Take note that a run gave outputs, and of the seconds that it took."""
        self.longest = max(seconds, self.longest * FORGET)
        cost = batch.method.cost
        cost.learn(batch.rows, seconds, self._clock.seconds())
        if self._left:
            is_short = seconds <= len(batch.pieces) * cost.company.call_seconds
            cost.overlap.learn(batch.rows, is_short, self._left)
            self.limit = int(min(cost.overlap.limit, self._left))

    def wait(self) -> float:
        """Seconds until a slot is expected to be free."""
        if len(self._running) < self.limit or not self._running:
            return 0.0
        now = self._clock.seconds()
        return max(min(_ends(batch) for batch in self._running) - now, 0.0)

    def busy(self, methods: Collection[IRunnable] | None) -> bool:
        """Whether a run is under way of one of the methods, or of any.

        One in a lost slot counts only as long as somebody waits for it.
        """
        batches = [*self._running, *(b for b in self._lost if b.wanted)]
        return any(methods is None or it.method in methods for it in batches)

    def hangs(self, methods: Collection[IRunnable] | None) -> bool:
        """Whether a run of one of the methods, or of any, is in a lost slot."""
        return any(methods is None or it.method in methods for it in self._lost)

    def give_up(self) -> None:
        """Take all that runs for lost, and start nothing any more."""
        self._given_up = True
        self._lost |= self._running
        self._running.clear()
        self._watch.stop()
        self._count()

    def stop(self) -> None:
        """Watch no longer; nothing may be running that is not lost."""
        self._watch.stop()

    def _back(self, batch: Batch, result: Result, seconds: float) -> None:
        self.rows -= batch.rows
        self.size -= batch.size
        if batch in self._lost:
            self._find(batch, seconds)
        else:
            self._end(batch)
            batch.slot.discard(batch)
        self._on_landed(batch, result, seconds)

    def _end(self, batch: Batch) -> None:
        """A run does not count any longer."""
        del self._running[batch]
        batch.method.cost.overlap.ended(self._clock.seconds())

    def _lose(self, batch: Batch) -> None:
        """A run takes too long: others run in the place of its slot, if possible."""
        self._end(batch)
        self._lost[batch] = None
        self.log.critical(
            "A run of {name} hangs: not back after {seconds:g} s, its slot is lost",
            name=batch.method.labels.method,
            seconds=self._stuck_seconds,
        )
        if self._spares < SPARES:
            self._spares += 1
            self._threads.grow()
        self._count()
        self._on_lost()

    def _find(self, batch: Batch, seconds: float) -> None:
        """A lost run is back after all."""
        del self._lost[batch]
        self.log.warn(
            "A run of {name} is back after {seconds:.0f} s",
            name=batch.method.labels.method,
            seconds=seconds,
        )
        if self._spares > len(self._lost):
            self._spares -= 1
            self._threads.shrink()
        self._count()

    def _count(self) -> None:
        """Count the slots that are left."""
        given_up = self._given_up
        self._left = 0 if given_up else self._threads.size - len(self._lost)
        self.limit = min(self.limit, self._left) or self._left


def _ends(batch: Batch) -> float:
    return batch.left + batch.method.cost.seconds(batch.rows)
