"""Who waits for whom, in a server that is simulated to the microsecond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from twisted.internet.task import Clock

from tests.pool import TimedThreads
from tests.work import Work
from txinfer.collector import Collector
from txinfer.policy import BatchPolicy
from txinfer.tensors import Tensors

Cost = Callable[[int], float]


def small(rows: int) -> float:
    """Seconds of a run of a small network."""
    return 0.000_5 + rows * 0.000_02


def large(rows: int) -> float:
    """Seconds of a run of a network that gains little from batches."""
    return 0.010 + rows * 0.005


def gaining(rows: int) -> float:
    """Seconds of a run of a network that gains much."""
    return 0.010 + rows * 0.000_25


class Simulation:
    """Clients of a collector. A client asks again when it is answered."""

    def __init__(self, cost: Cost, slots: int = 1) -> None:
        self.clock = Clock()
        self.work, self.other = Work(), Work()
        threads = TimedThreads(slots, self.clock, self.seconds)
        self.cost = cost
        self.collector = Collector(threads, self.clock, BatchPolicy())
        self.latencies: dict[str, list[float]] = {}
        self.rows = 0

    def seconds(self, blocking: Any, work: Work, *args: Any) -> float:
        return self.cost(sum(args[-1]))

    def ask(self, client: str, rows: int, work: Work, think: float) -> None:
        asked = self.clock.seconds()

        def answered(outputs: Tensors) -> None:
            self.rows += len(outputs["y"])
            took = self.clock.seconds() - asked
            self.latencies.setdefault(client, []).append(took)
            self.clock.callLater(think, self.ask, client, rows, work, think)

        tensors = {"x": np.zeros(rows, np.float32)}
        call = self.collector.submit(work, tensors, client=client)
        call.addCallback(answered)

    def run(self, seconds: float) -> None:
        while self.clock.seconds() < seconds:
            following = min(call.getTime() for call in self.clock.getDelayedCalls())
            self.clock.advance(following - self.clock.seconds())

    def p99(self, client: str) -> float:
        return float(np.percentile(self.latencies[client], 99))


def crowd(cost: Cost, slots: int = 1) -> Simulation:
    """A single-row caller among fifteen others."""
    simulation = Simulation(cost, slots)
    for number in range(16):
        think = 0.001 + number * 0.000_13
        simulation.ask(f"client {number}", 1, simulation.work, think)
    return simulation


def flood(simulation: Simulation) -> None:
    for _ in range(500):
        simulation.ask("greedy", 1, simulation.work, 0)


def job(simulation: Simulation) -> None:
    simulation.ask("greedy", 10_000, simulation.work, 0)


def large_calls(simulation: Simulation) -> None:
    for _ in range(50):
        simulation.ask("greedy", 32, simulation.work, 0)


def flood_of_another_method(simulation: Simulation) -> None:
    for _ in range(500):
        simulation.ask("greedy", 1, simulation.other, 0)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("greed", [flood, job, large_calls])
def test_one_clients_greed_does_not_double_another_clients_p99(
    greed: Callable[[Simulation], None], slots: int
) -> None:
    alone = crowd(small, slots)
    alone.run(3)
    beside = crowd(small, slots)
    greed(beside)
    beside.run(3)
    assert beside.p99("client 0") < 2 * alone.p99("client 0")
    assert beside.rows > alone.rows


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("greed", [flood, job, large_calls])
def test_nor_does_it_where_large_runs_gain_much(
    greed: Callable[[Simulation], None], slots: int
) -> None:
    alone = crowd(gaining, slots)
    alone.run(3)
    beside = crowd(gaining, slots)
    greed(beside)
    beside.run(3)
    assert beside.p99("client 0") < 2 * alone.p99("client 0")


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("greed", [flood, job, large_calls])
def test_single_rows_beside_it_cost_no_throughput(
    greed: Callable[[Simulation], None], slots: int
) -> None:
    alone = Simulation(gaining, slots)
    greed(alone)
    alone.run(5)
    beside = crowd(gaining, slots)
    greed(beside)
    beside.run(5)
    assert sum(beside.work.runs) > 0.97 * sum(alone.work.runs)
