"""What runs of a method take, learned from those that came back.

Larger batches are not always faster: MobileNetV2 on a CPU got through 130 rows a
second in runs of 8 and 77 in runs of 64. So the run time is learned by the rows,
and a batch grows no further than it pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import NamedTuple

import attrs

from .company import Company
from .overlap import Overlap

# Weight of a new run in what is known: about the last ten count.
WEIGHT = 0.1

# A run counts as no more than this many times what was expected: one that was held
# up by something else (a page fault, another process) must not look like the rule.
# One that is so many times faster shows that those before it were held up, and
# counts by the second weight.
OUTLIER = 2.0
TELLING_WEIGHT = 0.5

# What is known of a size is worth nothing any more after so many runs of others: the
# machine has something else to do now. A run then counts by that weight at most.
STALE = 50

# Runs after which a size is known well enough to be compared; the fastest of them is
# what is known at first.
KNOWN = 3

# What was learned may be wrong, and who is sent away because of it cannot show that.
# So it counts for no more than so many seconds without a run that came back.
TRY_AFTER = 5.0

# What the fastest run took grows by this a run, up to what the newest one took, so it
# is forgotten after some; one that was held up says little.
FORGET = 1.05

# Seconds that a run takes besides, at least: to have a thread run it, and the reactor
# see that it is back. (With 1,000 connections, which fill runs of 32 rows as of 128, a
# request to the smallest of models took 44.7 µs of the processors and 38.4 µs.)
AROUND = 0.0001

# A smaller size that gets through this share of the rows of the best is as good, and
# everybody's answer is there sooner. The size chosen last counts for a little more
# than it is, or two that are as good would be changed all the time.
AS_GOOD = 0.95
KEPT = 1.03

# A size is not tried for the first time if the largest that is known below it gets
# through less than this share of what is best: it only gets worse from there.
HOPELESS = 0.8

# Made-up rows that are run together as a model is loaded, and how many times as many
# of the most of them have to be got through in a second as one by one, or the largest
# size is not the first that is tried: its runs would take memory for nothing.
FEW = (1, 2, 4)
GROWS = 2.0

# If the most of them gain less than so many times on half as many, FEWER run together
# and no more; if they gain less than the second, as many as they are. A run takes some
# time for itself and at least as much again for each row; so any number of them would
# gain a fifth at most, and takes memory that is never given back. Runs of three rows of
# a MobileNet get through nearly as many a second as runs of four, in the memory that
# runs of two take. A gain of less than the last may be less than it looks.
GAINS = 1.1
GAINS_MORE = 1.16
GAINS_CLEARLY = 1.3
FEWER = 3

# That was wrong if so many runs of one row and of two, and the fastest of them, show
# that two are so many times as good. It is judged once: some time or other chance would
# show anything.
SURE = 30
BETTER = 1.5

# A neighbour of the chosen size, in turn the larger and the smaller one, is tried once
# in so many runs for each that is known of it, and at least once in so many: what is
# known may have been noise, or may change.
TRY_EVERY = 4
TRY_AT_LEAST = 50


class Point(NamedTuple):
    """What is known of runs of up to ``most`` rows: their means, and their number."""

    most: int
    rows: float
    seconds: float
    runs: int


@attrs.define(eq=False)
class Size:
    """What is known of runs of one size: averages of the newest runs.

    ``fastest`` is what the fastest of the last few took, in seconds.
    """

    runs: int = 0
    rows: float = 0.0
    seconds: float = 0.0
    fastest: float = inf
    newest: int = 0

    @property
    def rate(self) -> float:
        """Rows a second of runs one after the other; 0 while too little is known."""
        return self.rows / (self.seconds + AROUND) if self.runs >= KNOWN else 0.0

    def learn(self, rows: int, seconds: float, number: int) -> None:
        """Take note of a run, which is the method's so manieth."""
        self.runs += 1
        age, self.newest = number - self.newest, number
        self.fastest = min(seconds, FORGET * self.fastest)
        if self.runs <= KNOWN:
            # Whatever else goes on makes a run slower, never faster.
            if seconds * self.rows <= self.seconds * rows:
                self.rows, self.seconds = rows, seconds
            return
        seconds = min(seconds, OUTLIER * self.seconds)
        weight = min(max(age / STALE, WEIGHT), TELLING_WEIGHT)
        if seconds * OUTLIER < self.seconds:
            weight = TELLING_WEIGHT
        self.rows += weight * (rows - self.rows)
        self.seconds += weight * (seconds - self.seconds)


