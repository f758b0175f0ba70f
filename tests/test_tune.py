"""The quickest way is taken, and no more time than there is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import pytest

from txinfer.tensors import Array, Signature, TensorSpec
from txinfer.tune import SIZES, SLOW, SessionPolicy, Tuner, shortest, suffices


def signature(shape: tuple[int | None, ...] | None = (None, 2)) -> Signature:
    spec = TensorSpec("float32", np.dtype("float32"), shape)
    return Signature({"x": spec}, {"y": spec})


class Bench:
    """A clock that runs only while a runner does, or while one is made.

    Args:
        ways: for each way the seconds of a run, by its rows.
        making: the seconds of making a runner.
    """

    def __init__(
        self, ways: dict[str, Callable[[int], float]], making: float = 0.0
    ) -> None:
        self.now = 100.0
        self.made: list[str] = []
        self.rows: list[tuple[str, int]] = []
        self._ways = ways
        self._making = making

    def ways(self) -> dict[str, Callable[[], Any]]:
        return {name: partial(self._make, name) for name in self._ways}

    def choose(self, tuner: Tuner, given: Signature | None = None) -> Any:
        return tuner.choose(given or signature(), self.ways())

    def _make(self, name: str) -> Callable[[Array], list[Array]]:
        self.now += self._making
        self.made.append(name)

        def run(x: Array) -> list[Array]:
            self.rows.append((name, len(x)))
            self.now += self._ways[name](len(x))
            return [x]

        return run

    def tuner(self, seconds: float = 1.0) -> Tuner:
        return Tuner(lambda: self.now, seconds)


def steadily(seconds: float) -> Callable[[int], float]:
    return lambda _: seconds


def test_the_quickest_is_taken() -> None:
    bench = Bench({"pool": steadily(60e-6), "caller": steadily(10e-6)})
    choice = bench.choose(bench.tuner())
    assert choice.name == "caller"
    assert choice.seconds == pytest.approx({"pool": 60e-6, "caller": 10e-6})
    assert choice.run(np.zeros((1, 2)))[0].shape == (1, 2)
    assert bench.rows[-1] == ("caller", 1)


def test_the_default_is_kept_unless_another_is_clearly_quicker() -> None:
    bench = Bench({"pool": steadily(60e-6), "caller": steadily(59e-6)})
    assert bench.choose(bench.tuner()).name == "pool"


def test_both_a_call_alone_and_a_batch_count() -> None:
    """The caller's thread is quicker for one row, the pool more so for eight."""
    bench = Bench(
        {
            "pool": lambda rows: 50e-6 if rows == 1 else 100e-6,
            "caller": lambda rows: 40e-6 if rows == 1 else 400e-6,
        }
    )
    assert bench.choose(bench.tuner()).name == "pool"
    assert {rows for _, rows in bench.rows} == {*SIZES}


def test_the_shortest_run_counts() -> None:
    """Whatever else the machine does only adds to a run."""
    noise = iter([1e-3, 2e-3, 3e-6, 1e-3] * 100)
    bench = Bench({"pool": steadily(60e-6), "caller": lambda _: next(noise)})
    assert bench.choose(bench.tuner()).name == "caller"


def test_without_a_clock_the_default_is_taken_unmeasured() -> None:
    bench = Bench({"pool": steadily(1), "caller": steadily(0)})
    choice = bench.choose(Tuner(None))
    assert (choice.name, choice.seconds) == ("pool", {})
    assert bench.made == ["pool"]
    assert bench.rows == []


def test_the_only_way_is_taken_without_a_run() -> None:
    bench = Bench({"only": steadily(0.001)})
    choice = bench.choose(bench.tuner())
    assert (choice.name, choice.seconds) == ("only", {})
    assert not bench.rows


def test_what_is_slow_to_make_is_made_once() -> None:
    bench = Bench({"pool": steadily(1e-3), "caller": steadily(1e-6)}, making=0.5)
    assert bench.choose(bench.tuner(seconds=0.9)).name == "pool"
    assert bench.made == ["pool"]


def test_slow_runs_are_compared_once() -> None:
    bench = Bench({"pool": steadily(SLOW), "caller": steadily(SLOW / 2)})
    assert bench.choose(bench.tuner()).name == "caller"
    assert [rows for _, rows in bench.rows] == [1] * 4 + [2] * 4


def test_a_batch_that_would_take_too_long_is_not_run() -> None:
    bench = Bench({"pool": lambda rows: 0.2 * rows, "caller": lambda rows: 0.1 * rows})
    assert bench.choose(bench.tuner(seconds=1.5)).name == "caller"
    assert {rows for _, rows in bench.rows} == {1}


def test_when_the_time_is_over_defaults_are_taken() -> None:
    bench = Bench({"pool": steadily(1e-3), "caller": steadily(1e-4)}, making=0.01)
    tuner = bench.tuner(seconds=0.1)
    began = bench.now
    names = [bench.choose(tuner).name for _ in range(10)]
    assert names[0] == "caller"
    assert names[-1] == "pool"
    # Ten are made in any case; comparing ends with the round that is under way.
    assert bench.now - began < 0.1 + 10 * 0.01 + 2 * SLOW


def test_what_the_model_refuses_is_not_measured() -> None:
    def refuse(rows: int) -> float:
        raise ValueError("no")

    bench = Bench({"pool": refuse, "caller": refuse})
    choice = bench.choose(bench.tuner())
    assert (choice.name, choice.seconds) == ("pool", {})


def test_no_rows_are_made_up_for_a_signature_without() -> None:
    bench = Bench({"pool": steadily(1e-3), "caller": steadily(1e-4)})
    assert bench.choose(bench.tuner(), signature((2, 2))).name == "pool"
    assert bench.rows == []


def test_each_way_is_run_in_a_thread_of_its_own() -> None:
    """What a kernel keeps for a thread is not fit for a session with other threads."""
    threads: dict[int, set[threading.Thread]] = {0: set(), 1: set()}
    now = count(0, 1e-4)

    def runner(number: int) -> Any:
        def run(x: Array) -> list[Array]:
            threads[number].add(threading.current_thread())
            return [x]

        return run

    tuner = Tuner(lambda: next(now))
    times = tuner.times([runner(0), runner(1)], signature())
    assert [len(each) for each in times] == [2] * len(SIZES)
    (one,), (other,) = threads.values()
    assert one is not other
    for thread in (one, other):
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("times", "suffice"),
    [
        ([], False),
        ([[1.0, 1.0]], True),
        ([[1.0, 1.2]], False),
        ([[1.0, 0.7], [2.0, 3.9]], True),
        ([[1.0, 0.7], [2.0, 4.1]], False),
        ([[1.0, 1.2], [2.0, 2.0]], False),
    ],
)
def test_one_thread_suffices_if_little_is_lost(
    times: list[list[float]], suffice: bool
) -> None:
    assert suffices(times) == suffice


def test_what_was_measured_twice_takes_the_shorter_times() -> None:
    assert shortest([[2.0, 3.0], [4.0, 4.0]], [[3.0, 2.0]]) == [[2.0, 2.0], [4.0, 4.0]]
    assert shortest([[2.0, 3.0]], []) == [[2.0, 3.0]]


@pytest.mark.parametrize("name", ["intra_threads", "inter_threads", "most_frozen"])
def test_a_policy_has_no_negative_numbers(name: str) -> None:
    values: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=name):
        SessionPolicy(**values)
