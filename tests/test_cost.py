from __future__ import annotations

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txinfer.cost import FEW, KNOWN, STALE, TRY_AFTER, Cost, Point, is_clear

# Rows a second in runs of 1, 2, 4, ... rows: MobileNetV2 on a CPU, and a small network.
PEAKED = [53, 80, 105, 130, 118, 97, 77]
RISING = [4_480, 8_000, 15_000, 40_100, 90_000, 180_000, 340_000]


def seconds(rates: list[int], rows: int) -> float:
    """What a run takes, between two sizes as on a line."""
    number = (rows - 1).bit_length()
    upper, lower = 1 << number, 1 << max(number - 1, 0)
    part = (rows - lower) / (upper - lower) if upper > lower else 1
    below, above = rates[max(number - 1, 0)], rates[number]
    return rows / (below + part * (above - below))


def serve(
    cost: Cost, rates: list[int], waiting: int, runs: int, noise: float = 0
) -> list[int]:
    """Runs while so many rows always wait; gives their sizes."""
    chance = random.Random(1)
    sizes = []
    for _ in range(runs):
        rows = min(cost.best(waiting, 64), waiting)
        took = seconds(rates, rows) * chance.uniform(1 - noise, 1 + noise)
        if noise and chance.random() < 0.02:
            took *= 8
        cost.learn(rows, took, 0.0)
        sizes.append(rows)
    return sizes


def most_common(sizes: list[int]) -> int:
    return max(set(sizes), key=sizes.count)