class Cost:
    """The run time of one method by the rows of a run. Reactor thread only.

    Sizes are powers of two; what is between two counts for the upper one.
    ``runs`` is how many runs are known, ``row_seconds`` what a row takes in runs
    of the best size (0 if unknown), ``updated`` when the last run came back and
    ``tried`` when a call was last taken to see whether it still takes so long, in
    seconds on the reactor's clock; until ``crowded_until`` calls are asked about
    before they are read, since one was turned away; ``company`` is what is known of
    those who call, and ``overlap`` of runs at once.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.row_seconds = 0.0
        self.updated = 0.0
        self.tried = 0.0
        self.crowded_until = 0.0
        self.company = Company()
        self.overlap = Overlap()
        self._sizes = [Size()]
        self._first: int | None = None
        self._most = inf
        self._chosen = 0
        self._count = 0
        self._upwards = True

    def learn(self, rows: int, seconds: float, now: float) -> None:
        """Take note of a run that gave outputs."""
        self.runs += 1
        self.updated = now
        # A clock may be too coarse for a run, or be set back.
        if seconds > 0:
            self._size(_size_of(rows)).learn(rows, seconds, self.runs)
            known = [s.rows / s.seconds for s in self._sizes if s.runs]
            self.row_seconds = 1 / max(known)
            if self._most < inf and self._gains():
                self._most = inf

    def expect(self, seconds: Sequence[float]) -> None:
        """Decide with which size to begin, and to end, by runs of made-up rows.

        Args:
            seconds: what a run takes, for each of ``FEW`` rows.
        """
        rates = [rows / max(it, 1e-9) for rows, it in zip(FEW, seconds, strict=True)]
        if rates[-1] < GROWS * rates[0]:
            self._first = _as_good(rates)
        gain = _gain(seconds)
        if gain < GAINS_MORE:
            self._most = FEWER if gain < GAINS else FEW[-1]

    def best(self, rows: int, max_rows: int) -> int:
        """How large a run should be at most while so many rows wait.

        Args:
            rows: that wait.
            max_rows: the most that there may be in a run.
        """
        most = int(min(max_rows, self._most))
        top = _size_of(min(rows, most))
        if not top:
            return 1
        self._size(top)
        chosen = self._choose(top)
        if self._sizes[chosen].runs >= KNOWN:
            chosen = self._neighbour(chosen, top)
        if chosen < top:
            return 1 << chosen
        # A run of the rest alone would take hardly less than one of as many as others.
        return most if self._most == inf else ceil(rows / ceil(rows / most))

    def seconds(self, rows: int) -> float:
        """What a run of so many rows takes, rather less than more; 0 if unknown."""
        wanted = _size_of(rows)
        for size in reversed(self._sizes[: wanted + 1]):
            if size.runs:
                return size.seconds
        for size in self._sizes[wanted:]:
            if size.runs:
                return size.seconds * rows / size.rows
        return 0.0

    def at_most(self, rows: int) -> float:
        """What a run of so many rows takes, rather more than less; inf if unknown."""
        wanted = _size_of(rows)
        for size in reversed(self._sizes[: wanted + 1]):
            if size.runs:
                return size.seconds * max(1.0, rows / size.rows)
        return min([size.seconds for size in self._sizes if size.runs], default=inf)

    def fastest(self, rows: int, now: float) -> float:
        """What no run of so many rows was faster than lately; 0 if nobody knows."""
        if now - self.updated >= TRY_AFTER:
            return 0.0
        number = (rows - 1).bit_length()
        size = self._size(number)
        while size.runs < KNOWN or self.runs - size.newest >= STALE:
            # Fewer rows do not take longer.
            if not number:
                return 0.0
            number -= 1
            size = self._sizes[number]
        return size.fastest

    def saved(self, rows: int) -> float:
        """What a row takes alone and not among so many; 0 or less if it is nothing."""
        return self.seconds(1) - self.seconds(rows) / rows

    def enough(self, max_rows: int) -> int:
        """How many rows are enough for a run, if no more than so many go into one.

        A size that is not known is worth to be known.
        """
        rates = [size.rate for size in self._sizes]
        best = _as_good(rates)
        known = best + 1 < len(rates) and rates[best + 1]
        return int(min(1 << (best if known else best + 1), self._most, max_rows))

    def curve(self) -> list[Point]:
        """What is known, by rows."""
        return [
            Point(1 << number, size.rows, size.seconds, size.runs)
            for number, size in enumerate(self._sizes)
            if size.runs
        ]

    def _size(self, number: int) -> Size:
        while len(self._sizes) <= number:
            self._sizes.append(Size())
        return self._sizes[number]

    def _gains(self) -> bool:
        """Whether more rows have turned out better than was expected."""
        one, two = self._size(0), self._size(1)
        is_time = min(one.runs, two.runs) == SURE
        is_better = two.rate >= BETTER * one.rate
        return is_time and is_better and 2 * one.fastest >= BETTER * two.fastest

    def _choose(self, top: int) -> int:
        """The smallest size that is as good as the best of those up to one."""
        if self._most < inf:
            # That was found out when nothing else went on.
            return top
        rates = [size.rate for size in self._sizes[: top + 1]]
        below = next((rate for rate in reversed(rates[:-1]) if rate), 0.0)
        first = self._first
        if first is not None and first < top:
            if not rates[first]:
                return first
        elif not rates[top] and below >= HOPELESS * max(rates):
            return top
        if self._chosen <= top:
            rates[self._chosen] *= KEPT
        self._chosen = _as_good(rates)
        return self._chosen

    def _neighbour(self, chosen: int, top: int) -> int:
        """A size next to the chosen one if it is to be tried, else that one."""
        below = max(chosen - 1, 0)
        if self._sizes[below].runs < KNOWN:
            return below
        # What is above may not be tried; a single row shows whether that is right.
        above = 0 if self._most < inf else min(chosen + 1, top)
        neighbour = above if self._upwards else below
        self._count += 1
        known = self._sizes[neighbour].runs
        if self._count < min(TRY_EVERY * known, TRY_AT_LEAST):
            return chosen
        self._count = 0
        self._upwards = not self._upwards
        return neighbour


def is_clear(seconds: Sequence[float]) -> bool:
    """Whether there is no doubt what to expect of runs of ``FEW`` rows that took so
    many seconds.
    """
    return not GAINS <= _gain(seconds) < GAINS_CLEARLY


def _gain(seconds: Sequence[float]) -> float:
    """How many times as many rows a second the largest of such runs got through as
    the one before.
    """
    return FEW[-1] * seconds[-2] / (FEW[-2] * max(seconds[-1], 1e-9))


def _as_good(rates: Sequence[float]) -> int:
    """The first that is as good as the best."""
    enough = AS_GOOD * max(rates)
    return next(number for number, rate in enumerate(rates) if rate >= enough)


def _size_of(rows: int) -> int:
    """The size that so many rows count for: 0 for 1, 1 for 2, 2 for 3 and 4, ..."""
    return (rows - 1).bit_length()
