"""What is counted of one method: plain numbers, cheap to add to.

``prometheus_client``'s own counters cost a microsecond or two each, with a lock;
a call has a dozen. Here a call costs little more than that altogether.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Sequence

from .observe import Run, Shed
from .trace import Trace

# Seconds, from what a tiny model takes to what a patient client waits.
SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)

# Rows of a batch. The default cap is 32.
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)

PHASES = ("decode", "fetch", "queue", "run", "encode")


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


class MethodCounts:
    """The counts of one method, of all versions of its model.

    ``statuses`` has the answers by HTTP status, ``whole`` the seconds of calls
    from decoding to encoding, ``phases`` those of each of :data:`PHASES`.
    ``rows`` and ``runs`` are the rows and seconds of runs that gave outputs.
    """

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.whole = Histogram(SECONDS)
        self.phases = {phase: Histogram(SECONDS) for phase in PHASES}
        self.rows = Histogram(ROWS)
        self.runs = Histogram(SECONDS)
        self.failed_runs = 0
        self.reruns = 0
        self.sheds: defaultdict[Shed, int] = defaultdict(int)
        self.cancelled = 0
        self.expired = 0
        self._decode, self._fetch, self._queue, self._run, self._encode = (
            self.phases.values()
        )

    def add_answer(self, status: int, trace: Trace | None) -> None:
        """Count an answer, and where a call spent its time. A phase that it never
        reached is 0.
        """
        self.statuses[status] += 1
        if trace is None:
            return
        decode, fetch = trace.decode_seconds, trace.fetch_seconds
        queue, run = trace.queued_seconds, trace.run_seconds
        encode = trace.encode_seconds
        self.whole.add(decode + fetch + queue + run + encode)
        self._decode.add(decode)
        if fetch:
            self._fetch.add(fetch)
        if trace.runs:
            self._queue.add(queue)
            self._run.add(run)
        if encode:
            self._encode.add(encode)

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
