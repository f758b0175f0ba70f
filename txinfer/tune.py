"""How a signature is best run on this machine, found out by running it.

What helps one graph holds up another, so nothing of this is decided by a rule.
All of it is bounded: a start should not take longer than it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from attrs.validators import ge

from .madeup import made_up
from .tensors import Array, Signature

#: Gives seconds.
Clock = Callable[[], float]

#: Takes an array for each input and gives a value for each output, in order.
Runner = Callable[..., Sequence[Any]]

MIB = 1024 * 1024

# For a whole model, in seconds: a fifth of what importing TensorFlow takes. Small
# models need a hundredth of it.
TUNING_SECONDS = 0.6

# The shortest of so many runs counts, since whatever else the machine does only
# adds; if they are slow, in seconds for a round, fewer will do.
ROUNDS = 6
SLOW = 0.02

# In a row, in each round: the first finds the caches full of another's weights.
IN_A_ROW = 3

# Rows of the runs that are compared: one call alone, and a batch.
SIZES = (1, 8)

# How much shorter runs must be to depart from what is the default.
GAIN = 0.95


@attrs.frozen
class SessionPolicy:
    """How models are run, as far as it is not found out; ValueError if it is nonsense.

    Args:
        intra_threads: threads within an op, for all models of the process; 0 is
            one for each processor.
        inter_threads: threads for ops beside each other; with 0 it is measured
            whether TensorFlow's own or none are better.
        most_frozen: bytes of variables that become constants. TensorFlow keeps
            a constant three or four times, so this bounds what a model may grow
            by; the smallest variables are most of what there is to gain.
        clock: gives seconds; without one nothing is measured.
    """

    intra_threads: int = attrs.field(default=0, validator=ge(0))
    inter_threads: int = attrs.field(default=0, validator=ge(0))
    most_frozen: int = attrs.field(default=16 * MIB, validator=ge(0))
    clock: Clock | None = None


DEFAULT_SESSION = SessionPolicy()


@attrs.frozen(eq=False)
class Choice:
    """The best of several ways to run a signature, by its ``name``.

    ``seconds`` are those of a run of one row, for each way that was tried; it is
    empty if none was.
    """

    name: str
    run: Runner
    seconds: Mapping[str, float]


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
            end = made + self._left
            times = self._times(list(runners.values()), signature, end)
        self._left -= self._clock() - made
        best = _best(times)
        alone = dict(zip(names, times[0], strict=True)) if times else {}
        return Choice(names[best], runners[names[best]], alone)

    def _times(
        self, runners: Sequence[Runner], signature: Signature, end: float
    ) -> list[list[float]]:
        """For each size of a run the seconds that each runner takes."""
        for rows in _made_up(signature, max(SIZES)):
            try:
                return self._compare(runners, rows, end)
            except Exception:
                # The model may refuse what is made up.
                continue
        return []

    def _compare(
        self, runners: Sequence[Runner], rows: Sequence[Array], end: float
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
            self._round(runners, fed, 1)
            slow = self._clock() + SLOW
            rounds = [self._round(runners, fed, 1)]
            while len(rounds) <= ROUNDS and self._clock() < slow:
                rounds.append(self._round(runners, fed, IN_A_ROW))
            found.append([min(times) for times in zip(*rounds, strict=True)])
        return found

    def _round(
        self, runners: Sequence[Runner], fed: Sequence[Array], runs: int
    ) -> list[float]:
        """The seconds of the shortest of some runs in a row by each."""
        return [min(self._times_of(run, fed, runs)) for run in runners]

    def _times_of(
        self, run: Runner, fed: Sequence[Array], runs: int
    ) -> Iterator[float]:
        assert self._clock is not None
        for _ in range(runs):
            began = self._clock()
            run(*fed)
            yield self._clock() - began


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
