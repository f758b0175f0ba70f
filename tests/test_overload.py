"""A collector that is asked for four times what it can do; simulated."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.pool import TimedThreads
from tests.work import Work
from txinfer.collector import Collector
from txinfer.policy import BatchPolicy

ROWS = 32

# Seconds of a run, and of each of its rows besides.
RUN, ROW = 0.004, 0.001

# Rows a second, in runs of 32.
PEAK = ROWS / (RUN + ROWS * ROW)

# Seconds that a simulation takes, of which the first is not looked at.
WHOLE = 3.0


class Overload:
    """Calls of one row that come at random, and have so many seconds.

    Args:
        deadlines: of a client each, in seconds; they call in turn.
        jitter: the share of its time by which a run takes longer at most.
    """

    def __init__(self, deadlines: Sequence[float], jitter: float) -> None:
        self.clock = Clock()
        self.clients = cycle(enumerate(deadlines))
        self.jitter = jitter
        self.random = random.Random(1)
        self.work = Work()
        threads = TimedThreads(1, self.clock, self.seconds)
        self.collector = Collector(threads, self.clock, BatchPolicy(ROWS))
        self.outcomes: Counter[str] = Counter()

    def seconds(self, blocking: Any, work: Work, *args: Any) -> float:
        rows: int = sum(args[-1])
        return (RUN + ROW * rows) * (1 + self.jitter * self.random.random())

    def ask(self) -> None:
        client, seconds = next(self.clients)
        deadline = self.clock.seconds() + seconds
        tensors = {"x": np.zeros(1, np.float32)}
        call = self.collector.submit(self.work, tensors, deadline, str(client))
        call.addCallbacks(lambda _: self.note("answered"), self.failed)
        self.clock.callLater(self.random.expovariate(4 * PEAK), self.ask)

    def failed(self, failure: Failure) -> None:
        assert failure.type is not None
        self.note(failure.type.__name__)

    def note(self, outcome: str) -> None:
        if self.clock.seconds() >= 1:
            self.outcomes[outcome] += 1

    def run(self) -> None:
        self.ask()
        while self.clock.seconds() < WHOLE:
            following = min(call.getTime() for call in self.clock.getDelayedCalls())
            self.clock.advance(following - self.clock.seconds())


@pytest.mark.parametrize("deadline", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_what_cannot_be_done_in_time_does_not_keep_from_what_can(
    deadline: float, jitter: float
) -> None:
    overload = Overload([deadline], jitter)
    overload.run()
    peak = PEAK / (1 + jitter / 2)
    assert overload.outcomes["answered"] / (WHOLE - 1) > 0.95 * peak
    assert overload.outcomes["NoTime"] > 0
    # Nearly all of those that are turned away hear of it at once.
    assert overload.outcomes["DeadlineExceeded"] < 0.01 * overload.outcomes["NoTime"]


@pytest.mark.parametrize("deadlines", [(0.06, 0.1, 0.5), (0.05, 0.2)])
@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_nor_do_calls_that_have_little_time_left_when_their_turn_comes(
    deadlines: Sequence[float], jitter: float
) -> None:
    overload = Overload(deadlines, jitter)
    overload.run()
    peak = PEAK / (1 + jitter / 2)
    assert overload.outcomes["answered"] / (WHOLE - 1) > 0.95 * peak
