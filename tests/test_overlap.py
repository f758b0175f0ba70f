from __future__ import annotations

from heapq import heappop, heappush
from math import inf

import pytest

from txinfer.overlap import STRETCH_RUNS, TRIAL_RUNS, TRY_EVERY, Overlap


class Bench:
    """A machine that gets through so many rows a second, by the runs at once.

    Callers wait for as many runs at once as there may be, or for fewer.
    """

    def __init__(self, rates: dict[int, float], rows: int = 32) -> None:
        self.rates = rates
        self.most = max(rates)
        self.rows = rows
        self.callers = self.most
        self.is_short = False
        self.overlap = Overlap()
        self.now = 0.0
        self._ends: list[float] = []

    def serve(self, runs: int, pause: float = 0.0) -> list[float]:
        """The number of runs at once that was chosen at the end of each run."""
        limits = []
        for _ in range(runs):
            while self.overlap.running < min(self.overlap.limit, self.callers):
                self.overlap.started(self.now)
                running = self.overlap.running
                seconds = running * self.rows / self.rates[running]
                heappush(self._ends, self.now + seconds)
            self.now = max(self.now, heappop(self._ends))
            self.overlap.ended(self.now)
            self.overlap.learn(self.rows, self.is_short, self.most)
            limits.append(self.overlap.limit)
            self.now += pause
        return limits


def test_runs_overlap_where_that_pays() -> None:
    bench = Bench({1: 1000, 2: 1800})
    bench.serve(1000)
    limits = bench.serve(2000)
    assert limits.count(2) > 1900


def test_runs_do_not_overlap_where_it_does_not_pay() -> None:
    bench = Bench({1: 1000, 2: 1020})
    bench.serve(1000)
    limits = bench.serve(2000)
    assert limits.count(1) > 1900


def test_of_many_numbers_the_smallest_good_one_is_found() -> None:
    rates = [1000, 1900, 1940, 1950, 1950, 1950, 1950, 1200]
    bench = Bench(dict(enumerate(rates, 1)))
    bench.serve(8000)
    limits = bench.serve(1000)
    assert limits.count(2) > 900


def test_what_changes_is_found_out() -> None:
    bench = Bench({1: 1000, 2: 900})
    bench.serve(2000)
    bench.rates = {1: 1000, 2: 2000}
    bench.serve(4000)
    assert bench.serve(1000).count(2) > 900


def test_all_slots_are_used_while_nothing_is_known() -> None:
    assert Overlap().limit == inf


def test_fewer_are_tried_late_and_for_a_short_time() -> None:
    bench = Bench({1: 1000, 2: 2000})
    limits = bench.serve(40 * STRETCH_RUNS)
    assert limits.index(1) > (TRY_EVERY - 1) * STRETCH_RUNS
    # And those under way when that began.
    assert limits.count(1) <= TRIAL_RUNS + 2


def test_a_single_caller_tells_nothing_of_more_runs_at_once() -> None:
    bench = Bench({1: 1000, 2: 2000})
    bench.callers = 1
    bench.serve(4000)
    assert bench.overlap.limit >= 2
    assert 2 not in bench.overlap.rates()
    bench.callers = 2
    limits = bench.serve(20 * STRETCH_RUNS)
    assert limits.count(1) == 0


def test_more_are_tried_at_once_when_the_load_grows() -> None:
    bench = Bench({1: 1000, 2: 900}, rows=1)
    bench.serve(4000)
    assert bench.overlap.limit == 1
    bench.rates, bench.rows = {1: 1000, 2: 2000}, 8
    bench.serve(4 * STRETCH_RUNS)
    assert bench.overlap.limit == 2


def test_times_in_which_nothing_runs_do_not_count() -> None:
    bench = Bench({1: 1000, 2: 900})
    bench.serve(2000)
    assert bench.overlap.limit == 1
    bench.callers = 1
    bench.serve(10 * STRETCH_RUNS, pause=5.0)
    assert bench.overlap.rates()[1] == pytest.approx(1000)


def test_runs_that_are_over_before_their_calls_are_read_are_one_at_a_time() -> None:
    bench = Bench({1: 1000, 2: 2000})
    bench.is_short = True
    assert set(bench.serve(100)[10:]) == {1}
    bench.is_short = False
    bench.serve(4000)
    assert bench.overlap.limit == 2


def test_runs_that_may_not_overlap_never_do() -> None:
    bench = Bench({1: 1000, 2: 2000})
    bench.overlap.forbid()
    assert set(bench.serve(4000)) == {1}


def test_one_slot_is_one_slot() -> None:
    bench = Bench({1: 1000})
    bench.serve(100)
    assert bench.overlap.rates() == {}


def test_a_clock_that_stands_still_teaches_nothing() -> None:
    overlap = Overlap()
    for _ in range(1000):
        overlap.started(5.0)
        overlap.ended(5.0)
        overlap.learn(1, False, 2)
    assert overlap.rates() == {}


@pytest.mark.parametrize("slots", [2, 5, 8])
def test_the_number_is_always_in_bounds(slots: int) -> None:
    bench = Bench({n + 1: 1000 + n % 3 for n in range(slots)})
    limits = {min(limit, slots) for limit in bench.serve(16_000)}
    assert {1, slots} <= limits <= set(range(1, slots + 1))
