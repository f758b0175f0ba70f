"""What strangers can have the log say: little, in words that do nothing to it."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

# Lines of each kind, and seconds in which they may be logged: enough to see what is
# going on. Somebody who is refused 10,000 times a second would fill a disk.
LINES = 30
INTERVAL = 60.0

# Characters of a word, of a line of a traceback, and of a whole one. What a model
# raises may hold the input.
LONGEST_WORD = 300
LONGEST_LINE = 1000
LONGEST_TRACEBACK = 10_000


def clean(text: str, size: int = LONGEST_WORD) -> str:
    """A text that neither ends a line nor does anything to a terminal.

    What is not printable is written as Python's escapes, and of long texts the
    middle is left out.
    """
    if len(text) > size:
        half = size // 2
        text = f"{text[:half]} … {text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Clean(Failure):
    """A failure whose traceback is clean; the log indents its lines."""

    def __init__(self, failure: Failure) -> None:
        # Not Failure's, which would look for the exception that is being handled.
        self.__dict__.update(failure.__dict__)

    def getTraceback(self, *args: Any, **options: Any) -> str:
        """As Failure's, clean but for its line ends."""
        lines = super().getTraceback(*args, **options).split("\n")
        text = "\n".join(clean(line, LONGEST_LINE) for line in lines)
        # The end says what happened.
        return text[-LONGEST_TRACEBACK:]


@attrs.define(eq=False)
class _Window:
    """One kind of line, in one interval."""

    told: int = 0
    missed: int = 0
    timer: IDelayedCall | None = None
    ends: float = 0.0


class LogQuota:
    """Logs the first lines of each kind in an interval, and at its end how many more
    there were.

    Args:
        log: where to.
        clock: for the intervals.
        lines: how many of a kind.
        interval: in how many seconds, counted from the first of them.

    A kind is a format of :mod:`twisted.logger`, written in the code, so there are
    few. Words are cleaned.
    """

    def __init__(
        self,
        log: Logger,
        clock: IReactorTime,
        lines: int = LINES,
        interval: float = INTERVAL,
    ) -> None:
        self._log = log
        self._clock = clock
        self._lines = lines
        self._interval = interval
        self._windows: dict[str, _Window] = {}

    def info(self, kind: str, **words: object) -> None:
        """Log a line, or count it."""
        if self._take(kind):
            self._log.info(kind, **_cleaned(words))

    def failure(self, kind: str, failure: Failure, **words: object) -> None:
        """Log a line with a traceback, or count it."""
        if self._take(kind):
            self._log.failure(kind, _Clean(failure), **_cleaned(words))

    def close(self) -> None:
        """Say at once what would be said later."""
        for kind, window in self._windows.items():
            if window.timer is not None:
                window.timer.cancel()
                self._tell_missed(kind, window)
        self._windows.clear()

    def _take(self, kind: str) -> bool:
        """Whether there is a line left of a kind."""
        now = self._clock.seconds()
        window = self._windows.get(kind)
        # A clock that was set back must not silence the log.
        if window is None or not now < window.ends <= now + self._interval:
            self._end(kind)
            window = self._windows[kind] = _Window(ends=now + self._interval)
        if window.told < self._lines:
            window.told += 1
            return True
        window.missed += 1
        if window.timer is None:
            left = window.ends - now
            window.timer = self._clock.callLater(left, self._end, kind)
        return False

    def _end(self, kind: str) -> None:
        """An interval is over."""
        window = self._windows.pop(kind, None)
        if window is None or window.timer is None:
            return
        if window.timer.active():
            window.timer.cancel()
        self._tell_missed(kind, window)

    def _tell_missed(self, kind: str, window: _Window) -> None:
        self._log.info(
            "... and {count} more like it within {seconds:.0f} s: {kind}",
            count=window.missed,
            seconds=self._interval,
            kind=kind,
        )


def _cleaned(words: dict[str, object]) -> dict[str, Any]:
    return {name: clean(str(word)) for name, word in words.items()}
