"""When a run leaves that could have more company: at the end of a turn of the reactor.

Whether that pays is known by :mod:`.company`. The reactor has read whoever is there
once a turn is over in which nothing came, no call and no part of a body.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .calls import Batch, Call
from .interfaces import IRunnable
from .waiting import Waiting


class Gathering:
    """Sees who comes before a run leaves, where that pays. Reactor thread only.

    Args:
        clock: the reactor.
        waiting: what waits.
        max_rows: the largest batch, in rows.
        wake: called when what waits is to leave.
        held: how many bytes are held, of bodies that are being read, too.
    """

    def __init__(
        self,
        clock: IReactorTime,
        waiting: Waiting,
        max_rows: int,
        wake: Callable[[], object],
        held: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._waiting = waiting
        self._max_rows = max_rows
        self._wake = wake
        self._held = held
        self._method: IRunnable | None = None
        self._turn: IDelayedCall | None = None
        self._until = 0.0
        self._held_before = 0

    @property
    def going(self) -> bool:
        """Whether what waits leaves when the reactor has read who is there."""
        return self._turn is not None

    def stop(self) -> None:
        """Let the timer go."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def join(self, call: Call) -> bool:
        """Have a call for which a slot is free leave with who comes, if that pays. To
        be called when the reactor reads.

        Returns:
            Whether it is to wait for that.
        """
        method = call.method
        if self._turn is not None:
            if method is not self._method:
                # It does not wait for others' company longer than for this turn.
                self._until = 0.0
            return True
        if not method.cost.company.worth or call.rows >= self._enough(method):
            return False
        self._go(method)
        self._begin_turn()
        return True

    def follow(self, batch: Batch) -> bool:
        """Have what waits leave with those who come again after a run, if that pays. To
        be called before they are answered, when the reactor sees to its threads, which
        it does before it reads.

        Returns:
            Whether it is to wait for that.
        """
        method, cost = batch.method, batch.method.cost
        rows = 0 if batch.whole else self._waiting.rows_of(method)
        calls = len(batch.pieces) + rows
        cost.company.learn(calls, cost.saved(batch.rows + rows))
        if not cost.company.worth or not 0 < rows < self._enough(method):
            return False
        if any(piece.call.line is not None for piece in batch.pieces):
            # What is left of a call that was cut leaves at once.
            return False
        if self._turn is None:
            self._go(method)
            self._turn = self._clock.callLater(0, self._begin_turn)
        return True

    def _enough(self, method: IRunnable) -> int:
        return method.cost.enough(self._max_rows)

    def _go(self, method: IRunnable) -> None:
        self._method = method
        self._until = self._clock.seconds() + method.cost.company.worth

    def _begin_turn(self) -> None:
        self._held_before = self._held()
        self._turn = self._clock.callLater(0, self._end_turn)

    def _end_turn(self) -> None:
        # What is held grows with each call and each part of a body that is read.
        if self._held() > self._held_before and self._clock.seconds() < self._until:
            self._begin_turn()
            return
        self._turn = self._method = None
        self._wake()
