"""What the collector costs the reactor thread, a call: no sockets, no model.

    python -m benchmarks.collector_cost

Calls of one row are submitted while a run is under way, the run returns, they
leave together and are answered, over and over. Only what the reactor thread
does is measured, not what the model threads do. The figures are medians, in
microseconds of one call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from txinfer.collector import Collector
from txinfer.cost import Cost
from txinfer.interfaces import IRunnable, IThreads
from txinfer.observe import Labels
from txinfer.policy import BatchPolicy
from txinfer.tensors import Tensors
from txinfer.trace import Trace

ROUNDS = 400


@implementer(IRunnable)
class Nothing:
    """A method that gives back what it is given."""

    labels = Labels(method="nothing")
    direct = None

    def __init__(self) -> None:
        self.cost = Cost()

    def key(self, tensors: Tensors) -> Hashable:
        """All its calls agree."""
        return self

    def run(self, tensors: Tensors) -> Tensors:
        """Do nothing."""
        return {"y": tensors["x"]}

    def serve_directly(self, why: str) -> None:
        """It is never found out to need that."""
        raise AssertionError(why)


@implementer(IThreads)
class Held:
    """Keeps a run until it is let return."""

    size = 1

    def run(self, blocking: Callable[..., Any], *args: object) -> Deferred[Any]:
        """Nobody asks for it."""
        raise NotImplementedError

    def grow(self) -> None:
        """Nothing hangs here."""

    def shrink(self) -> None:
        """Nothing hangs here."""

    def call(self, done: Callable[..., None], *work: Any) -> None:
        """Keep it."""
        self.work = done, *work

    def returning(self) -> Callable[[], None]:
        """Do the thread's part now; gives the reactor's."""
        done, blocking, *args = self.work
        result = blocking(*args)
        return lambda: done(result, 0.001)


def measure(calls: int, clients: int, seconds: float | None) -> tuple[float, float]:
    """Microseconds a call to submit it, and to let it leave and answer it.

    Args:
        calls: how many share a run.
        clients: how many clients they come from.
        seconds: until their deadline; None for no deadline.
    """
    clock: Any = reactor
    threads, method = Held(), Nothing()
    collector = Collector(threads, clock, BatchPolicy(calls))
    rows = [{"x": np.ones((1, 1), np.float32)} for _ in range(calls)]
    names = [f"10.0.0.{number % clients}" for number in range(calls)]
    traces = [Trace() for _ in range(calls)]
    answered: list[Tensors] = []
    collector.submit(method, rows[0])
    taken = []
    for _ in range(ROUNDS):
        deadline = None if seconds is None else clock.seconds() + seconds
        began = time.perf_counter()
        for tensors, name, trace in zip(rows, names, traces, strict=True):
            call = collector.submit(method, tensors, deadline, name, trace)
            call.addCallback(answered.append)
        submitted = time.perf_counter()
        landing = 0.0
        while collector.waiting:
            # One run, as a rule; now and then another size is tried.
            come_back = threads.returning()
            returned = time.perf_counter()
            come_back()
            landing += time.perf_counter() - returned
            # An answer may have been put off while the machine did something else.
            clock.runUntilCurrent()
        taken.append((submitted - began, landing))
    while collector.in_flight:
        threads.returning()()
        clock.runUntilCurrent()
    assert len(answered) == calls * ROUNDS, "each call is answered once"
    submit, land = (statistics.median(column) for column in zip(*taken, strict=True))
    return submit / calls * 1e6, land / calls * 1e6


def main() -> None:
    """Print the table."""
    print("calls a run  clients  deadline  submit  answer     sum (us a call)")
    for calls in (1, 8, 32, 64):
        for clients in sorted({1, calls}):
            for seconds in (None, 60.0):
                submit, land = measure(calls, clients, seconds)
                deadline = "no" if seconds is None else "yes"
                print(
                    f"{calls:11}  {clients:7}  {deadline:>8}  {submit:6.2f}"
                    f"  {land:6.2f}  {submit + land:6.2f}"
                )


if __name__ == "__main__":
    main()
