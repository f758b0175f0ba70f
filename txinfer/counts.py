"""What is counted of one method: plain numbers, cheap to add to.

``prometheus_client``'s own counters cost a microsecond or two each, with a lock;
a call has a dozen. Here the times of a call are noted, and sorted into histograms
some hundred calls at once, or when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np

from .observe import Run, Shed
from .tensors import Array
from .trace import Trace

# Seconds, from what a tiny model takes to what a patient client waits.
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

# Rows of a batch. The default cap is 32.
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

PHASES = ("decode", "fetch", "queue", "run", "encode")

# Calls whose times are sorted into the histograms at once: so many that numpy's own
# overhead is a tenth of a microsecond for each, and the reactor is not kept from its
# work for more than that of a few calls.
NOTED = 512

# What is noted of a call: the seconds of each phase, and how many runs it had.
FIELDS = len(PHASES) + 1


class Histogram:
    """How many values were at most each bound, and their sum.

    ``counts`` has one more item than ``bounds``, for what is beyond the last.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: Array) -> None:
        """Count any number of values, a 1-D array of doubles."""
        places = np.searchsorted(self.bounds, values)
        more = np.bincount(places, minlength=len(self.counts)).tolist()
        self.counts = [old + new for old, new in zip(self.counts, more, strict=True)]
        self.sum += float(values.sum())


class MethodCounts:
    """The counts of one method, of all versions of its model.

    ``statuses`` has the answers by HTTP status. ``rows`` and ``runs`` are the rows
    and seconds of runs that gave outputs.
    """

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.rows = Histogram(ROWS)
        self.runs = Histogram(SECONDS)
        self.failed_runs = 0
        self.reruns = 0
        self.sheds: defaultdict[Shed, int] = defaultdict(int)
        self.cancelled = 0
        self.expired = 0
        self._whole = Histogram(SECONDS)
        self._phases = {phase: Histogram(SECONDS) for phase in PHASES}
        # Flat, FIELDS for each call: floats are nothing to the garbage collector,
        # which would look at a tuple for each.
        self._noted: list[float] = []

    @property
    def whole(self) -> Histogram:
        """The seconds of calls from decoding to encoding, as of now."""
        self._sort()
        return self._whole

    @property
    def phases(self) -> dict[str, Histogram]:
        """The seconds of each of :data:`PHASES`, as of now."""
        self._sort()
        return self._phases

    def add_answer(self, status: int, trace: Trace | None) -> None:
        """Count an answer, and where a call spent its time. A phase that it never
        reached is 0.
        """
        self.statuses[status] += 1
        if trace is None:
            return
        # What the trace says now: a run that nobody waits for may still add to it.
        noted = self._noted
        noted += (
            trace.decode_seconds,
            trace.fetch_seconds,
            trace.queued_seconds,
            trace.run_seconds,
            trace.encode_seconds,
            trace.runs,
        )
        if len(noted) >= NOTED * FIELDS:
            self._sort()

    def _sort(self) -> None:
        """Count what was noted of calls."""
        if not self._noted:
            return
        noted = np.fromiter(self._noted, np.float64, len(self._noted))
        *phases, runs = noted.reshape(-1, FIELDS).T
        self._noted.clear()
        self._whole.add_all(sum(phases))
        decode, fetch, queue, run, encode = phases
        ran = runs > 0
        self._phases["decode"].add_all(decode)
        self._phases["fetch"].add_all(fetch[fetch != 0])
        self._phases["queue"].add_all(queue[ran])
        self._phases["run"].add_all(run[ran])
        self._phases["encode"].add_all(encode[encode != 0])

    def add_run(self, run: Run) -> None:
        """Count a run that came back."""
        if run.failed:
            self.failed_runs += 1
        else:
            self.rows.add(run.rows)
            self.runs.add(run.seconds)
        if run.rerun:
            self.reruns += 1


class Window:
    """How much happened lately, told apart by the second.

    Args:
        seconds: how far back, in whole seconds.
        now: when counting begins.
    """

    def __init__(self, seconds: int, now: float) -> None:
        self._seconds = seconds
        self._since = now
        # [second, amount], the oldest first; no more than there are seconds.
        self._amounts: deque[list[float]] = deque(maxlen=seconds)

    def add(self, now: float, amount: float) -> None:
        """Count an amount at this time."""
        second = now // 1
        if self._amounts and self._amounts[-1][0] == second:
            self._amounts[-1][1] += amount
        else:
            self._amounts.append([second, amount])

    def start(self, now: float) -> float:
        """When what is remembered began."""
        return max(self._since, now // 1 - self._seconds + 1)

    def total(self, now: float) -> float:
        """What was counted since then."""
        start = self.start(now) // 1
        return sum(amount for second, amount in self._amounts if second >= start)
