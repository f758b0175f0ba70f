"""Answers that are larger than what a client reads at once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from tests.web_client import Connection, SlowWire, request
from txinfer.answers import PIECE
from txinfer.ends import CLOSE_SECONDS
from txinfer.limits import DoorLimits
from txinfer.routing import respond
from txinfer.site import DRAIN_GRACE, STUCK, TICK, BoundedSite

LARGE = random.Random(1).randbytes(10 * PIECE + 1)

# What a transport may hold at a time: what it buffers, what was written when that
# was still allowed, and the head.
MOST_AT_ONCE = 2 * PIECE + 1000


class Large(Resource):
    """Answers with a large body, in one of two ways."""

    isLeaf = True

    def render(self, request: Any) -> bytes | int:
        if request.path == b"/small":
            return b"small"
        if request.path == b"/piece":
            return respond(request, 200, b"", LARGE[:PIECE])
        if request.path == b"/parts":
            request.setHeader(b"Content-Length", b"%d" % len(LARGE))
            request.write(LARGE[:5])
            request.write(LARGE[5:])
            request.finish()
            return 1
        return respond(request, 200, b"", LARGE)


class Bench:
    """A site, and what it tells of its answers."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        door = DoorLimits(**limits)
        self.site = BoundedSite(Large(), door, reactor=self.clock)
        self.answered: list[bytes] = []
        self.site.on_answer = lambda request, _: self.answered.append(request.uri)

    def connect(self, *sent: bytes) -> Connection:
        connection = Connection(self.site, SlowWire())
        # Not Connection.send: what is to be closed is closed when all is read.
        for data in sent:
            connection.channel.dataReceived(data)
        return connection


@pytest.fixture
def bench() -> Bench:
    return Bench()


def wire(connection: Connection) -> SlowWire:
    assert isinstance(connection.wire, SlowWire)
    return connection.wire


def read_all(connection: Connection) -> None:
    """Have the client read whatever comes."""
    while wire(connection).waiting:
        assert wire(connection).waiting <= MOST_AT_ONCE
        wire(connection).read()


@pytest.mark.parametrize("path", ["/", "/parts"])
def test_a_large_answer_comes_no_faster_than_it_is_read(
    bench: Bench, path: str
) -> None:
    connection = bench.connect(request("GET", path))
    assert len(connection.received) <= MOST_AT_ONCE
    assert bench.site.unsent >= len(LARGE) - MOST_AT_ONCE
    read_all(connection)
    assert connection.answer("GET").body == LARGE
    assert bench.site.unsent == bench.site.held == 0
    assert bench.answered == [path.encode()]


def test_the_next_request_is_answered_when_all_is_sent(bench: Bench) -> None:
    sent = request("GET", "/") + request("GET", "/parts") + request("GET", "/small")
    connection = bench.connect(sent)
    assert bench.answered == [b"/"]
    read_all(connection)
    bodies = [answer.body for answer in connection.answers("GET", "GET", "GET")]
    assert bodies == [LARGE, LARGE, b"small"]
    assert bench.answered == [b"/", b"/parts", b"/small"]


def test_the_head_of_a_large_answer_has_its_length(bench: Bench) -> None:
    connection = bench.connect(request("HEAD", "/"))
    assert connection.answer("HEAD")["Content-Length"] == str(len(LARGE))
    assert bench.site.unsent == 0


def test_a_client_that_reads_slowly_is_kept_however_long_it_takes(
    bench: Bench,
) -> None:
    connection = bench.connect(request("GET", "/", headers={"Connection": "close"}))
    while wire(connection).waiting:
        bench.clock.advance(bench.site.limits.write_timeout - 2 * TICK)
        assert not wire(connection).disconnected
        wire(connection).read()
    assert connection.answer("GET").body == LARGE
    assert wire(connection).disconnecting


def test_who_stops_reading_is_cut_and_nothing_is_kept_for_him(bench: Bench) -> None:
    connection = bench.connect(request("GET", "/"))
    wire(connection).read()
    # A little now and then is not reading.
    for _ in range(9):
        bench.clock.advance(bench.site.limits.write_timeout / 10)
        assert not wire(connection).disconnected
        wire(connection).read(1000)
    bench.clock.advance(bench.site.limits.write_timeout / 10 + TICK)
    assert wire(connection).disconnected
    assert bench.site.unsent == bench.site.held == 0


def test_the_last_of_an_answer_may_be_read_as_slowly_as_the_rest(bench: Bench) -> None:
    close = {"Connection": "close"}
    connection = bench.connect(request("GET", "/piece", headers=close))
    assert wire(connection).disconnecting
    bench.clock.advance(2 * CLOSE_SECONDS)
    assert not wire(connection).disconnected
    bench.clock.advance(bench.site.limits.write_timeout)
    assert wire(connection).disconnected


def test_nothing_is_kept_for_who_hangs_up(bench: Bench) -> None:
    connection = bench.connect(request("GET", "/"))
    connection.hang_up()
    assert bench.site.unsent == 0
    assert not bench.clock.getDelayedCalls()


def test_draining_waits_for_who_reads_and_then_closes(bench: Bench) -> None:
    connection = bench.connect(request("GET", "/"))
    drained = bench.site.drain()
    bench.clock.advance(2 * DRAIN_GRACE)
    read_all(connection)
    assert connection.answer("GET").body == LARGE
    connection.settle()
    assert drained.called


def test_past_the_limit_who_has_not_read_for_longest_is_cut() -> None:
    bench = Bench(answer_bytes=3 * len(LARGE))
    clients = []
    for _ in range(5):
        clients.append(bench.connect(request("GET", "/")))
        bench.clock.advance(STUCK / 10)
    wire(clients[0]).read()
    bench.clock.advance(STUCK)
    cut = [wire(it).disconnected for it in clients]
    assert cut == [False, True, True, False, False]
    assert bench.site.unsent <= 3 * len(LARGE)


def test_who_reads_is_not_cut_however_much_waits() -> None:
    bench = Bench(answer_bytes=1)
    clients = [bench.connect(request("GET", "/")) for _ in range(3)]
    while any(wire(client).waiting for client in clients):
        bench.clock.advance(STUCK - 2 * TICK)
        for client in clients:
            wire(client).read()
    for client in clients:
        assert client.answer("GET").body == LARGE
