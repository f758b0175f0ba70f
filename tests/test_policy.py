"""How many rows may run together."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import pytest
from twisted.internet.task import Clock

from tests.pool import SteppedThreads
from tests.work import Work
from txinfer.collector import Collector
from txinfer.policy import BatchPolicy, bounded, sized
from txinfer.tensors import Tensors


def takes(seconds_a_row: float) -> Callable[[int], float]:
    return lambda rows: seconds_a_row * rows


def test_short_runs_may_have_more_rows() -> None:
    policy = BatchPolicy(32, short_rows=128)
    assert policy.most(takes(1e-5)) == 128
    assert policy.most(takes(1e-4)) == 32
    assert policy.most(takes(inf)) == 32, "nothing is known"
    assert BatchPolicy(32).most(takes(1e-6)) == 32
    assert BatchPolicy(64, short_rows=32).most(takes(1e-6)) == 64


def test_batches_have_the_size_that_somebody_says() -> None:
    assert sized(8) == BatchPolicy(8)
    assert (sized(8).largest, sized().largest) == (8, 128)
    assert sized(linger=1.0).linger == 1.0


def test_no_batch_is_larger_than_what_it_is_filled_up_to() -> None:
    policy = BatchPolicy(32, short_rows=128)
    assert bounded(policy, ()) is policy
    assert bounded(policy, (1, 8)).most(takes(1e-6)) == 8
    assert bounded(policy, (64,)).most(takes(1e-6)) == 32


@pytest.mark.parametrize(("row_seconds", "largest"), [(1e-5, 128), (1e-4, 32)])
def test_batches_are_as_large_as_their_runs_are_short(
    row_seconds: float, largest: int
) -> None:
    clock = Clock()

    def run(tensors: Tensors) -> Tensors:
        clock.advance(row_seconds * len(tensors["x"]))
        return {"y": tensors["x"]}

    work = Work(run)
    threads = SteppedThreads(1, clock)
    collector = Collector(threads, clock, BatchPolicy(short_rows=128))
    for _ in range(12):
        for _ in range(200):
            collector.submit(work, {"x": np.zeros(1)})
        while threads.started:
            threads.started[0].began = clock.seconds()
            threads.step()
            clock.pump([0, 0])
    assert max(work.runs) == largest
