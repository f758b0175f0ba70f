"""How many runs at once get through the most rows, learned while calls wait."""

from __future__ import annotations

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

# Stretches after which another number is tried again for one.
TRY_EVERY = 24


@attrs.define(eq=False)
class Overlap:
    """Chooses how many runs may be under way at once. Reactor thread only.

    Rates are compared only between stretches in which calls always waited: else
    how many arrive is measured, and not how many could be answered.

    Args:
        most: the largest number there may be.

    ``limit`` is the number for now.
    """

    most: int
    limit: int = attrs.field(init=False)
    _rates: dict[int, float] = attrs.field(factory=dict, init=False)
    _runs: int = attrs.field(init=False)
    _rows: int = attrs.field(default=0, init=False)
    _began: float = attrs.field(default=0.0, init=False)
    _stretches: int = attrs.field(default=0, init=False)

    @limit.default
    def _all(self) -> int:
        return self.most

    @_runs.default
    def _none_yet(self) -> int:
        return -self.most

    def landed(self, rows: int, now: float, backlog: bool) -> None:
        """A run came back; ``backlog`` tells whether others wait for its slot."""
        if self.most == 1:
            return
        if not backlog:
            self._begin(now)
            return
        self._runs += 1
        if self._runs <= 0:
            # Runs of the number before: not of this stretch.
            self._began = now
            return
        self._rows += rows
        if self._runs >= STRETCH_RUNS and now - self._began >= STRETCH_SECONDS:
            self._learn(self._rows / (now - self._began))
            self._choose()
            self._begin(now)

    def rates(self) -> dict[int, float]:
        """The rows a second that are known, by the number of runs at once."""
        return dict(self._rates)

    def _begin(self, now: float) -> None:
        self._runs = -self.most
        self._rows = 0
        self._began = now

    def _learn(self, rate: float) -> None:
        known = self._rates.get(self.limit, rate)
        self._rates[self.limit] = known + WEIGHT * (rate - known)

    def _choose(self) -> None:
        """The next number: one that is not known, or is to be tried, or the best."""
        unknown = [n for n in range(self.most, 0, -1) if n not in self._rates]
        if unknown:
            self.limit = unknown[0]
            return
        best = 1
        for number in range(2, self.most + 1):
            if self._rates[number] >= WORTH * self._rates[best]:
                best = number
        self._stretches += 1
        turn, pause = divmod(self._stretches, TRY_EVERY)
        others = [n for n in range(1, self.most + 1) if n != best]
        self.limit = best if pause else others[turn % len(others)]
