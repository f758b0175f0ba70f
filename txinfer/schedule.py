"""Which batch runs next: what is to run again, and then what waits, in fair turns."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .again import Again
from .calls import Batch, Call
from .interfaces import IRunnable
from .policy import BatchPolicy
from .waiting import Line, Waiting


class Schedule:
    """The calls that have been taken and do not run, and the order they run in.

    Args:
        policy: how calls are gathered.
        clock: for lingering and deadlines.
        wake: called when a batch that lingered is to go.
        has_room: whether another run of a method may start now. While none of the
            method whose turn it is may, nobody else's does: the turns are fair.

    ``waiting`` is what waits, ``again`` what is to run again; ``late`` are calls
    found when their turn came whose deadline has passed, or will have before their
    run is over.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        clock: IReactorTime,
        wake: Callable[[], object],
        has_room: Callable[[IRunnable], bool],
    ) -> None:
        self.waiting = Waiting()
        self.again = Again(self.waiting.remove)
        self.late: list[Call] = []
        self._policy = policy
        self._clock = clock
        self._wake = wake
        self._has_room = has_room
        self._linger: IDelayedCall | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting or self.again or self.late)

    def stop(self) -> None:
        """Let the timer go."""
        if self._linger is not None and self._linger.active():
            self._linger.cancel()

    def calls(self) -> list[Call]:
        """All calls, of which some may be there more than once."""
        again = [piece.call for batch in self.again for piece in batch.pieces]
        return [*again, *self.waiting.calls()]

    def has(self, methods: Collection[IRunnable]) -> bool:
        """Whether there are calls of one of the methods."""
        return self.waiting.has(methods) or any(
            batch.method in methods for batch in self.again
        )

    def is_first(self, call: Call) -> bool:
        """Whether a call may run now, alone, if there is a slot."""
        return call.rows == 1 and not (self or self._policy.linger)

    def next(self) -> Batch | None:
        """Take out the batch that runs next; None if there is none yet."""
        now = self._clock.seconds()
        while (batch := self.again.next()) is not None:
            in_time = self._in_time(batch, now)
            if in_time is not None:
                return in_time
        return self._gather(now)

    def _in_time(self, batch: Batch, now: float) -> Batch | None:
        """What of a batch is not late; None if all of it is."""
        late = [piece.call for piece in batch.pieces if piece.deadline <= now]
        if not late:
            return batch
        self.late += late
        pieces = [piece for piece in batch.pieces if piece.deadline > now]
        return batch.only(pieces) if pieces else None

    def _gather(self, now: float) -> Batch | None:
        """Take out what runs next of what waits, if it is time."""
        while self.waiting:
            lead = self.waiting.lead()
            if not self._has_room(lead.group.method):
                return None
            if self._policy.linger and self._should_linger(lead, now):
                return None
            batch = self._pick(lead, now)
            if batch is not None:
                return batch
        return None

    def _pick(self, lead: Line, now: float) -> Batch | None:
        """Take out a batch that begins with a line; None if all of it is late."""
        method, rows = lead.group.method, lead.group.rows
        if method.direct is not None:
            # The method may have become direct while the call waited.
            return self._in_time(self.again.whole(lead.oldest), now)
        cost = method.cost
        most = cost.best(rows, self._policy.most(cost.at_most))
        seconds = cost.fastest(most if most < rows else rows, now)
        picked = self.waiting.take(lead, most, now, seconds)
        self.late += picked.late
        if not picked.pieces:
            return None
        return Batch(method, picked.pieces, picked.rows, picked.size)

    def _should_linger(self, lead: Line, now: float) -> bool:
        """Whether a batch still waits for company; sets the timer if so."""
        if lead.group.method.direct is not None:
            return False
        left = lead.oldest.arrived + self._policy.linger - now
        if left <= 0 or lead.group.rows >= self._policy.max_rows:
            return False
        if self._linger is None or not self._linger.active():
            self._linger = self._clock.callLater(left, self._wake)
        return True
