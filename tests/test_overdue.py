"""What is due is done at its time, and not all of it at once."""

from __future__ import annotations

from itertools import pairwise

import pytest
from twisted.internet.task import Clock

from txinfer.overdue import NEVER, Overdue
from txinfer.wheel import GRAIN

MOST = 3


class Bench:
    """Things that take note of when they are done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.overdue = Overdue(self.clock, MOST)
        self.done: list[float] = []

    def note(self) -> None:
        self.done.append(self.clock.seconds())

    def turns(self, seconds: float) -> list[int]:
        """How much is done in each turn of the reactor, as time passes."""
        seen = [0]

        def look(left: int) -> None:
            seen.append(len(self.done))
            if left:
                self.clock.callLater(0, look, left - 1)

        self.clock.callLater(seconds, look, 9)
        self.clock.advance(seconds)
        return [after - before for before, after in pairwise(seen)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_is_done_at_its_time_or_a_grain_later(bench: Bench) -> None:
    bench.overdue.add(bench.note, 1000.254)
    for _ in range(500):
        bench.clock.advance(0.001)
    [done] = bench.done
    assert 1000.254 <= done <= 1000.254 + GRAIN + 0.001


def test_what_is_late_already_is_done_in_the_next_turn(bench: Bench) -> None:
    bench.overdue.add(bench.note, 999)
    assert not bench.done
    bench.clock.advance(0)
    assert bench.done == [1000]


def test_what_is_cancelled_is_not_done(bench: Bench) -> None:
    due, other = (bench.overdue.add(bench.note, 1001) for _ in range(2))
    due.cancel()
    due.cancel()
    # In the turn before it would be done.
    bench.overdue.add(other.cancel, 1001 - GRAIN)
    bench.clock.advance(1)
    assert not bench.done
    assert not bench.clock.getDelayedCalls()
    NEVER.cancel()


def test_no_more_are_done_at_a_turn_than_may_be(bench: Bench) -> None:
    for _ in range(2 * MOST + 1):
        bench.overdue.add(bench.note, 1001)
    done = [count for count in bench.turns(1) if count]
    assert done == [MOST, MOST, 1]


def test_when_it_is_stopped_nothing_is_left(bench: Bench) -> None:
    bench.overdue.add(bench.note, 1001)
    bench.overdue.stop()
    assert not bench.clock.getDelayedCalls()
    # It may go on afterwards.
    bench.overdue.add(bench.note, 1002)
    bench.clock.advance(2)
    assert bench.done == [1002]


def test_it_may_be_stopped_in_the_middle(bench: Bench) -> None:
    for _ in range(MOST):
        bench.overdue.add(bench.note, 1001)
    bench.overdue.add(bench.overdue.stop, 1001)
    for _ in range(MOST):
        bench.overdue.add(bench.note, 1002)
    bench.clock.advance(2)
    assert len(bench.done) <= MOST
    assert not bench.clock.getDelayedCalls()
