from __future__ import annotations

import json
from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IRequest

from tests.deferreds import reason, result
from tests.test_native import LIMITS, Bench, Shelf
from tests.web_client import Connection
from txinfer.deadlines import deadline_of, in_time
from txinfer.errors import DeadlineExceeded
from txinfer.limits import CallLimits
from txinfer.refusals import InvalidHeader


@attrs.define
class Asking:
    """As much of a request as there is to a deadline."""

    header: bytes | None = None

    def getHeader(self, name: bytes) -> bytes | None:
        assert name == b"x-request-timeout-ms"
        return self.header


@attrs.define
class Arrived(Asking):
    """The same under our own site."""

    arrived: float = 0.0


def deadline(request: Asking, default: int = 1000, most: int = 5000) -> float | None:
    """When a request has to be answered, at the 100th second of the clock."""
    clock = Clock()
    clock.advance(100)
    limits = CallLimits(deadline_ms=default, deadline_max_ms=most)
    return deadline_of(cast(IRequest, request), limits, clock)


# What is asked for


def test_who_says_nothing_waits_as_long_as_the_default() -> None:
    assert deadline(Asking()) == 101


def test_what_counts_is_when_the_first_byte_came() -> None:
    assert deadline(Arrived(arrived=98.5)) == 99.5
    assert deadline(Arrived(b"250", arrived=98.5)) == 98.75


def test_a_client_may_wait_shorter_or_longer_than_the_default() -> None:
    assert deadline(Asking(b"1")) == 100.001
    assert deadline(Asking(b"5000")) == 105


def test_a_client_waits_no_longer_than_the_maximum() -> None:
    assert deadline(Asking(b"5001")) == 105
    assert deadline(Asking(b"999999999999")) == 105


def test_without_a_default_the_maximum_counts() -> None:
    assert deadline(Asking(), default=0) == 105
    assert deadline(Asking(b"20"), default=0) == 100.02


def test_without_either_there_is_no_deadline_unless_asked_for() -> None:
    assert deadline(Asking(), default=0, most=0) is None
    assert deadline(Asking(b"7200000"), default=0, most=0) == 7300


@pytest.mark.parametrize(
    "given", ["", "0", "-1", "1.5", "1e3", "x", " 1", "٣", "00", "9999999999999"]
)
def test_other_words_are_refused(given: str) -> None:
    with pytest.raises(InvalidHeader, match="must be a whole number of at least 1"):
        deadline(Asking(given.encode()))


# What is late


def test_work_that_is_done_is_not_timed() -> None:
    async def work() -> int:
        return 7

    clock = Clock()
    assert result(Deferred.fromCoroutine(in_time(work(), 0.0, clock))) == 7
    assert not clock.getDelayedCalls()


def test_work_is_stopped_at_the_deadline() -> None:
    clock = Clock()
    stopped: list[object] = []
    never: Deferred[None] = Deferred(stopped.append)

    async def work() -> None:
        await never

    done = Deferred.fromCoroutine(in_time(work(), 2.0, clock))
    clock.advance(1.9)
    assert not done.called
    clock.advance(0.1)
    assert isinstance(reason(done), DeadlineExceeded)
    assert stopped == [never]


def test_work_may_end_in_time_by_itself() -> None:
    clock, come = Clock(), cast("Deferred[int]", Deferred())

    async def work() -> int:
        return await come

    done = Deferred.fromCoroutine(in_time(work(), 2.0, clock))
    come.callback(7)
    assert result(done) == 7
    assert not clock.getDelayedCalls()


# Over HTTP


def ask(bench: Bench, value: object, **headers: str) -> Connection:
    fields = {"Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): text for name, text in headers.items()}
    return bench.web.begin("POST", "/upper", json.dumps(value).encode(), fields)


# The second takes the long way through the dialect.
WAYS: list[dict[str, str]] = [{}, {"Content_Encoding": "identity"}]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_answered_504_at_its_deadline_while_the_run_goes_on(
    way: dict[str, str],
) -> None:
    bench = Bench().load()
    connection = ask(bench, {"text": ["a"]}, X_Request_Timeout_Ms="250", **way)
    bench.clock.advance(0.2)
    assert not connection.received
    bench.clock.advance(0.05)
    answer = connection.answer()
    assert answer.status == 504
    assert answer.error == "the deadline passed before the answer was there"
    assert len(bench.threads.started) == 1
    bench.threads.finish()
    assert bench.post("/upper", {"text": ["b"]}).status == 200


@pytest.mark.parametrize("way", WAYS)
def test_the_default_is_kept_where_nothing_is_said(way: dict[str, str]) -> None:
    limits = attrs.evolve(LIMITS, deadline_ms=300)
    bench = Bench(limits=limits).load()
    connection = ask(bench, {"text": ["a"]}, **way)
    bench.clock.advance(0.3)
    assert connection.answer().status == 504
    bench.threads.finish()


def test_a_call_is_answered_504_at_its_deadline_while_urls_are_fetched() -> None:
    shelf = Shelf({"http://a": None})
    bench = Bench(fetcher=shelf).load()
    connection = ask(bench, {"text": [{"url": "http://a"}]}, X_Request_Timeout_Ms="250")
    bench.clock.advance(0.25)
    assert connection.answer().status == 504
    assert shelf.cancelled == ["http://a"]
    assert not bench.threads.started


@pytest.mark.parametrize("way", WAYS)
def test_a_timeout_that_makes_no_sense_is_refused(way: dict[str, str]) -> None:
    bench = Bench().load()
    answer = ask(bench, {"text": ["a"]}, X_Request_Timeout_Ms="soon", **way).answer()
    assert (answer.status, answer.error) == (
        400,
        "X-Request-Timeout-Ms must be a whole number of at least 1",
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_is_known_to_take_too_long_is_refused_at_once(
    way: dict[str, str],
) -> None:
    bench = Bench().load()
    for _ in range(3):
        before = ask(bench, {"text": ["a"]})
        bench.clock.advance(3)
        bench.threads.finish()
        assert before.answer().status == 200
        # The site has a clock of its own.
        bench.web.clock.advance(3)
    refused = ask(bench, {"text": ["a"]}, X_Request_Timeout_Ms="2000", **way).answer()
    assert (refused.status, refused["Retry-After"]) == (503, "1")
    assert refused.error == "the deadline would pass before the answer is there"
    assert not bench.threads.started
    taken = ask(bench, {"text": ["a"]}, X_Request_Timeout_Ms="4000", **way)
    bench.threads.finish()
    assert taken.answer().status == 200


def test_expired_calls_are_counted_wherever_they_were() -> None:
    bench: Any = Bench(fetcher=Shelf({"http://a": None})).load()
    for text in ("a", {"url": "http://a"}):
        connection = ask(bench, {"text": [text]}, X_Request_Timeout_Ms="100")
        bench.clock.advance(0.1)
        assert connection.answer().status == 504
        bench.web.clock.advance(0.1)
    bench.threads.finish()
    counts = next(it for key, it in bench.told.methods.items() if key[1] == "upper")
    assert counts.expired == 2
