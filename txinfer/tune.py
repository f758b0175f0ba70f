"""How a signature is best run on this machine, found out by running it.

What helps one graph holds up another, so nothing of this is decided by a rule.
All of it is bounded: a start should not take longer than it is worth.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import attrs
import numpy as np
from attrs.validators import ge

from .madeup import made_up
from .pools import ThreadPool, call_in
from .processors import runs_at_once
from .tensors import Array, Signature

#: Gives seconds.
Clock = Callable[[], float]

#: Takes an array for each input and gives a value for each output, in order.
Runner = Callable[..., Sequence[Any]]

MIB = 1024 * 1024

#: TensorFlow's own switch: with it each session has a pool of threads for what is
#: within its ops; without, the first session's is everybody's
#: (``common_runtime/local_device.cc``).
POOL_EACH = "TF_OVERRIDE_GLOBAL_THREADPOOL"

# For a whole model, in seconds: a fifth of what importing TensorFlow takes. Small
# models need a hundredth of it.
TUNING_SECONDS = 0.6

# The shortest of so many runs counts, since whatever else the machine does only
# adds; if they are slow, in seconds for a round, fewer will do.
ROUNDS = 6
SLOW = 0.02

# In a row, in each round: the first finds the caches full of another's weights.
IN_A_ROW = 3

# Rows of the runs that are compared: one call alone, and a batch, a small one: what
# runs have taken in memory is not all given back.
SIZES = (1, 2)

# A model whose ops share no work among threads may be run on all processors at once,
# and they do not wait for each other between ops. That is worth it if a row alone, and
# four, do not take longer than so many times.
ONE_THREAD = (1.1, 2.0)

# What finding that out is worth, in seconds; it takes another session.
ONE_THREAD_SECONDS = 2.0

# How much shorter runs must be to depart from what is the default.
GAIN = 0.95


@attrs.frozen
class SessionPolicy:
    """How models are run, as far as it is not found out; ValueError if it is nonsense.

    Args:
        intra_threads: threads within an op, for each model if ``POOL_EACH`` is set,
            else for all of the process; with 0 one for each processor, or a single
            one where it is measured to suffice.
        inter_threads: threads for ops beside each other; with 0 it is measured
            whether TensorFlow's own or none are better.
        most_frozen: bytes of variables that become constants. TensorFlow keeps
            a constant three or four times, so this bounds what a model may grow
            by; the smallest variables are most of what there is to gain.
        clock: gives seconds; without one nothing is measured.
        at_once: how many runs may be under way at once. A single thread within an
            op is not tried if that leaves processors idle.
    """

    intra_threads: int = attrs.field(default=0, validator=ge(0))
    inter_threads: int = attrs.field(default=0, validator=ge(0))
    most_frozen: int = attrs.field(default=16 * MIB, validator=ge(0))
    clock: Clock | None = None
    at_once: int = attrs.field(default=1, validator=ge(1))

    def may_be_single(self) -> bool:
        """Whether a single thread within an op may be as good as more."""
        given = self.intra_threads or self.inter_threads
        is_apart = os.environ.get(POOL_EACH, "").lower() in ("1", "true")
        return is_apart and not given and self.at_once >= runs_at_once() > 1


DEFAULT_SESSION = SessionPolicy()


@attrs.frozen(eq=False)
class Choice:
    """The best of several ways to run a signature, by its ``name``.

    ``seconds`` are those of a run of one row, for each way that was tried; it is
    empty if none was. ``made`` is how many seconds it took to make one.
    """

    name: str
    run: Runner
    seconds: Mapping[str, float]
    made: float = 0.0


#: A runner, and the threads to call it in.
Way = tuple[ThreadPool, Runner]


class Tuner:
    """Compares ways to run signatures while there is time left.

    Args:
        clock: gives seconds; None has the defaults taken.
        seconds: how long all comparisons may take together.
    """

    def __init__(self, clock: Clock | None, seconds: float = TUNING_SECONDS) -> None:
        self._clock = clock
        self._left = seconds

    def now(self) -> float:
        """Seconds on the clock; 0 if there is none."""
        return 0.0 if self._clock is None else self._clock()

    def has_time_for(self, seconds: float) -> bool:
        """Whether making something that takes so long leaves time to compare it."""
        return self._clock is not None and seconds < self._left / 2

    def spend(self, seconds: float) -> None:
        """Take note that making something took so long."""
        self._left -= seconds

    def choose(
        self, signature: Signature, ways: Mapping[str, Callable[[], Runner]]
    ) -> Choice:
        """Choose a way to run a signature. Blocks.

        Args:
            signature: if there are several ways, its runs change nothing.
            ways: what makes a runner, by name, the default first. The others
                may be made and dropped again.
        """
        names = list(ways)
        default = names[0]
        if self._clock is None or len(names) == 1:
            # What is not compared is not run, either: it may change something.
            return Choice(default, ways[default](), {})
        began = self._clock()
        runners = {default: ways[default]()}
        made = self._clock()
        times = []
        if self.has_time_for((made - began) * (len(names) - 1)):
            runners |= {name: ways[name]() for name in names[1:]}
            self.spend(self._clock() - made)
            times = self.times(list(runners.values()), signature)
        best = _best(times)
        alone = dict(zip(names, times[0], strict=True)) if times else {}
        return Choice(names[best], runners[names[best]], alone, made - began)

    def times(
        self, runners: Sequence[Runner], signature: Signature
    ) -> list[list[float]]:
        """Compare ways to run a signature, whose runs change nothing. Blocks.

        Returns:
            For each of ``SIZES``, as far as there was time for it, the seconds that
            a run of so many rows takes by each; nothing if no rows that can be made
            up are accepted.
        """
        began = self.now()
        # Kernels keep what they prepared for a thread, and another way's is not fit.
        pools = [ThreadPool(1, "txinfer-tune") for _ in runners]
        try:
            return self._first(list(zip(pools, runners, strict=True)), signature)
        finally:
            for pool in pools:
                pool.stop()
            self.spend(self.now() - began)

    def _first(self, ways: Sequence[Way], signature: Signature) -> list[list[float]]:
        """Compare ways by the first rows that all accept."""
        end = self.now() + self._left
        for rows in _made_up(signature, max(SIZES)):
            try:
                return self._compare(ways, rows, end)
            except Exception:
                # The model may refuse what is made up.
                continue
        return []

    def _compare(
        self, ways: Sequence[Way], rows: Sequence[Array], end: float
    ) -> list[list[float]]:
        assert self._clock is not None
        found: list[list[float]] = []
        for size in SIZES:
            # Twice, as long as if it were run row by row.
            expected = 2 * size * sum(found[-1]) if found else 0.0
            if self._clock() + expected > end:
                break
            fed = [array[:size] for array in rows]
            # The first run of a size prepares memory, or more.
            self._round(ways, fed, 1)
            slow = self._clock() + SLOW
            rounds = [self._round(ways, fed, 1)]
            while len(rounds) <= ROUNDS and self._clock() < slow:
                rounds.append(self._round(ways, fed, IN_A_ROW))
            found.append([min(times) for times in zip(*rounds, strict=True)])
        return found

    def _round(
        self, ways: Sequence[Way], fed: Sequence[Array], runs: int
    ) -> list[float]:
        """The seconds of the shortest of some runs in a row by each."""
        return [call_in(pool, self._shortest, run, fed, runs) for pool, run in ways]

    def _shortest(self, run: Runner, fed: Sequence[Array], runs: int) -> float:
        assert self._clock is not None
        times = []
        for _ in range(runs):
            began = self._clock()
            run(*fed)
            times.append(self._clock() - began)
        return min(times)


def _made_up(signature: Signature, rows: int) -> Iterator[list[Array]]:
    """Arrays for the inputs, of so many rows; none if there are no rows."""
    if signature.why_not_by_rows():
        return
    for tensors in made_up(signature):
        yield [
            np.take(tensors[name], np.arange(rows) % len(tensors[name]), axis=0)
            for name in signature.inputs
        ]


def _best(times: Sequence[Sequence[float]]) -> int:
    """Which is the quickest over all sizes; the first unless another is clearly."""
    if not times:
        return 0
    means = [
        math.prod(max(it, 1e-9) for it in each) ** (1 / len(each))
        for each in zip(*times, strict=True)
    ]
    best = min(range(len(means)), key=means.__getitem__)
    return best if means[best] < GAIN * means[0] else 0


def shortest(
    times: Sequence[Sequence[float]], again: Sequence[Sequence[float]]
) -> list[list[float]]:
    """What ways were measured twice to take, as far as they were: the shorter times."""
    pairs = zip_longest(times, again, fillvalue=(math.inf, math.inf))
    return [[min(both) for both in zip(*pair, strict=True)] for pair in pairs]


def suffices(times: Sequence[Sequence[float]]) -> bool:
    """Whether a model may as well be run without threads within its ops.

    Args:
        times: for each of ``SIZES`` the seconds of a run with and without them.
    """
    pairs = zip(times, ONE_THREAD, strict=False)
    return bool(times) and all(one <= most * many for (many, one), most in pairs)
