"""The token buckets."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from txinfer.rates import RateLimiter

# The reactor's clock counts from 1970; its doubles are this coarse.
NOW = 1.7e9


def limiter(
    per_second: float, burst: int, max_clients: int = 100
) -> tuple[Clock, RateLimiter]:
    clock = Clock()
    clock.advance(NOW)
    return clock, RateLimiter(clock, per_second, burst, max_clients)


def test_a_burst_is_taken_at_once_and_no_more() -> None:
    _, rates = limiter(10, 5)
    assert [rates.take("a") for _ in range(5)] == [0] * 5
    assert rates.take("a") == pytest.approx(0.1, abs=1e-5)


def test_a_token_comes_back_each_interval() -> None:
    clock, rates = limiter(10, 5)
    for _ in range(6):
        rates.take("a")
    for _ in range(20):
        clock.advance(0.1)
        assert rates.take("a") == 0
        assert rates.take("a") > 0


def test_refusals_do_not_put_off_the_next_token() -> None:
    clock, rates = limiter(1, 1)
    rates.take("a")
    for _ in range(9):
        clock.advance(0.1)
        assert rates.take("a") > 0
    clock.advance(0.1)
    assert rates.take("a") == 0


def test_the_wait_that_is_told_is_enough() -> None:
    clock, rates = limiter(3, 2)
    for _ in range(50):
        wait = rates.take("a")
        if wait:
            clock.advance(wait)
            assert rates.take("a") == 0


def test_clients_do_not_share() -> None:
    _, rates = limiter(1, 1)
    assert [rates.take(client) for client in ("a", "b", "c")] == [0, 0, 0]
    assert rates.take("a") > 0


def test_a_full_bucket_holds_no_more_than_a_burst() -> None:
    clock, rates = limiter(10, 3)
    clock.advance(1e6)
    assert [rates.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_clients_whose_buckets_are_full_are_forgotten() -> None:
    clock, rates = limiter(1, 1)
    for number in range(50):
        rates.take(f"client {number}")
    clock.advance(2)
    for number in range(50):
        rates.take(f"other {number}")
    assert len(rates) == 50


def test_the_clients_that_are_remembered_are_bounded() -> None:
    _, rates = limiter(1, 1, max_clients=10)
    for number in range(1000):
        assert rates.take(str(number)) == 0
        assert len(rates) <= 10
    # Who asked last is still known; who was forgotten has its burst again.
    assert rates.take("999") > 0
    assert rates.take("0") == 0


def test_who_keeps_asking_is_not_forgotten() -> None:
    _, rates = limiter(1, 1, max_clients=10)
    rates.take("busy")
    for number in range(1000):
        rates.take(str(number))
        assert rates.take("busy") > 0


def test_a_clock_that_is_set_back_shuts_nobody_out_for_long() -> None:
    clock, rates = limiter(1, 2)
    rates.take("a")
    clock.rightNow -= 3600
    assert rates.take("a") < 1.1
    clock.advance(2.2)
    assert rates.take("a") == 0


@given(
    st.lists(st.floats(0, 2), max_size=60),
    st.sampled_from([0.5, 1.0, 7.0]),
    st.integers(1, 5),
)
def test_no_window_ever_holds_more_than_rate_and_burst_allow(
    pauses: list[float], per_second: float, burst: int
) -> None:
    clock, rates = limiter(per_second, burst)
    taken: deque[float] = deque()
    for pause in pauses:
        clock.advance(pause)
        if rates.take("a") == 0:
            taken.append(clock.seconds())
        for start in range(len(taken)):
            held = len(taken) - start
            window = taken[-1] - taken[start]
            assert held <= burst + window * per_second + 1e-4
