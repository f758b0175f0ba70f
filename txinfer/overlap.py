"""How many runs of a method at once get through the most rows, learned from them.

Runs at once pay where each leaves a part of the machine idle: in the pauses between
its ops, or because its ops run in one thread each. They do not where they take turns
all the same, and a batch that is twice as large costs less than two runs. And where
a run is over before its calls are read and answered, nobody waits for runs.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import attrs

# A stretch is long enough to tell a rate when it has so many runs and seconds: the
# clock's grain and a single run that was held up count for little in it.
STRETCH_RUNS = 24
STRETCH_SECONDS = 0.1

# Weight of a new stretch in what is known of a number of runs.
WEIGHT = 0.3

# More runs at once have to get through so much more to be worth it: each of them
# takes longer, and so does every call in them.
WORTH = 1.05

# Stretches after which another number is tried for one, which has so few runs: fewer
# runs at once than are good are felt by everybody who calls.
TRY_EVERY = 24
TRIAL_RUNS = 8

# A stretch tells of a number of runs at once if so large a share of it was under way,
# one moment with another: a single caller never has two.
FULL = 0.75

# What is known holds for such a load as it was learned at: once runs have so many times
# more rows, or fewer, another number that was about as good is to be learned anew.
ALIKE = 2.0
ABOUT = 1.25

# Weight of a run in how often it is over before its calls are read and answered.
SHORT_WEIGHT = 0.1


class Known(NamedTuple):
    """What is known of a number of runs at once.

    ``rate`` is the rows a second that they get through while any of them is under
    way, ``rows`` how many each has.
    """

    rate: float
    rows: float


@attrs.define(eq=False)
class Overlap:
    """Chooses how many runs of a method may be under way at once. Reactor thread only.

    Time in which none is does not count: how many calls arrive says nothing about how
    many could be answered.

    ``running`` is how many are under way, and ``limit`` how many may be, for now; as
    many as there can be while nothing is known.
    """

    running: int = attrs.field(default=0, init=False)
    _fixed: bool = attrs.field(default=False, init=False)
    limit: float = attrs.field(default=inf, init=False)
    _known: dict[int, Known] = attrs.field(factory=dict, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    _busy: float = attrs.field(default=0.0, init=False)
    _spent: float = attrs.field(default=0.0, init=False)
    _runs: int = attrs.field(default=0, init=False)
    _rows: int = attrs.field(default=0, init=False)
    _stretches: int = attrs.field(default=0, init=False)
    _best: int = attrs.field(default=0, init=False)
    _short: float = attrs.field(default=0.0, init=False)

    def forbid(self) -> None:
        """Let there be one run at a time, for good."""
        self.limit = 1
        self._fixed = True

    def started(self, now: float) -> None:
        """A run begins."""
        self._pass(now)
        self.running += 1

    def ended(self, now: float) -> None:
        """A run is back, or is not waited for any longer."""
        self._pass(now)
        self.running -= 1

    def learn(self, rows: int, is_short: bool, most: int) -> None:
        """Take note of a run that has ended, and choose anew.

        Args:
            rows: of the run.
            is_short: whether it took no longer than its calls take the reactor.
            most: the largest number that there may be.
        """
        if most == 1 or self._fixed:
            return
        self._short += SHORT_WEIGHT * (is_short - self._short)
        if self._short > 0.5:
            self._begin(1)
            return
        self._runs += 1
        if self._runs <= 0:
            # It may have begun when another number was tried: not of this stretch.
            self._busy = self._spent = 0.0
            return
        self._rows += rows
        number = most if self.limit > most else int(self.limit)
        enough = STRETCH_RUNS if self._best in (0, number) else TRIAL_RUNS
        if self._runs >= enough and self._busy >= STRETCH_SECONDS:
            if self._spent < FULL * number * self._busy:
                self._begin(number)
                return
            self._take_note(number, self._rows / self._busy, self._rows / self._runs)
            self._begin(self._choose(most))

    def rates(self) -> dict[int, float]:
        """The rows a second that are known, by the number of runs at once."""
        return {number: known.rate for number, known in self._known.items()}

    def _pass(self, now: float) -> None:
        """Count the time since the last run began or ended: once if any run was under
        way, and once for each that was.
        """
        if self.running:
            self._busy += now - self._began
            self._spent += self.running * (now - self._began)
        self._began = now

    def _begin(self, number: int) -> None:
        """Begin a stretch with so many at once."""
        # Those of another number that are under way go on.
        self._runs = 0 if number == self.limit else -self.running
        self.limit = number
        self._rows, self._busy, self._spent = 0, 0.0, 0.0

    def _take_note(self, number: int, rate: float, rows: float) -> None:
        known = self._known.get(number)
        if known is None:
            self._known[number] = Known(rate, rows)
        elif rows / ALIKE <= known.rows <= rows * ALIKE:
            rate = known.rate + WEIGHT * (rate - known.rate)
            rows = known.rows + WEIGHT * (rows - known.rows)
            self._known[number] = Known(rate, rows)
        else:
            for other, it in list(self._known.items()):
                if rate / ABOUT <= it.rate <= rate * ABOUT:
                    del self._known[other]
            self._known[number] = Known(rate, rows)

    def _choose(self, most: int) -> int:
        """The next number: the best that is known, or one that is to be tried."""
        numbers = _numbers(most)
        best = 0
        for number in reversed(numbers):
            known = self._known.get(number)
            if known and (not best or known.rate >= WORTH * self._known[best].rate):
                best = number
        self._best = best
        larger = [it for it in numbers if it > best and it not in self._known]
        if larger:
            return larger[0]
        self._stretches += 1
        turn, pause = divmod(self._stretches, TRY_EVERY)
        others = [number for number in numbers if number != best]
        return best if pause else others[turn % len(others)]


def _numbers(most: int) -> list[int]:
    """The numbers that are compared: the largest, half of it, and so on to one."""
    numbers = [most]
    while numbers[-1] > 1:
        numbers.append(numbers[-1] // 2)
    return numbers
