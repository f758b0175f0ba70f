from __future__ import annotations

from statistics import mean
from typing import Any

import numpy as np
import pytest
from twisted.internet.task import Clock

from tests.pool import TimedThreads
from tests.work import Work
from txinfer.collector import Collector
from txinfer.company import Company
from txinfer.policy import BatchPolicy


class Programs:
    """Callers that call again as soon as they are answered, one row at a time.

    Args:
        count: how many there are; each has an address of its own.
        run_seconds: what a run takes.
        row_seconds: what each row of it takes besides.
        far: whether what they send is read not in the next turn, but later.
    """

    def __init__(
        self, count: int, run_seconds: float, row_seconds: float, far: bool = False
    ) -> None:
        self.clock = Clock()
        self.work = Work()
        self.sizes: list[int] = []
        self.turns = [0, run_seconds / 100] if far else [0]
        self.seconds = run_seconds, row_seconds
        threads = TimedThreads(1, self.clock, self.take)
        self.collector = Collector(threads, self.clock, BatchPolicy(32))
        for number in range(count):
            self.ask(f"10.0.0.{number}")

    def take(self, blocking: Any, work: Work, *args: Any) -> float:
        self.sizes.append(sum(args[-1]))
        run_seconds, row_seconds = self.seconds
        return run_seconds + self.sizes[-1] * row_seconds

    def ask(self, client: str) -> None:
        call = self.collector.submit(self.work, {"x": np.zeros(1)}, client=client)
        call.addCallback(lambda _: self.think(client, list(self.turns)))

    def think(self, client: str, turns: list[float]) -> None:
        """Be read in a turn of the reactor to come."""
        if turns:
            self.clock.callLater(turns.pop(), self.think, client, turns)
        else:
            self.ask(client)

    def run(self, runs: int) -> list[int]:
        """Go on for so many runs; the rows of each."""
        self.sizes.clear()
        while len(self.sizes) < runs:
            following = min(call.getTime() for call in self.clock.getDelayedCalls())
            self.clock.advance(following - self.clock.seconds())
        return self.sizes


@pytest.mark.parametrize("count", [2, 8, 30])
def test_those_who_call_again_at_once_leave_together(count: int) -> None:
    programs = Programs(count, 0.01, 0.0002)
    programs.run(30)
    assert mean(programs.run(50)) > 0.9 * count


def test_nobody_waits_for_those_who_do_not_call_again_at_once() -> None:
    programs = Programs(8, 0.01, 0.0002, far=True)
    began = programs.clock.seconds()
    sizes = list(programs.run(50))
    idle = programs.clock.seconds() - began - sum(0.01 + 0.0002 * it for it in sizes)
    assert idle < 1e-6


def test_a_run_that_is_full_leaves_before_the_answers_of_the_last() -> None:
    programs = Programs(64, 0.01, 0.0002)
    programs.run(30)
    assert set(programs.run(30)) == {32}


def test_one_caller_is_no_company() -> None:
    company = Company()
    company.learn(1, saved=1.0)
    assert not company.worth


def test_it_pays_if_a_run_saves_more_than_everybody_takes() -> None:
    company = Company()
    company.learn_call(0.001)
    company.learn(8, saved=0.0081)
    assert company.worth == 0.0081
    company.learn(8, saved=0.0079)
    assert not company.worth


def test_the_newest_calls_count_for_most() -> None:
    company = Company()
    for seconds in [0.001] * 50 + [0.004] * 50:
        company.learn_call(seconds)
    assert company.call_seconds == pytest.approx(0.004, rel=0.01)
