from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.iweb import IRequest

from tests.deferreds import reason, result
from tests.test_native import LIMITS, Bench, Shelf
from tests.web_client import Connection, request
from txinfer.deadlines import deadline_of, in_time
from txinfer.errors import DeadlineExceeded
from txinfer.limits import CallLimits, DoorLimits
from txinfer.refusals import InvalidHeader
from txinfer.site import MOST_LATE, TICK
from txinfer.wheel import GRAIN


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


# Over HTTP, while the body comes


class Drip:
    """A request that comes in parts; the clock is the site's."""

    def __init__(self, bench: Bench, **headers: str) -> None:
        self.bench = bench
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        self.whole = request("POST", "/upper", b'{"text":["a"]}', fields)
        self.connection = Connection(bench.web.site)
        self.connection.send(self.whole[:-9])

    def advance(self, seconds: float) -> None:
        self.bench.web.clock.advance(seconds)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.connection.answers()]


def test_a_body_that_drips_past_the_deadline_is_answered_504_at_once() -> None:
    bench = Bench().load()
    drip = Drip(bench, X_Request_Timeout_Ms="333")
    for _ in range(3):
        drip.advance(0.1)
        drip.connection.send(b'"')
    drip.advance(0.032)
    assert drip.statuses == []
    drip.advance(GRAIN)
    answer = drip.connection.answer()
    assert (answer.status, answer["Connection"]) == (504, "close")
    assert answer.error == "the deadline passed before the answer was there"
    assert bench.web.site.held == 0  # type: ignore[attr-defined]
    counts = bench.told.methods["", ""]
    assert (dict(counts.statuses), counts.expired) == ({504: 1}, 1)
    assert not bench.model.calls


def test_the_default_is_kept_while_a_body_comes() -> None:
    bench = Bench(limits=attrs.evolve(LIMITS, deadline_ms=300)).load()
    drip, patient = Drip(bench), Drip(bench, X_Request_Timeout_Ms="2000")
    drip.advance(0.3)
    assert drip.statuses == [504]
    drip.advance(1)
    assert patient.statuses == []
    drip.advance(0.7)
    assert patient.statuses == [504]


def test_a_deadline_counts_from_the_first_byte_of_a_head_that_drips() -> None:
    bench = Bench().load()
    drip = Drip(bench, X_Request_Timeout_Ms="500")
    connection = Connection(bench.web.site)
    connection.send(drip.whole[:9])
    drip.advance(0.4)
    connection.send(drip.whole[9:-9])
    drip.advance(0.1)
    assert connection.answer().status == 504
    connection = Connection(bench.web.site)
    connection.send(drip.whole[:9])
    drip.advance(0.6)
    assert not connection.received
    connection.send(drip.whole[9:-9])
    drip.advance(0)
    assert connection.answer().status == 504


def test_the_doors_own_limits_are_kept_whatever_a_client_says() -> None:
    bench = Bench().load()
    timeout = DoorLimits().body_timeout
    drip = Drip(bench, X_Request_Timeout_Ms="400000")
    drip.advance(timeout - 0.1)
    assert drip.statuses == []
    drip.advance(0.1 + TICK)
    assert drip.statuses == [408]


def test_whether_a_timeout_makes_sense_is_seen_to_when_the_body_is_there() -> None:
    bench = Bench().load()
    drip = Drip(bench, X_Request_Timeout_Ms="soon")
    drip.advance(1)
    drip.connection.send(drip.whole[-9:])
    assert drip.statuses == [400]


@pytest.mark.parametrize("ending", ["whole", "refused", "gone"])
def test_nothing_is_due_of_a_request_that_is_over(ending: str) -> None:
    bench = Bench().load()
    drip = Drip(bench, X_Request_Timeout_Ms="250")
    if ending == "whole":
        drip.connection.send(drip.whole[-9:])
        bench.threads.finish()
    elif ending == "refused":
        drip.connection.half_close()
    else:
        drip.connection.hang_up()
        assert not bench.web.clock.getDelayedCalls()
    drip.advance(0.3)
    assert drip.statuses == {"whole": [200], "refused": [400], "gone": []}[ending]
    # The next is due at a time of its own.
    if ending == "whole":
        drip.connection.send(drip.whole[:-9])
        drip.advance(0.2)
        assert drip.statuses == [200]
        drip.advance(0.05)
        assert drip.statuses == [200, 504]


def test_a_request_that_comes_in_one_piece_is_not_asked_when_it_is_due() -> None:
    bench = Bench().load()
    asked: list[object] = []
    bench.web.site.due = asked.append  # type: ignore[attr-defined]
    assert bench.call("/upper", {"text": ["a"]}) == {"out": ["A"]}
    assert not asked
    drip = Drip(bench)
    for byte in drip.whole[-9:]:
        drip.connection.send(bytes([byte]))
    assert len(asked) == 1


def test_what_begins_behind_another_request_is_waited_for_no_longer() -> None:
    bench = Bench().load()
    drip = Drip(bench, X_Request_Timeout_Ms="5000")
    drip.connection.send(drip.whole[-9:] + drip.whole[:-9])
    drip.advance(1)
    bench.threads.finish()
    drip.advance(3.9)
    assert drip.statuses == [200]
    drip.advance(0.1)
    assert drip.statuses == [200, 504]
    drip = Drip(bench, X_Request_Timeout_Ms="400000")
    drip.connection.send(drip.whole[-9:] + drip.whole[:30])
    bench.threads.finish()
    drip.advance(DoorLimits().header_timeout + TICK)
    assert drip.statuses == [200, 408]


def test_bodies_that_are_late_together_are_seen_to_some_at_a_turn() -> None:
    bench = Bench().load()
    drips = [Drip(bench, X_Request_Timeout_Ms="250") for _ in range(2 * MOST_LATE)]
    clock, seen = bench.web.clock, [0]

    def look(left: int) -> None:
        seen.append(sum(bool(drip.connection.received) for drip in drips))
        if left:
            clock.callLater(0, look, left - 1)

    clock.callLater(0.25, look, 9)
    clock.advance(0.25)
    assert max(after - before for before, after in pairwise(seen)) == MOST_LATE
    assert all(drip.statuses == [504] for drip in drips)


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
