"""Fetching, on a network in memory and, at the end, on loopback."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.trial.unittest import TestCase
from twisted.web.client import BrowserLikePolicyForHTTPS
from zope.interface import implementer

from txinfer.connection import Body
from txinfer.errors import BodiesTooLarge, FetchFailed, Unavailable
from txinfer.fetch import Fetcher, FetchPolicy
from txinfer.hop import Hop
from txinfer.limits import FetchLimits
from txinfer.observe import Fetched, NullObserver
from txinfer.quota import INTERVAL, LINES

PUBLIC = "8.8.8.8"
PRIVATE = "10.0.0.1"


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def redirect(location: bytes, status: int = 302, body: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, location, len(body)) + body


@implementer(IHostnameResolver)
@attrs.define(eq=False)
class Names:
    """Answers from a table, a list of answers for each host, the last one last."""

    table: dict[str, list[list[str]]]
    asked: list[str] = attrs.field(factory=list)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append(hostName)
        answers = self.table.get(hostName, [[]])
        for host in answers.pop(0) if len(answers) > 1 else answers[0]:
            kind = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()


class Server(Protocol):
    """Keeps what was asked; says what the test says."""

    def __init__(self) -> None:
        self.request = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.request += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


@attrs.define(eq=False)
class Watcher(NullObserver):
    """Keeps what became of fetches: outcome, seconds and bytes."""

    seen: list[tuple[Fetched, float, int]] = attrs.field(factory=list)

    def fetched(self, outcome: Fetched, seconds: float, size: int) -> None:
        self.seen.append((outcome, seconds, size))

    @property
    def outcomes(self) -> list[str]:
        return [outcome.value for outcome, _, _ in self.seen]


@attrs.define(eq=False)
class Connection:
    server: Server
    pump: Any

    def says(self, data: bytes, size: int = 65536) -> None:
        """Send bytes in reads of at most ``size``."""
        for start in range(0, len(data), size):
            if self.server.lost:
                return
            self.server.transport.write(data[start : start + size])  # type: ignore[union-attr]
            self.pump.flush()

    def hangs_up(self) -> None:
        self.server.transport.loseConnection()  # type: ignore[union-attr]
        self.pump.flush()

    @property
    def closed(self) -> bool:
        self.pump.flush()
        return self.server.lost


class Network:
    """A fetcher whose connections end in memory."""

    def __init__(
        self,
        names: dict[str, list[list[str]]] | None = None,
        allow: Sequence[str] = (),
        **limits: Any,
    ):
        self.reactor = MemoryReactorClock()
        self.names = Names(names or {"a.example": [[PUBLIC]]})
        self.policy = FetchPolicy(allow, FetchLimits(**limits))
        self.observer = Watcher()
        self.fetcher = self.fetching(self.names)
        self.results: list[Any] = []

    def fetching(self, resolver: IHostnameResolver) -> Fetcher:
        return Fetcher(self.reactor, self.policy, resolver, observer=self.observer)

    def fetch(self, *urls: str, client: str = "") -> Deferred[list[bytes]]:
        """Ask for URLs; the bodies, or the failure, are appended to ``results``."""
        fetched = self.fetcher.fetch(urls or ["http://a.example/x"], client)
        fetched.addCallback(self.results.extend).addErrback(self.results.append)
        self.reactor.advance(0)
        return fetched

    @property
    def attempts(self) -> list[tuple[str, int]]:
        return [(client[0], client[1]) for client in self.reactor.tcpClients]

    def accept(self, index: int = -1, peer: str | None = None) -> Connection:
        host, port, factory, *_ = self.reactor.tcpClients[index]
        server = Server()
        client = factory.buildProtocol(IPv4Address("TCP", host, port))
        pump = iosim.connect(
            server,
            iosim.FakeTransport(server, isServer=True),
            client,
            iosim.FakeTransport(
                client,
                isServer=False,
                peerAddress=IPv4Address("TCP", peer or host, port),
            ),
        )
        return Connection(server, pump)

    def why(self) -> str:
        """What was found wrong, which nobody is told before the time is over."""
        if not self.results:
            self.reactor.advance(self.policy.limits.url_timeout)
        [failure] = self.results
        assert isinstance(failure, Failure), failure
        assert isinstance(failure.value, FetchFailed), failure
        return str(failure.value)


def test_a_public_url_is_fetched() -> None:
    net = Network()
    net.fetch("http://a.example:8080/x?y=1#z")
    connection = net.accept()
    connection.says(ok(b"body"))
    assert net.results == [b"body"]
    assert net.attempts == [(PUBLIC, 8080)]
    assert connection.server.request.startswith(b"GET /x?y=1 HTTP/1.1\r\n")
    assert connection.closed
    assert not net.reactor.getDelayedCalls()


def test_the_request_asks_for_identity_only_and_is_plain() -> None:
    net = Network()
    net.fetch()
    lines = net.accept().server.request.split(b"\r\n")
    assert sorted(line for line in lines[1:] if line) == [
        b"Accept-Encoding: identity",
        b"Accept: */*",
        b"Connection: close",
        b"Host: a.example",
        b"User-Agent: txinfer",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "file:///etc/passwd",
        "unix:///run/x",
        "ws://a.example/",
        "wss://a.example/",
        "gopher://a.example/",
        "data:,x",
        "",
        "x",
        "//a.example/",
        "http:",
        "http:///x",
        "http://:80/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:-1/",
        "http://a.example:x/",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "http://8.8.8.8\\@a.example/",
        "http://a.example@10.0.0.1/",
        "http://a b/",
        "http://a\x00b/",
        "http://a.example/\r\nX: y",
        "http://" + "a" * 64 + ".example/",
        "http://a.example/" + "a" * 8000,
        "http://\udc80/",
    ],
)
def test_other_urls_are_refused_without_a_connection(url: str) -> None:
    net = Network()
    net.fetch(url)
    assert "\n" not in net.why()
    assert "secret" not in net.why()
    assert net.attempts == []


@pytest.mark.parametrize(
    "answer",
    [
        [PRIVATE],
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["0.0.0.0"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:a00:1::"],
        ["fe80::1%eth0"],
        [PUBLIC, PRIVATE],
        [PRIVATE, PUBLIC],
        [PUBLIC, PUBLIC, "::1"],
        [],
    ],
)
def test_a_name_that_leads_to_one_denied_address_is_not_connected(
    answer: list[str],
) -> None:
    net = Network({"a.example": [answer]})
    net.fetch()
    net.reactor.advance(1)
    assert ("denied" in net.why()) is bool(answer)
    assert net.attempts == []


def test_an_allowed_range_is_connected() -> None:
    net = Network({"a.example": [[PRIVATE]]}, allow=("10.0.0.0/8",))
    net.fetch()
    net.accept().says(ok(b"body"))
    assert net.results == [b"body"]


@pytest.mark.parametrize("url", ["http://A.Example/", "http://a.example./"])
def test_an_allowed_host_is_connected_wherever_it_leads(url: str) -> None:
    answer = [["127.0.0.1"]]
    net = Network({"a.example": answer, "a.example.": answer}, allow=("a.EXAMPLE",))
    net.fetch(url)
    net.accept().says(ok(b"body"))
    assert net.results == [b"body"]


def test_another_name_of_an_allowed_host_is_not() -> None:
    net = Network({"b.example": [["127.0.0.1"]]}, allow=("a.example",))
    net.fetch("http://b.example/")
    assert "denied" in net.why()
    assert net.attempts == []


def test_few_of_many_addresses_are_tried() -> None:
    net = Network({"a.example": [[f"8.8.8.{last}" for last in range(100)]]})
    net.fetch()
    net.reactor.pump([0.3] * 30)
    assert len(net.attempts) == 8


def test_a_peer_that_is_denied_is_sent_nothing() -> None:
    net = Network()
    net.fetch()
    connection = net.accept(peer=PRIVATE)
    assert "connected to a denied address" in net.why()
    assert connection.closed
    assert connection.server.request == b""


def test_a_refused_connection_fails() -> None:
    net = Network()
    net.fetch()
    factory, connector = net.reactor.tcpClients[0][2], net.reactor.connectors[0]
    factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
    net.reactor.advance(1)
    assert "ConnectionRefusedError" in net.why()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    net = Network({"a.example": [[PUBLIC]], "b.example": [["1.1.1.1"]]})
    net.fetch()
    first = net.accept()
    first.says(redirect(b"http://b.example/y", status, b"unread" * 100))
    assert first.closed
    net.accept().says(ok(b"body"))
    assert net.results == [b"body"]
    assert net.attempts == [(PUBLIC, 80), ("1.1.1.1", 80)]


def test_a_relative_redirect_is_resolved_against_the_last_url() -> None:
    net = Network({"a.example": [[PUBLIC]], "b.example": [["1.1.1.1"]]})
    net.fetch()
    net.accept().says(redirect(b"http://b.example/y/"))
    net.accept().says(redirect(b"z"))
    assert net.accept().server.request.startswith(b"GET /y/z ")
    assert net.attempts[-1] == ("1.1.1.1", 80)


@pytest.mark.parametrize(
    "location",
    [
        b"http://inside.example/",
        b"//inside.example/",
        b"ftp://a.example/",
        b"http://user@a.example/",
        b"http://a.example:0/",
        b"http://[/",
        b"\xff",
    ],
)
def test_a_redirect_is_judged_like_the_first_url(location: bytes) -> None:
    net = Network({"a.example": [[PUBLIC]], "inside.example": [[PRIVATE]]})
    net.fetch()
    first = net.accept()
    first.says(redirect(location))
    assert net.why()
    assert first.closed
    assert len(net.attempts) == 1


def test_a_name_that_moves_inside_on_the_second_hop_is_refused() -> None:
    net = Network({"a.example": [[PUBLIC], [PRIVATE]]})
    net.fetch()
    net.accept().says(redirect(b"/again"))
    assert "denied" in net.why()
    assert net.names.asked == ["a.example", "a.example"]
    assert len(net.attempts) == 1


def test_a_name_is_resolved_once_for_each_connection() -> None:
    net = Network({"a.example": [[PUBLIC], [PRIVATE]]})
    net.fetch()
    net.accept().says(ok(b"body"))
    assert net.names.asked == ["a.example"]
    assert net.results == [b"body"]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_number_of_redirects_is_bounded(limit: int) -> None:
    net = Network(url_redirects=limit)
    net.fetch()
    for _ in range(limit + 1):
        assert net.results == []
        net.accept().says(redirect(b"/again"))
    assert f"more than {limit} redirects" in net.why()
    assert len(net.attempts) == limit + 1


def test_cookies_are_not_kept() -> None:
    net = Network()
    net.fetch()
    net.accept().says(
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nSet-Cookie: a=b\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert b"ookie" not in net.accept().server.request


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 1000])
def test_a_body_up_to_the_bound_is_taken(body: bytes) -> None:
    for answer in (ok(body), CHUNKED + chunks(body, 100)):
        net = Network(url_size=1000)
        net.fetch()
        net.accept().says(answer)
        assert net.results == [body]


def chunks(body: bytes, size: int) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def test_an_announced_body_past_the_bound_is_not_read() -> None:
    net = Network(url_size=1000)
    net.fetch()
    connection = net.accept()
    connection.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
    assert "larger than 1000 bytes" in net.why()
    assert connection.closed


@pytest.mark.parametrize("size", [10, 700, 1001])
def test_a_chunked_body_past_the_bound_is_stopped(size: int) -> None:
    net = Network(url_size=1000)
    net.fetch()
    connection = net.accept()
    connection.says(CHUNKED + chunks(b"x" * 1001, size))
    assert "larger than 1000 bytes" in net.why()
    assert connection.closed


def test_an_endless_body_is_stopped_at_the_bound() -> None:
    net = Network(url_size=100_000)
    net.fetch()
    connection = net.accept()
    connection.says(b"HTTP/1.1 200 OK\r\n\r\n")
    sent = 0
    while not connection.closed:
        connection.says(b"x" * 10_000)
        sent += 10_000
    assert sent <= 120_000
    assert "larger than" in net.why()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", b" y\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
    ],
)
def test_a_flood_of_bytes_outside_the_body_is_stopped(
    start: bytes, more: bytes
) -> None:
    net = Network()
    net.fetch()
    connection = net.accept()
    connection.says(start)
    sent = 0
    while not connection.closed:
        connection.says(more)
        sent += len(more)
    assert sent < 300_000
    assert "not of the body" in net.why()


def test_small_honest_chunks_are_no_flood() -> None:
    body = b"x" * 2_000_000
    net = Network()
    net.fetch()
    net.accept().says(CHUNKED + chunks(body, 32))
    assert net.results == [body]


def test_a_dripping_body_ends_at_the_timeout() -> None:
    net = Network(url_timeout=10)
    net.fetch()
    connection = net.accept()
    connection.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(9):
        net.reactor.advance(1)
        connection.says(b"x")
    assert net.results == []
    net.reactor.advance(1)
    assert "not done within 10 seconds" in net.why()
    assert connection.closed


def test_the_timeout_spans_all_redirects() -> None:
    net = Network(url_timeout=10)
    net.fetch()
    net.reactor.advance(6)
    net.accept().says(redirect(b"/"))
    net.reactor.advance(4)
    assert "not done within 10 seconds" in net.why()


def test_the_timeout_ends_a_look_up() -> None:
    net = Network()
    net.fetcher = net.fetching(Silent())
    net.fetch()
    net.reactor.advance(10)
    assert "not done within 10 seconds" in net.why()


@implementer(IHostnameResolver)
class Silent:
    """Never completes."""

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        return None


def cancelled(net: Network) -> bool:
    [failure] = net.results
    return isinstance(failure.value, CancelledError)


def test_cancelling_closes_the_connection() -> None:
    for said in (b"", b"HTTP/1.1 200 OK\r\n", ok(b"body")[:-1]):
        net = Network()
        fetched = net.fetch()
        connection = net.accept()
        connection.says(said)
        fetched.cancel()
        assert cancelled(net)
        assert connection.closed
        assert not net.reactor.getDelayedCalls()


def test_cancelling_ends_a_look_up_and_an_attempt() -> None:
    for resolver in (None, Silent()):
        net = Network()
        if resolver is not None:
            net.fetcher = net.fetching(resolver)
        fetched = net.fetch()
        fetched.cancel()
        assert cancelled(net)
        for connector in net.reactor.connectors:
            assert connector.stoppedConnecting


def test_fetches_past_the_limit_wait_their_turn() -> None:
    net = Network(url_concurrent=2)
    fetches = [net.fetch(f"http://a.example/{number}") for number in range(4)]
    assert len(net.attempts) == 2
    fetches[2].cancel()
    assert cancelled(net)
    net.reactor.advance(9)
    net.accept(0).says(ok(b"0"))
    net.reactor.advance(0)
    assert len(net.attempts) == 3
    last = net.accept(2)
    assert last.server.request.startswith(b"GET /3 ")
    # Their waiting is not counted.
    net.reactor.advance(2)
    last.says(ok(b"3"))
    assert net.results[1] == b"0"
    assert net.results[-1] == b"3"


def test_a_failed_fetch_gives_its_turn_back_before_it_is_told() -> None:
    net = Network(url_concurrent=1)
    for _ in range(3):
        net.fetch("ftp://a.example/")
    net.fetch()
    assert len(net.attempts) == 1
    assert net.results == []


def test_however_many_fail_at_once_in_turn_none_is_in_the_way_of_another() -> None:
    net = Network(url_concurrent=1)
    net.fetch()
    for number in range(300):
        net.fetch(f"ftp://a.example/{number}")
    net.accept().says(ok(b"body"))
    for _ in range(300):
        net.reactor.advance(0)
    assert net.observer.outcomes == ["done"] + ["denied"] * 300


def test_clients_take_turns() -> None:
    net = Network(url_concurrent=1)
    net.fetch()
    for number in range(3):
        net.fetch(f"http://a.example/greedy{number}", client="greedy")
    net.fetch("http://a.example/other", client="other")
    asked = []
    for number in range(5):
        connection = net.accept(number)
        asked.append(connection.server.request.split()[1])
        connection.says(ok(b"body"))
        net.reactor.advance(0)
    assert asked == [b"/x", b"/greedy0", b"/other", b"/greedy1", b"/greedy2"]


def test_who_has_no_turn_in_time_is_told_to_come_back() -> None:
    net = Network(url_concurrent=1, url_timeout=10)
    net.fetch()
    net.reactor.advance(1)
    net.fetch(client="other")
    net.reactor.advance(8)
    net.accept().says(redirect(b"/again"))
    net.reactor.advance(0.9)
    assert net.results == []
    net.fetch(client="late")
    net.reactor.advance(0.2)
    assert isinstance(net.results[0].value, FetchFailed)
    # The second had its turn at last; the third must wait for it.
    net.reactor.advance(9.8)
    [failure] = net.results[1:]
    assert isinstance(failure.value, Unavailable)
    assert failure.value.retry_after == 10
    assert len(net.attempts) == 3


class Unanswered(Names):
    """Name servers that never answer for names below ``dead.example``."""

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, *args: Any
    ) -> Any:
        if not hostName.endswith(".dead.example"):
            return super().resolveHostName(resolutionReceiver, hostName, *args)
        resolutionReceiver.resolutionBegan(self)
        return self

    def cancel(self) -> None:
        """Nobody waits any more."""


@pytest.mark.parametrize("names", [Names, Unanswered])
def test_however_many_dead_hosts_are_named_all_are_answered_in_time(
    names: type[Names],
) -> None:
    net = Network(url_timeout=10)
    net.fetcher = net.fetching(names(net.names.table))
    for number in range(20):
        hosts = [f"http://{number}-{n}.dead.example/" for n in range(20)]
        net.fetch(*hosts, client=f"client {number}")
    net.reactor.pump([0.1] * 199)
    # The wait for a turn and the fetch itself take url_timeout each at most.
    assert len(net.results) == 20
    for failure in net.results:
        assert isinstance(failure.value, (FetchFailed, Unavailable))
    net.fetch()
    net.reactor.advance(0)
    net.accept().says(ok(b"body"))
    assert net.results[20:] == [b"body"]


def test_close_ends_all_fetches_and_takes_no_more() -> None:
    net = Network(url_concurrent=1)
    net.fetch()
    net.fetch()
    net.fetch("ftp://a.example/")
    connection = net.accept()
    net.fetcher.close()
    net.fetch()
    assert connection.closed
    assert [type(failure.value) for failure in net.results] == [FetchFailed] * 4
    assert len(net.attempts) == 1
    net.reactor.advance(0)
    assert not net.reactor.getDelayedCalls()


# Several at once


def test_bodies_come_in_the_order_of_their_urls() -> None:
    net = Network()
    net.fetch("http://a.example/0", "http://a.example/1", "http://a.example/2")
    for number in (1, 2, 0):
        assert net.results == []
        net.accept(number).says(ok(b"%d" % number))
    assert net.results == [b"0", b"1", b"2"]


def test_all_urls_of_a_request_are_fetched_at_the_same_time() -> None:
    net = Network(url_concurrent=5)
    net.fetch(*(f"http://a.example/{number}" for number in range(8)))
    assert len(net.attempts) == 5


def test_when_one_fails_the_others_go_on_until_it_is_told() -> None:
    # Whoever serves the others would otherwise learn when it failed.
    net = Network(url_timeout=10)
    net.fetch("http://a.example/0", "ftp://a.example/", "http://a.example/2")
    net.accept(0).says(ok(b"body"))
    connection = net.accept()
    net.reactor.advance(9)
    assert not connection.closed
    net.reactor.advance(1)
    assert connection.closed
    [failure] = net.results
    assert failure.value.position == 1


def test_the_first_url_that_failed_is_named_whichever_failed_first() -> None:
    net = Network({"a.example": [[PUBLIC]], "inside.example": [[PRIVATE]]})
    net.fetch("http://a.example/", "ftp://a.example/", "http://inside.example/")
    net.reactor.advance(3)
    connection = net.accept()
    connection.says(ok(b"x")[:-1])
    connection.hangs_up()
    net.reactor.advance(7)
    [failure] = net.results
    assert failure.value.position == 0


def test_bodies_are_not_kept_for_a_request_that_will_fail() -> None:
    net = Network()
    net.fetch("http://a.example/0", "http://a.example/1", "http://a.example/2")
    [errand] = net.fetcher._errands
    net.accept(0).says(ok(b"body"))
    assert errand.held == 4
    net.accept(1).says(ok(b"", b"Content-Encoding: gzip"))
    assert errand.held == 0
    net.accept(2).says(ok(b"body"))
    assert errand.held == 0
    assert net.results == []


def test_who_holds_most_makes_room() -> None:
    net = Network(url_memory=1000)
    large, slow, small, done = (f"http://a.example/{name}" for name in "lsmd")
    net.fetch(large, slow)
    waiting = net.accept(1)
    net.fetch(small, slow)
    net.accept(0).says(ok(b"x" * 900))
    net.accept(2).says(ok(b"x" * 100))
    assert net.results == []
    # One that is complete is not held here.
    net.fetch(done)
    net.accept(4).says(ok(b"x" * 1000))
    assert net.results.pop() == b"x" * 1000
    net.fetch(done, slow)
    net.accept(5).says(ok(b"x" * 1))
    [failure] = net.results
    assert isinstance(failure.value, Unavailable)
    assert waiting.closed
    net.accept(3).says(ok(b"y"))
    assert net.results[1:] == [b"x" * 100, b"y"]


@pytest.mark.parametrize(
    ("memory", "most", "count"),
    [(1000, None, 3), (1000, None, 2), (5000, 1000, 2), (1000, 5000, 2)],
)
def test_a_request_that_alone_is_too_large_is_told_so(
    memory: int, most: int | None, count: int
) -> None:
    net = Network(url_memory=memory)
    urls = [f"http://a.example/{number}" for number in range(count)]
    fetched = net.fetcher.fetch(urls, "", most)
    fetched.addErrback(net.results.append)
    net.reactor.advance(0)
    net.accept(0).says(ok(b"x" * 600))
    net.accept(1).says(ok(b"x" * 600))
    [failure] = net.results
    assert isinstance(failure.value, BodiesTooLarge)
    assert str(failure.value) == "the URLs lead to more than 1000 bytes"
    assert failure.value.status == 413


# What is learnt from a failure


def denied(net: Network) -> None:
    net.names.table["a.example"] = [[PRIVATE]]
    net.fetch()


def unknown(net: Network) -> None:
    net.names.table["a.example"] = [[]]
    net.fetch()


def not_followed(net: Network) -> None:
    net.fetch("file:///etc/passwd")


def no_url(net: Network) -> None:
    net.fetch("http://[::1]/")


def refused(net: Network) -> None:
    net.fetch()
    factory, connector = net.reactor.tcpClients[0][2], net.reactor.connectors[0]
    factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))


def filtered(net: Network) -> None:
    net.fetch()


def silent(net: Network) -> None:
    net.fetch()
    net.accept()


def not_found(net: Network) -> None:
    net.fetch()
    net.accept().says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def no_http(net: Network) -> None:
    net.fetch()
    net.accept().says(b"SSH-2.0-OpenSSH\r\n")


def too_large(net: Network) -> None:
    net.fetch()
    net.accept().says(ok(b"x" * 1001))


def led_inside(net: Network) -> None:
    net.names.table["inside.example"] = [[PRIVATE]]
    net.fetch()
    net.accept().says(redirect(b"http://inside.example/"))


def led_in_circles(net: Network) -> None:
    net.fetch()
    for _ in range(4):
        net.accept().says(redirect(b"/x"))


@pytest.mark.parametrize(
    ("fail", "outcome"),
    [
        (denied, "denied"),
        (unknown, "failed"),
        (not_followed, "denied"),
        (no_url, "denied"),
        (refused, "failed"),
        (filtered, "timeout"),
        (silent, "timeout"),
        (not_found, "failed"),
        (no_http, "failed"),
        (too_large, "too_large"),
        (led_inside, "denied"),
        (led_in_circles, "failed"),
    ],
)
def test_every_failure_is_told_when_the_time_is_over_and_no_earlier(
    fail: Callable[[Network], None], outcome: str
) -> None:
    net = Network(url_timeout=8, url_size=1000)
    fail(net)
    for _ in range(31):
        net.reactor.advance(0.25)
        assert net.results == []
    if outcome != "timeout":
        assert net.observer.outcomes == [outcome]
    net.reactor.advance(0.25)
    [failure] = net.results
    assert failure.value.outcome == outcome
    assert net.observer.outcomes == [outcome]
    assert not net.reactor.getDelayedCalls()


def test_a_failure_that_waits_to_be_told_holds_nothing_that_was_read() -> None:
    def of_fetches() -> list[object]:
        return [each for each in gc.get_objects() if isinstance(each, (Body, Hop))]

    before = of_fetches()
    net = Network(url_size=1000)
    net.fetch()
    connection = net.accept()
    connection.says(CHUNKED)
    kept = [weakref.ref(each) for each in of_fetches() if each not in before]
    assert len(kept) == 2
    connection.says(chunks(b"x" * 1001, 100))
    assert net.observer.outcomes == ["too_large"]
    del connection
    net.reactor.tcpClients.clear()
    net.reactor.connectors.clear()
    gc.collect()
    assert net.results == []
    assert [ref() for ref in kept] == [None, None]


def test_what_became_of_a_fetch_is_counted_and_timed() -> None:
    net = Network()
    net.fetch()
    net.reactor.advance(2)
    net.accept().says(ok(b"body"))
    net.fetch()
    net.reactor.advance(1)
    connection = net.accept()
    connection.says(ok(b"body")[:-1])
    connection.hangs_up()
    net.fetch().cancel()
    assert net.observer.seen == [
        (Fetched.DONE, 2, 4),
        (Fetched.FAILED, 1, 3),
        (Fetched.CANCELLED, 0, 0),
    ]


def test_the_log_has_the_reason_but_not_of_everything() -> None:
    net = Network({"a.example": [[PRIVATE]]})
    with capturedLogs() as logs:
        for _ in range(200):
            net.fetch()
        net.reactor.advance(INTERVAL)
        told = [formatEvent(event) for event in logs]
    assert told[0] == (
        "A URL was not fetched (denied): 'http://a.example/x': 'a.example' leads to "
        "a denied address: IPv4Address(type='TCP', host='10.0.0.1', port=80)"
    )
    assert len(told) == LINES + 1
    assert told[-1].startswith(f"... and {200 - LINES} more like it")
    assert net.observer.outcomes == ["denied"] * 200


def test_a_client_that_is_gone_is_not_logged() -> None:
    net = Network()
    with capturedLogs() as logs:
        net.fetch().cancel()
    assert not logs


def test_the_log_is_not_told_the_query() -> None:
    net = Network({"a.example": [[PRIVATE]]})
    net.fetch("http://a.example/x@y?signature=secret")
    assert net.why().startswith("'http://a.example/x@y': ")
    assert "secret" not in net.why()


def test_a_rule_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a host name"):
        FetchPolicy(("a b",))


class Greeter(Protocol):
    """Answers whatever is said to it, once."""

    def connectionMade(self) -> None:
        self.factory.count += 1

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(ok(b"body"))  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Counting(Factory):
    protocol = Greeter
    noisy = False
    count = 0


class OnLoopback(TestCase):
    """With sockets, threads and the system's own reading of addresses."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.served = Counting()
        self.port = self.listen(self.served)

    def listen(self, factory: Factory) -> int:
        port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def fetcher(self, *allow: str, https: Any = None) -> Fetcher:
        fetcher = Fetcher(
            self.reactor, FetchPolicy(allow, FetchLimits(url_timeout=0.5)), https=https
        )
        self.addCleanup(fetcher.close)
        return fetcher

    async def test_allowed_by_range_and_by_host(self) -> None:
        for allow, host in (("127.0.0.0/8", "127.1"), ("localhost", "localhost")):
            bodies = await self.fetcher(allow).fetch([f"http://{host}:{self.port}/"])
            assert bodies == [b"body"]
        assert self.served.count == 2

    async def test_a_name_that_does_not_exist(self) -> None:
        fetched = self.fetcher().fetch(["http://does-not-exist.invalid/"])
        await self.assertFailure(fetched, FetchFailed)

    async def serve_tls(self, key: Any) -> int:
        """Serve with a certificate of localhost; the port."""
        from twisted.internet.endpoints import SSL4ServerEndpoint

        port = await SSL4ServerEndpoint(
            self.reactor, 0, key.options(), interface="127.0.0.1"
        ).listen(self.served)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def test_https_needs_a_trusted_certificate(self) -> None:
        key = self_signed()
        url = f"https://localhost:{await self.serve_tls(key)}/"
        untrusted = self.fetcher("127.0.0.0/8", "localhost").fetch([url])
        error = await self.assertFailure(untrusted, FetchFailed)
        assert "certificate verify failed" in str(error)
        trusting = BrowserLikePolicyForHTTPS(trustRoot=key)
        fetcher = self.fetcher("localhost", https=trusting)
        assert await fetcher.fetch([url]) == [b"body"]

    async def test_https_trusts_the_platform_but_nobody_under_another_name(
        self,
    ) -> None:
        key = self_signed()
        port = await self.serve_tls(key)
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bundle = Path(folder.name, "bundle.pem")
        bundle.write_bytes(key.dumpPEM())
        environment = {**os.environ, "SSL_CERT_FILE": str(bundle)}
        environment.pop("SSL_CERT_DIR", None)
        self.patch(os, "environ", environment)
        fetcher = self.fetcher("127.0.0.0/8")
        assert await fetcher.fetch([f"https://localhost:{port}/"]) == [b"body"]
        for host in ("127.0.0.1", "127.1"):
            other = fetcher.fetch([f"https://{host}:{port}/"])
            await self.assertFailure(other, FetchFailed)


def self_signed() -> Any:
    """A certificate for localhost that nobody signed but itself."""
    from datetime import datetime, timedelta, timezone

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from twisted.internet.ssl import PrivateCertificate

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    return PrivateCertificate.loadPEM(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
