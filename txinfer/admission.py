"""Which calls are taken: what there is room for, and time."""

from __future__ import annotations

import math

from twisted.internet.interfaces import IReactorTime

from .cost import KNOWN, TRY_AFTER, Cost
from .errors import DeadlineExceeded, NoTime, Unavailable
from .held import Held, Refusal
from .interfaces import IRunnable
from .observe import Shed
from .policy import BatchPolicy
from .slots import Slots
from .waiting import Waiting

# Nobody should be sent away for longer than this by an estimate, in seconds.
LONGEST_RETRY = 60

# What waits before a call takes longer than was learned of runs at their best: there
# are smaller ones among them, and the reactor has to see to each. If calls were taken
# that miss their deadline by a little, their runs would be for nothing, and under a
# load that stays too high nearly all would be. If some are turned away that would
# not, nothing is lost: the slots have enough to do.
SLOWER = 1.25

# Seconds for which calls are asked about before they are read, once one was turned
# away. Who is refused then costs half as much, and who is taken up to a seventh more.
CROWDED = 1.0

CLOSING = "the server is shutting down"
NO_SLOT = "no session slot is left: all are held by runs that hang"


class Admission:
    """Decides about calls as they come. Reactor thread only.

    Args:
        policy: how calls are gathered.
        held: the account of all that is held.
        waiting: what waits.
        slots: what runs.
        clock: what time it is.

    ``closed`` is whether no calls are taken any more.
    """

    def __init__(
        self,
        policy: BatchPolicy,
        held: Held,
        waiting: Waiting,
        slots: Slots,
        clock: IReactorTime,
    ) -> None:
        self.closed = False
        self._policy = policy
        self._held = held
        self._waiting = waiting
        self._slots = slots
        self._clock = clock
        held.retry_after = self.retry_after

    def refusal(
        self, method: IRunnable, rows: int, size: int, client: str, seconds: float
    ) -> Refusal | None:
        """Why not to take a call; None to take it.

        Args:
            method: what it is for.
            rows: of the call.
            size: of the call, in bytes.
            client: who calls.
            seconds: until its deadline, perhaps infinitely many.
        """
        if self.closed:
            return Refusal(Shed.CLOSING, Unavailable(CLOSING))
        if seconds <= 0:
            return Refusal(None, DeadlineExceeded())
        if not self._slots.limit:
            return Refusal(Shed.STUCK, Unavailable(NO_SLOT))
        refusal = self._held.refusal(rows, size)
        if refusal is None:
            missing = self._missing(method, rows, client, seconds)
            if missing > 0 and self._is_sure(method):
                method.cost.crowded_until = self._clock.seconds() + CROWDED
                return Refusal(Shed.DEADLINE, NoTime(whole(missing)))
        return refusal

    def missing(self, method: IRunnable, client: str, seconds: float) -> int | None:
        """By how many whole seconds a call comes too late, if it does so whatever it
        holds; None if it does not, or is refused for something else.

        Args:
            method: what is called.
            client: who calls.
            seconds: until the deadline.
        """
        if self.closed or seconds <= 0 or not self._slots.limit:
            return None
        missing = self._missing(method, 1, client, seconds)
        if missing > 0 and self._is_known(method.cost):
            return whole(missing)
        return None

    def too_late(self) -> Refusal:
        """Why a call that was taken is not run: it would expire meanwhile."""
        return Refusal(Shed.DEADLINE, NoTime(self.retry_after()))

    def retry_after(self) -> int:
        """Whole seconds until what waits now is expected to have run."""
        return whole(self._waiting.seconds() / max(self._slots.limit, 1))

    def predicted_wait(self) -> float:
        """Seconds until a call would run that came now, if all before it ran first."""
        limit = max(self._slots.limit, 1)
        return self._slots.wait() + self._waiting.seconds() / limit

    def _missing(
        self, method: IRunnable, rows: int, client: str, seconds: float
    ) -> float:
        """By how many seconds a call would be answered too late; 0 or less if not."""
        # Even if every row ran alone.
        runs = self._waiting.rows + len(self._slots) + rows
        if seconds >= runs * self._slots.longest:
            return 0.0
        return self._predicted(method, rows, client) - seconds

    def _predicted(self, method: IRunnable, rows: int, client: str) -> float:
        """Seconds until a call of a client would be answered.

        Rather too few if nothing waits, and else rather too many.
        """
        cost, limit = method.cost, self._slots.limit
        alone = cost.seconds(min(rows, self._policy.max_rows))
        whole = max(alone, rows * cost.row_seconds / limit)
        if not self._waiting:
            return self._slots.wait() + whole
        ahead = self._waiting.ahead(client, rows)
        # It runs together with others.
        company = min(ahead + rows, self._policy.max_rows)
        whole = max(whole, cost.seconds(company))
        seconds = SLOWER * ahead * self._waiting.row_seconds
        return self._slots.wait() + seconds / limit + whole

    def _is_sure(self, method: IRunnable) -> bool:
        """Whether to believe what a method takes; if not, one call is taken all the
        same.
        """
        if self._is_known(method.cost):
            return True
        method.cost.tried = self._clock.seconds()
        return False

    def _is_known(self, cost: Cost) -> bool:
        """Whether a cost was learned well, and lately."""
        # The first run of a model may take many times what the others do.
        return (
            cost.runs >= KNOWN
            and self._clock.seconds() - max(cost.updated, cost.tried) < TRY_AFTER
        )


def whole(seconds: float) -> int:
    """Seconds as ``Retry-After`` has them."""
    return min(max(math.ceil(seconds), 1), LONGEST_RETRY)
