"""The versions that did not load, and when they are worth another try."""

from __future__ import annotations

import math
from collections.abc import Hashable, Set

import attrs
from twisted.internet.interfaces import IReactorTime

# What passes is mostly over in seconds; what is not may be gigabytes that are fetched
# in vain each time.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0


@attrs.frozen
class _Refusal:
    mark: Hashable
    pause: float
    until: float


class RefusedVersions:
    """Remembers versions by the marks of their files.

    One whose files are at fault is not tried again until they change. What failed for
    a reason that may pass is tried again after a pause, each twice as long as the one
    before, up to ten minutes.

    Args:
        clock: for the pauses.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._refusals: dict[int, _Refusal] = {}

    def note(self, number: int, mark: Hashable, passing: bool) -> float | None:
        """A version did not load.

        Args:
            number: of the version.
            mark: of its files.
            passing: whether it may load later on although they stay as they are.

        Returns:
            The seconds until it is to be tried again; None if it is not.
        """
        pause = self._next_pause(number, mark) if passing else math.inf
        until = self._clock.seconds() + pause
        self._refusals[number] = _Refusal(mark, pause, until)
        return pause if passing else None

    def hold_off(self, number: int, mark: Hashable) -> bool:
        """Whether a version with files of this mark is not to be tried now."""
        refusal = self._refusals.get(number)
        if refusal is None or refusal.mark != mark:
            return False
        return self._clock.seconds() < refusal.until

    def forget(self, number: int) -> None:
        """Have a version tried whenever it is wanted."""
        self._refusals.pop(number, None)

    def forget_but(self, numbers: Set[int]) -> None:
        """Forget all versions but these."""
        for number in self._refusals.keys() - numbers:
            del self._refusals[number]

    def _next_pause(self, number: int, mark: Hashable) -> float:
        refusal = self._refusals.get(number)
        if refusal is None or refusal.mark != mark:
            return FIRST_PAUSE
        return min(2 * refusal.pause, LONGEST_PAUSE)
