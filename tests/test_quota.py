"""What strangers can have the log say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, LogLevel, eventAsText, formatEvent
from twisted.python.failure import Failure

from txinfer.quota import LONGEST_TRACEBACK, LONGEST_WORD, LogQuota, clean

KIND = "refused: {why}"


class Bench:
    """A quota of three lines in ten seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.events: list[LogEvent] = []
        log = Logger("test", observer=cast(Any, self.events.append))
        self.quota = LogQuota(log, self.clock, lines=3, interval=10)

    @property
    def told(self) -> list[str]:
        told = [formatEvent(event) for event in self.events]
        self.events.clear()
        return told

    def refuse(self, count: int, kind: str = KIND) -> None:
        for number in range(count):
            self.quota.info(kind, why=number)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def more(count: int, kind: str = KIND) -> str:
    return f"... and {count} more like it within 10 s: {kind}"


def test_the_first_lines_are_logged_and_then_how_many_more_there_were(
    bench: Bench,
) -> None:
    bench.refuse(5)
    assert bench.told == ["refused: 0", "refused: 1", "refused: 2"]
    bench.clock.advance(9.9)
    assert bench.told == []
    bench.clock.advance(0.1)
    assert bench.told == [more(2)]
    assert not bench.clock.getDelayedCalls()


def test_what_is_within_the_quota_leaves_no_timer(bench: Bench) -> None:
    bench.refuse(3)
    assert not bench.clock.getDelayedCalls()
    bench.told.clear()
    bench.clock.advance(10)
    bench.refuse(3)
    assert bench.told == ["refused: 0", "refused: 1", "refused: 2"]


def test_the_next_interval_has_lines_of_its_own(bench: Bench) -> None:
    for _ in range(3):
        bench.refuse(1000)
        bench.clock.advance(10)
        assert len(bench.told) == 4


def test_kinds_do_not_share(bench: Bench) -> None:
    bench.refuse(4)
    bench.refuse(2, "failed: {why}")
    bench.clock.advance(10)
    assert bench.told[3:] == ["failed: 0", "failed: 1", more(1)]


def test_what_is_left_is_told_when_it_is_closed(bench: Bench) -> None:
    bench.refuse(5)
    bench.refuse(1, "failed: {why}")
    bench.quota.close()
    assert bench.told[-1] == more(2)
    assert not bench.clock.getDelayedCalls()
    bench.quota.close()
    assert bench.told == []


def test_a_clock_that_is_set_back_does_not_silence_it(bench: Bench) -> None:
    bench.clock.advance(1000)
    bench.refuse(5)
    bench.told.clear()
    bench.clock.rightNow -= 500
    bench.refuse(1)
    assert bench.told == [more(2), "refused: 0"]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain ünïcode ✓", "plain ünïcode ✓"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("nul\0 del\x7f c1\x9b", "nul\\x00 del\\x7f c1\\x9b"),
        ("right\u202eleft\u2066", "right\\u202eleft\\u2066"),
        ("line\u2028para\u2029nel\x85", "line\\u2028para\\u2029nel\\x85"),
        ("half \ud800", "half \\ud800"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(st.characters(exclude_categories=()), max_size=2000))
def test_whatever_it_is_a_word_is_one_short_printable_line(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= (LONGEST_WORD + 3) * len("\\U00000000")
    cleaned.encode()


def test_of_a_long_word_both_ends_are_kept() -> None:
    cleaned = clean("a" + "b" * 10_000 + "c")
    assert len(cleaned) <= LONGEST_WORD + 3
    assert (cleaned[0], cleaned[-1]) == ("a", "c")


def raised(raise_it: Callable[[], object]) -> Failure:
    try:
        raise_it()
    except Exception:
        return Failure()
    raise AssertionError


def test_tracebacks_are_bounded_and_clean_too(bench: Bench) -> None:
    def fail() -> None:
        raise ValueError("\x1b[2J" + "x" * 50_000 + "\x07the end")

    bench.quota.failure("a bug in {where}", raised(fail), where="a\nb")
    (event,) = bench.events
    assert event["log_level"] is LogLevel.critical
    assert event["log_failure"].check(ValueError)
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    first, *traceback = text.split("\n")
    assert first == "a bug in a\\nb"
    assert all(line.isprintable() for line in traceback)
    assert "\\x1b[2J" in text
    assert "the end" in text
    assert "in fail" in text
    assert len(text) < LONGEST_TRACEBACK + 100


def test_failures_have_a_quota(bench: Bench) -> None:
    failure = raised(lambda: 1 / 0)
    for _ in range(100):
        bench.quota.failure("a bug", failure)
    bench.clock.advance(10)
    assert bench.told == ["a bug"] * 3 + [more(97, "a bug")]
