from __future__ import annotations

import pytest

from txinfer.overlap import STRETCH_RUNS, Overlap


class Bench:
    """A machine that gets through so many rows a second, by the runs at once."""

    def __init__(self, rates: dict[int, float]) -> None:
        self.rates = rates
        self.overlap = Overlap(max(rates))
        self.now = 0.0

    def serve(self, runs: int, backlog: bool = True) -> list[int]:
        """The number of runs at once at each run."""
        limits = []
        for _ in range(runs):
            limits.append(self.overlap.limit)
            self.now += 32 / self.rates[self.overlap.limit]
            self.overlap.landed(32, self.now, backlog)
        return limits


def test_runs_overlap_where_that_pays() -> None:
    bench = Bench({1: 1000, 2: 1800})
    bench.serve(1000)
    limits = bench.serve(1000)
    assert limits.count(2) > 900


def test_runs_do_not_overlap_where_it_does_not_pay() -> None:
    bench = Bench({1: 1000, 2: 1020})
    bench.serve(1000)
    limits = bench.serve(1000)
    assert limits.count(1) > 900


def test_of_many_numbers_the_smallest_good_one_is_found() -> None:
    bench = Bench({1: 1000, 2: 1900, 3: 1950, 4: 1200})
    bench.serve(2000)
    limits = bench.serve(1000)
    assert limits.count(2) > 800


def test_what_changes_is_found_out() -> None:
    bench = Bench({1: 1000, 2: 900})
    bench.serve(1000)
    bench.rates = {1: 1000, 2: 2000}
    bench.serve(8000)
    assert bench.serve(1000).count(2) > 900


def test_all_slots_are_used_while_nothing_is_known() -> None:
    assert Overlap(3).limit == 3


def test_idle_times_teach_nothing() -> None:
    bench = Bench({1: 1000, 2: 100})
    bench.serve(1000, backlog=False)
    assert bench.overlap.rates() == {}
    assert bench.overlap.limit == 2


def test_a_stretch_begins_anew_after_a_pause() -> None:
    bench = Bench({1: 1000, 2: 1000})
    for _ in range(50):
        bench.serve(STRETCH_RUNS)
        bench.serve(1, backlog=False)
    assert bench.overlap.rates() == {}


def test_one_slot_is_one_slot() -> None:
    bench = Bench({1: 1000})
    bench.serve(100)
    assert bench.overlap.limit == 1


def test_a_clock_that_stands_still_teaches_nothing() -> None:
    overlap = Overlap(2)
    for _ in range(1000):
        overlap.landed(1, 5.0, True)
    assert overlap.rates() == {}


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_the_number_is_always_in_bounds(slots: int) -> None:
    bench = Bench({n + 1: 1000 + n % 3 for n in range(slots)})
    assert {1, slots} <= set(bench.serve(8000)) <= set(range(1, slots + 1))
