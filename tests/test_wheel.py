from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from txinfer.wheel import GRAIN, Wheel


class Bench:
    """A wheel whose items are their own times."""

    def __init__(self, now: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.advance(now)
        self.expired: list[tuple[float, float]] = []
        self.wheel: Wheel[float] = Wheel(self.clock, self.expire)

    def expire(self, at: float) -> None:
        self.expired.append((at, self.clock.seconds()))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_each_expires_at_its_time_and_once(bench: Bench) -> None:
    for at in (3.0, 1.0, 2.0):
        bench.wheel.add(at, at)
    for _ in range(4):
        bench.clock.advance(1)
    assert bench.expired == [(1, 1), (2, 2), (3, 3)]


@given(
    st.floats(0, 2e9),
    st.lists(st.floats(0, 100), min_size=1, max_size=20),
)
def test_none_expires_early_nor_more_than_a_grain_late(
    now: float, waits: list[float]
) -> None:
    bench = Bench(now)
    for wait in waits:
        bench.wheel.add(now + wait, now + wait)
    while bench.clock.getDelayedCalls():
        timer = bench.clock.getDelayedCalls()[0]
        bench.clock.advance(max(timer.getTime() - bench.clock.seconds(), 0))
    assert len(bench.expired) == len({now + wait for wait in waits})
    for at, told in bench.expired:
        assert at - 2e-6 <= told <= at + GRAIN + 2e-6


def test_one_timer_serves_all(bench: Bench) -> None:
    for at in (5, 9, 1, 3, 7):
        bench.wheel.add(at, at)
    (timer,) = bench.clock.getDelayedCalls()
    assert timer.getTime() == 1


def test_what_is_taken_out_does_not_expire(bench: Bench) -> None:
    bench.wheel.add(1, 1)
    bench.wheel.add(2, 2).discard(2)
    bench.wheel.add(3, 3)
    bench.clock.pump([1, 1, 1])
    assert [at for at, _ in bench.expired] == [1, 3]


def test_a_timer_that_finds_nothing_is_not_set_again(bench: Bench) -> None:
    for at in (1, 2, 3):
        bench.wheel.add(at, at).discard(at)
    bench.clock.advance(1)
    assert not bench.clock.getDelayedCalls()
    bench.wheel.add(2, 2)
    bench.clock.advance(1)
    assert bench.expired == [(2, 2)]


def test_a_time_in_the_past_expires_at_once(bench: Bench) -> None:
    bench.clock.advance(5)
    bench.wheel.add(1, 1)
    bench.clock.advance(0)
    assert bench.expired == [(1, 5)]


def test_an_item_may_be_put_in_while_another_expires(bench: Bench) -> None:
    wheel: Wheel[int] = Wheel(bench.clock, lambda at: again.append(wheel.add(9, 9)))
    again: list[set[int]] = []
    wheel.add(1, 1)
    bench.clock.advance(1)
    (timer,) = bench.clock.getDelayedCalls()
    assert timer.getTime() == 9


def test_a_stopped_wheel_leaves_no_timer_and_expires_nothing(bench: Bench) -> None:
    bench.wheel.stop()
    bench.wheel.add(1, 1)
    bench.wheel.stop()
    assert not bench.clock.getDelayedCalls()
    assert math.isclose(bench.clock.seconds(), 0)
    assert not bench.expired