@pytest.mark.parametrize("waiting", [20, 64, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
def test_a_batch_does_not_grow_past_what_is_fastest(waiting: int, noise: float) -> None:
    cost = Cost()
    serve(cost, PEAKED, waiting, 300, noise)
    sizes = serve(cost, PEAKED, waiting, 300, noise)
    rate = sum(sizes) / sum(seconds(PEAKED, rows) for rows in sizes)
    assert rate > 0.9 * max(PEAKED)
    if not noise:
        assert most_common(sizes) == 8


@pytest.mark.parametrize("waiting", [20, 64, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.2, 0.5])
def test_a_batch_grows_as_long_as_it_pays(waiting: int, noise: float) -> None:
    cost = Cost()
    serve(cost, RISING, waiting, 300, noise)
    assert most_common(serve(cost, RISING, waiting, 300, noise)) == min(waiting, 64)


@pytest.mark.parametrize(
    ("row_seconds", "rows"), [(1e-5, 64), (1e-4, 32), (1e-3, 4), (1e-2, 1)]
)
def test_what_a_run_takes_besides_is_shared_where_that_tells(
    row_seconds: float, rows: int
) -> None:
    cost, sizes = Cost(), []
    for _ in range(400):
        sizes.append(cost.best(64, 64))
        cost.learn(sizes[-1], sizes[-1] * row_seconds, 0.0)
    assert most_common(sizes[200:]) == rows


def test_nobody_is_late_for_what_is_not_known_well() -> None:
    cost = Cost()
    cost.learn(8, 0.1, 0.0)
    cost.learn(8, 0.1, 0.0)
    assert cost.fastest(8, 0.0) == 0
    cost.learn(8, 0.1, 0.0)
    assert cost.fastest(8, 0.0) == 0.1
    assert cost.fastest(16, 0.0) == 0.1, "more rows do not take less"
    assert cost.fastest(4, 0.0) == 0, "fewer may"
    assert cost.fastest(8, TRY_AFTER) == 0, "that was long ago"


def test_more_rows_take_no_longer_than_as_many_times_a_few() -> None:
    cost = Cost()
    assert cost.at_most(8) == inf
    cost.learn(8, 0.1, 0.0)
    assert cost.at_most(32) == pytest.approx(0.4)
    assert cost.at_most(8) == cost.at_most(4) == 0.1
    cost.learn(32, 0.2, 0.0)
    assert cost.at_most(32) == 0.2


def test_what_is_known_of_a_size_counts_until_others_have_run_often() -> None:
    cost = Cost()
    for rows, took in ((8, 0.1), (2, 0.01)):
        for _ in range(STALE):
            cost.learn(rows, took, 0.0)
        assert cost.fastest(8, 0.0) == took


def test_the_fastest_of_the_last_runs_counts() -> None:
    cost = Cost()
    for _ in range(5):
        for took in (0.1, 0.2, 0.2):
            cost.learn(8, took, 0.0)
            assert 0.1 <= cost.fastest(8, 0.0) < 0.12 or cost.runs < KNOWN
    cost.learn(8, 10.0, 0.0)
    assert cost.fastest(8, 0.0) < 0.12, "it was held up"
    for _ in range(20):
        cost.learn(8, 0.2, 0.0)
    assert cost.fastest(8, 0.0) == 0.2


def test_nothing_is_held_back_while_nothing_is_known() -> None:
    assert Cost().best(64, 64) == 64
    assert Cost().best(100, 100) == 100
    cost = Cost()
    cost.learn(1, 0.001, 0.0)
    assert cost.best(64, 64) == 64


def expect(cost: Cost, rates: list[float]) -> None:
    """Expect so many rows a second for each of a few rows."""
    cost.expect([rows / rate for rows, rate in zip(FEW, rates, strict=True)])


@pytest.mark.parametrize(
    ("rates", "first"),
    [([100, 150, 200], 64), ([100, 140, 190], 4), ([100, 120, 125], 3), ([9, 9, 9], 3)],
)
def test_a_size_to_begin_with_is_expected(rates: list[float], first: int) -> None:
    cost = Cost()
    expect(cost, rates)
    assert cost.best(64, 64) == first
    assert cost.best(1, 64) == 1


@pytest.mark.parametrize("rates", [PEAKED, RISING])
@pytest.mark.parametrize("expected", [[100, 200, 400], [100, 140, 190], [9, 9, 9]])
def test_what_was_expected_is_corrected(
    rates: list[int], expected: list[float]
) -> None:
    cost = Cost()
    expect(cost, expected)
    serve(cost, rates, 64, 6000)
    assert most_common(serve(cost, rates, 64, 300)) == 1 << rates.index(max(rates))


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_no_more_rows_run_together_if_a_few_gain_little(noise: float) -> None:
    flat = [100, 115, 118, 120, 121, 121, 121]
    cost = Cost()
    assert cost.enough(64) == 2
    expect(cost, [100, 115, 118])
    sizes = serve(cost, flat, 64, 2000, noise)
    assert set(sizes) == {1, 2, 3}
    assert sizes.count(3) > 0.97 * len(sizes)
    assert cost.enough(64) == 2, "that is as good"
    assert [cost.best(rows, 64) for rows in (2, 3, 4, 5, 7, 8)] == [2, 3, 2, 3, 3, 3]
    assert cost.best(64, 2) == 2
    assert cost.best(64, 1) == 1


def test_they_run_together_if_they_gain_a_little_more() -> None:
    cost = Cost()
    expect(cost, [100, 115, 128])
    sizes = serve(cost, [100, 115, 128, 129, 129, 129, 129], 64, 500)
    assert most_common(sizes) == max(sizes) == 4


@pytest.mark.parametrize(
    ("few", "clear"), [([1, 2, 2.5], True), ([1, 2, 3.5], False), ([1, 2, 3.9], True)]
)
def test_it_may_not_be_clear_what_to_expect(few: list[float], clear: bool) -> None:
    assert is_clear(few) is clear


@pytest.mark.parametrize("waiting", range(1, 9))
def test_what_is_less_than_the_best_size_is_not_cut(waiting: int) -> None:
    cost = Cost()
    serve(cost, PEAKED, 64, 300)
    serve(cost, PEAKED, waiting, 100)
    assert most_common(serve(cost, PEAKED, waiting, 100)) == waiting


def test_a_wrong_start_is_corrected() -> None:
    cost = Cost()
    for _ in range(5):
        # The machine was busy with something else.
        cost.learn(64, 9.0, 0.0)
    for number in range(6):
        for _ in range(5):
            cost.learn(1 << number, seconds(RISING, 1 << number), 0.0)
    assert cost.best(64, 64) < 64
    serve(cost, RISING, 64, 2000)
    assert most_common(serve(cost, RISING, 64, 200)) == 64


def test_a_model_that_changes_is_learned_anew() -> None:
    cost = Cost()
    serve(cost, RISING, 64, 500)
    serve(cost, PEAKED, 64, 3000)
    assert most_common(serve(cost, PEAKED, 64, 200)) == 8


def test_what_is_known_of_a_size_ages_while_others_run() -> None:
    cost = Cost()
    for number in range(7):
        for _ in range(5):
            cost.learn(1 << number, seconds(RISING, 1 << number), 0.0)
    # All runs take three times as long from now on.
    slow = [rate // 3 for rate in RISING]
    for _ in range(200):
        cost.learn(64, seconds(slow, 64), 0.0)
    before = cost.seconds(32)
    cost.learn(32, seconds(slow, 32), 0.0)
    assert cost.seconds(32) > 1.4 * before
    cost.learn(32, seconds(slow, 32), 0.0)
    assert cost.seconds(32) < 2 * before, "the next one counts for less"


def test_trying_other_sizes_costs_little() -> None:
    cost = Cost()
    serve(cost, RISING, 64, 500)
    sizes = serve(cost, RISING, 64, 1000)
    assert sizes.count(64) > 950
    assert set(sizes) == {32, 64}


def test_one_run_that_was_held_up_changes_nothing() -> None:
    cost = Cost()
    serve(cost, RISING, 64, 500)
    cost.learn(64, 100.0, 0.0)
    assert cost.best(64, 64) == 64


def test_a_run_in_no_time_teaches_nothing() -> None:
    cost = Cost()
    for took in (0.0, -1.0):
        cost.learn(4, took, 7.0)
    assert (cost.runs, cost.updated) == (2, 7.0)
    assert (cost.curve(), cost.row_seconds, cost.seconds(4)) == ([], 0.0, 0.0)


def test_the_curve_tells_what_is_known() -> None:
    cost = Cost()
    cost.learn(3, 0.3, 1.0)
    cost.learn(32, 0.8, 2.0)
    assert cost.curve() == [Point(4, 3, 0.3, 1), Point(32, 32, 0.8, 1)]
    assert cost.row_seconds == 0.8 / 32


def test_what_is_not_known_is_taken_for_no_more_than_it_is() -> None:
    cost = Cost()
    cost.learn(8, 0.8, 1.0)
    assert cost.seconds(64) == 0.8
    assert cost.seconds(2) == pytest.approx(0.2)
    assert cost.seconds(8) == 0.8


@given(
    st.lists(st.tuples(st.integers(1, 99), st.floats(1e-6, 1e3)), max_size=30),
    st.integers(1, 200),
    st.integers(1, 100),
)
def test_the_best_size_is_always_in_bounds(
    runs: list[tuple[int, float]], waiting: int, max_rows: int
) -> None:
    cost = Cost()
    for rows, took in runs:
        cost.learn(rows, took, 0.0)
        assert 1 <= cost.best(waiting, max_rows) <= max_rows
