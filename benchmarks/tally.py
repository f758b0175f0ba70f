"""What became of questions, and how long it took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import attrs

from .exchange import Exchange

#: Closed without an answer, and without a connection to begin with.
LOST, REFUSED = "lost", "refused"

#: A 200 with somebody else's rows, and a 503 that does not tell when to come back.
WRONG, SILENT = "wrong", "503 without Retry-After"

#: A 200 that comes when its deadline is well past, a 504 that comes before it.
LATE, EARLY = "late", "early"

#: Not an outcome, but for each 504 the time from the deadline to it.
OVERDUE = "overdue"

#: Seconds after a deadline by which its 504 is to be there.
PROMPT = 0.05

#: Still waiting when nobody waits any longer, and never sent for want of sockets.
UNANSWERED, UNSENT = "unanswered", "unsent"


def outcome_of(exchange: Exchange, overdue: float | None = None) -> str:
    """What became of the question of an exchange, in a word.

    Args:
        exchange: its question is still there.
        overdue: seconds from the deadline to the answer; None without one.
    """
    answer, question = exchange.answer, exchange.question
    assert question is not None
    if answer is None:
        return LOST
    if overdue is not None:
        if answer.status == 200 and overdue > PROMPT:
            return LATE
        if answer.status == 504 and overdue < 0:
            return EARLY
    if answer.status == 200 and not question.is_right(answer.body):
        return WRONG
    if answer.status == 503 and not answer.says_when:
        return SILENT
    return str(answer.status)


@attrs.frozen
class Times:
    """How many there were of an outcome, and how long they took, in ms."""

    count: int
    p50: float
    p99: float
    max: float


NONE = Times(0, 0.0, 0.0, 0.0)


@attrs.frozen
class Report:
    """What a client has seen.

    ``rate`` is the right answers a second, ``cpu`` the share of a processor that
    the client itself took, ``lag`` how late it sent, at the most, in ms.
    """

    outcomes: Mapping[str, Times]
    rate: float
    cpu: float
    lag: float

    def __getitem__(self, outcome: str) -> Times:
        return self.outcomes.get(outcome, NONE)

    @classmethod
    def read(cls, said: Any) -> Report:
        """A report from JSON."""
        outcomes = {name: Times(**times) for name, times in said["outcomes"].items()}
        return cls(outcomes, said["rate"], said["cpu"], said["lag"])


class Tally:
    """Takes note of each outcome.

    Args:
        begin: from when on right answers count for the rate, on ``time.monotonic``.
        end: until when.
    """

    def __init__(self, begin: float, end: float) -> None:
        self._begin = begin
        self._end = end
        self._good = 0
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def add(self, outcome: str, began: float, ended: float) -> None:
        """Count a question."""
        self._seconds[outcome].append(ended - began)
        self._good += outcome == "200" and self._begin <= ended < self._end

    def settle(self, exchange: Exchange) -> str:
        """Count the question of an exchange that has an answer, or has ended.

        Returns:
            What became of it.
        """
        assert exchange.question is not None
        began, now = exchange.began, time.monotonic()
        seconds = exchange.question.deadline
        overdue = None if seconds is None else now - began - seconds
        outcome = outcome_of(exchange, overdue)
        self.add(outcome, began, now)
        if outcome == "504" and seconds is not None:
            self.add(OVERDUE, began + seconds, now)
        exchange.question = None
        return outcome

    def report(self, cpu: float, lag: float) -> Report:
        """All of it."""
        rate = self._good / (self._end - self._begin)
        outcomes = {name: _times(found) for name, found in self._seconds.items()}
        return Report(outcomes, rate, cpu, lag * 1e3)


def _times(seconds: list[float]) -> Times:
    ms = sorted(took * 1e3 for took in seconds)
    return Times(len(ms), ms[len(ms) // 2], ms[int(len(ms) * 0.99)], ms[-1])
