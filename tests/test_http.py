from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import directlyProvides

from tests.deferreds import result
from tests.web_client import Connection, Wire, request
from txinfer.ends import CLOSE_SECONDS, LINGER_BYTES, LINGER_SECONDS, PROBE_SECONDS
from txinfer.http import LARGE_READ, READ_AHEAD
from txinfer.limits import DoorLimits
from txinfer.metrics import Metrics
from txinfer.observe import Shed
from txinfer.quota import INTERVAL, LINES
from txinfer.site import (
    DRAIN_GRACE,
    DRAIN_LIMIT,
    MOST_LATE,
    MOST_TOLD,
    TICK,
    BoundedSite,
)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = {"Transfer-Encoding": "chunked"}


class Echo(Resource):
    """Answers with the body at once, or under ``/later`` when told to."""

    isLeaf = True
    head = b""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.waiting: list[Any] = []
        self.gone = 0

    def render(self, request: Any) -> bytes | int:
        body: bytes = request.content.read()
        self.bodies.append(body)
        if request.path == b"/broken":
            raise RuntimeError("a secret")
        if request.path == b"/half":
            request.write(b"half")
            raise RuntimeError("a secret")
        if request.path != b"/later":
            return body
        self.waiting.append(request)
        request.notifyFinish().addErrback(self._count)
        return NOT_DONE_YET

    def finish(self, body: bytes = b"late") -> None:
        """Answer the oldest request that waits."""
        request = self.waiting.pop(0)
        request.write(body)
        request.finish()

    def _count(self, _: object) -> None:
        self.gone += 1


class Bench:
    """A site that takes ten bytes, and its only resource."""

    def __init__(self, **kwargs: Any) -> None:
        self.clock = Clock()
        self.echo = Echo()
        self.told = Metrics(self.clock)
        self.site = BoundedSite(self.echo, body_limit=10, reactor=self.clock, **kwargs)
        self.site.observer = self.told

    def connect(self, *data: bytes) -> Connection:
        connection = Connection(self.site)
        connection.send(*data)
        return connection

    def advance(self, seconds: float, *connections: Connection) -> None:
        self.clock.advance(seconds)
        for connection in connections:
            connection.settle()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def sheds(bench: Bench) -> dict[Shed, int]:
    """How many were turned away for want of room, by reason."""
    return bench.told.methods["", ""].sheds


def assert_refused(connection: Connection, status: int) -> None:
    """One JSON error in its full length, after which the server closes its side."""
    answer = connection.answer()
    assert answer.status == status
    assert answer.error
    assert answer["Connection"] == "close"
    assert answer["Content-Length"] == str(len(answer.body))
    assert connection.wire.half_closed
    assert connection.open


# The bound


def test_a_body_up_to_the_bound_is_taken(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"0123456789"))
    assert connection.answer().body == b"0123456789"
    assert connection.open


def test_a_longer_announcement_is_refused_before_the_body(bench: Bench) -> None:
    head = request("POST", "/", headers={"Content-Length": "11"})
    connection = bench.connect(head)
    assert_refused(connection, 413)
    assert connection.answer().error == "the request body is larger than 10 bytes"
    assert not bench.echo.bodies


def test_a_refused_announcement_is_not_told_to_continue(bench: Bench) -> None:
    fields = {"Content-Length": "99999999999999", "Expect": "100-continue"}
    connection = bench.connect(request("POST", "/", headers=fields))
    assert_refused(connection, 413)
    assert CONTINUE not in connection.received


def test_a_body_within_the_bound_is_told_to_continue(bench: Bench) -> None:
    fields = {"Content-Length": "3", "Expect": "100-continue"}
    connection = bench.connect(request("POST", "/", headers=fields))
    assert connection.received == CONTINUE
    connection.send(b"abc")
    assert connection.answer().body == b"abc"


def test_a_chunked_body_up_to_the_bound_is_taken(bench: Bench) -> None:
    head = request("POST", "/", headers=CHUNKED)
    connection = bench.connect(head, b"5\r\n01234\r\n", b"5\r\n56789\r\n", b"0\r\n\r\n")
    assert connection.answer().body == b"0123456789"


@pytest.mark.parametrize(
    "chunks",
    [
        [b"5\r\n01234\r\n", b"6\r\n56789!\r\n", b"0\r\n\r\n"],
        [b"b\r\n01234567890\r\n0\r\n\r\n"],
        [b"ffffffff\r\n", b"x" * 11],
    ],
)
def test_a_longer_chunked_body_is_refused(bench: Bench, chunks: list[bytes]) -> None:
    connection = bench.connect(request("POST", "/", headers=CHUNKED), *chunks)
    assert_refused(connection, 413)
    assert not bench.echo.bodies


def test_nothing_is_stored_past_the_bound(bench: Bench) -> None:
    head = request("POST", "/", headers=CHUNKED)
    connection = bench.connect(head, b"ffffffff\r\n", *[b"x" * 7] * 100)
    assert_refused(connection, 413)
    assert bench.site.held == 0


@pytest.mark.parametrize("form", [{"Content-Length": "999"}, CHUNKED])
def test_what_still_comes_after_a_refusal_is_read_and_dropped(
    bench: Bench, form: dict[str, str]
) -> None:
    connection = bench.connect(request("POST", "/", headers=form), b"ff\r\n" * 9)
    if not connection.received:
        connection.send(b"ff\r\n" + b"x" * 255)
    connection.send(*[request("GET", "/")] * 5)
    assert_refused(connection, 413)
    assert not bench.echo.bodies


def test_a_refused_client_that_goes_on_is_cut_after_a_while(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"x" * 11))
    bench.advance(LINGER_SECONDS - 0.1, connection)
    assert connection.open
    bench.advance(TICK, connection)
    assert not connection.open
    assert connection.wire.disconnected


def test_a_refused_client_that_sends_very_much_is_cut_at_once(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", headers={"Content-Length": "11"}))
    connection.send(bytes(LINGER_BYTES))
    assert connection.open
    connection.send(b"x")
    assert connection.wire.disconnected


def test_a_refused_client_that_is_done_is_closed_at_once(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"x" * 11))
    connection.half_close()
    assert not connection.open
    assert not connection.wire.disconnected


def test_no_timer_is_left_once_a_refused_client_is_gone(bench: Bench) -> None:
    bench.connect(request("POST", "/", b"x" * 11)).hang_up()
    assert not bench.clock.getDelayedCalls()


def test_refusals_carry_the_headers_of_the_site(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Echo, "head", b"Access-Control-Allow-Origin: *\r\n")
    bench = Bench()
    for sent in (b"?\r\n\r\n", request("POST", "/", b"x" * 11)):
        answer = bench.connect(sent).answer()
        assert answer["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_refusals_have_the_name_of_their_request(bench: Bench, size: int) -> None:
    named = {"X-Request-Id": "mine"}
    for sent in (
        request("POST", "/", b"x" * 11, named),
        request("POST", "/", headers=named | CHUNKED) + b"b\r\n01234567890\r\n",
        request("GET", "/", headers=named | {"Expect": "a-miracle"}),
    ):
        segments = [sent[i : i + size] for i in range(0, len(sent), size)]
        assert bench.connect(*segments).answer()["X-Request-Id"] == "mine"


def test_refusals_have_a_name_of_their_own_otherwise(bench: Bench) -> None:
    named = request("GET", "/", headers={"X-Request-Id": "mine"})
    after_another = bench.connect(named, b"?\r\n\r\n").answers()[1]
    full = limited(connections=1)
    full.connect()
    refusals = (
        after_another,
        bench.connect(b"?\r\n").answer(),
        full.connect().answer(),
    )
    names = {refusal["X-Request-Id"] for refusal in refusals}
    assert len(names) == 3
    assert not names & {None, "mine"}


def test_a_refusal_under_tls_closes_tls_and_not_the_socket_under_it(
    bench: Bench,
) -> None:
    wire = Wire()
    directlyProvides(wire, ISSLTransport)
    connection = Connection(bench.site, wire)
    connection.channel.dataReceived(request("POST", "/", b"x" * 11))
    assert connection.answer().status == 413
    assert not connection.wire.half_closed
    assert connection.wire.disconnecting
    # TLS waits for the client's last word only while nobody else may write.
    assert connection.wire.producer is None


def test_http_2_is_not_offered(bench: Bench) -> None:
    assert bench.site.acceptableProtocols() == [b"http/1.1"]


# Bad syntax


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"GET\r\n",
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET /\xff HTTP/1.1\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1" + b"0" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
    ],
)
@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_what_is_not_http_is_refused_once_in_json(
    bench: Bench, sent: bytes, size: int
) -> None:
    segments = [sent[i : i + size] for i in range(0, len(sent), size)]
    connection = bench.connect(*segments)
    connection.send(request("GET", "/"), b"more")
    assert_refused(connection, 400)
    assert not bench.echo.bodies


def test_bad_syntax_after_a_good_request_is_refused_in_its_turn(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1") + b"nonsense\r\n\r\n")
    assert not connection.received
    bench.echo.finish()
    assert [answer.status for answer in connection.answers()] == [200, 400]


# Several requests


def test_a_connection_is_kept(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"1"), request("POST", "/", b"2"))
    assert [answer.body for answer in connection.answers()] == [b"1", b"2"]
    assert connection.open


def test_a_connection_is_closed_when_the_client_says_so(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"1", {"Connection": "close"}))
    assert connection.answer()["Connection"] == "close"
    assert not connection.open


def test_requests_sent_in_advance_are_answered_in_order(bench: Bench) -> None:
    paths = ["/later", "/", "/later", "/"]
    sent = [request("POST", path, b"%d" % i) for i, path in enumerate(paths)]
    connection = bench.connect(b"".join(sent))
    assert bench.echo.bodies == [b"0"]
    bench.echo.finish(b"0")
    bench.echo.finish(b"2")
    assert [answer.body for answer in connection.answers()] == [b"0", b"1", b"2", b"3"]


def test_an_idle_connection_is_closed_after_the_timeout() -> None:
    bench = Bench(limits=DoorLimits(idle_timeout=60.0))
    connection = bench.connect(request("POST", "/", b"1"))
    bench.advance(60, connection)
    assert not connection.open


# Failures


def test_a_resource_that_raises_is_answered_in_json(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/broken", b"1"))
    answer = connection.answer()
    assert (answer.status, answer.error) == (500, "internal error")
    assert connection.open


def test_resources_that_raise_do_not_fill_the_log(bench: Bench) -> None:
    with capturedLogs() as logs:
        for _ in range(LINES + 5):
            bench.connect(request("POST", "/broken", b"1")).hang_up()
        bench.clock.advance(INTERVAL)
    assert len([event for event in logs if "log_failure" in event]) == LINES
    assert formatEvent(logs[-1]).startswith("... and 5 more like it")


def test_an_answer_that_breaks_off_is_cut_short(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/half", b"1"))
    assert b"half" in connection.received
    assert b"secret" not in connection.received
    assert b"error" not in connection.received
    assert not connection.open


# Clients that leave


def test_a_client_that_hangs_up_is_noticed(bench: Bench) -> None:
    bench.connect(request("POST", "/later", b"1")).hang_up()
    assert bench.echo.gone == 1
    assert not bench.site.channels


def test_an_idle_client_that_half_closes_is_closed(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"1"))
    connection.half_close()
    assert connection.answer().body == b"1"
    assert not connection.open


def test_a_client_that_half_closes_gets_its_answer(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.half_close()
    assert connection.open
    bench.echo.finish()
    connection.settle()
    assert connection.answer().body == b"late"
    assert not connection.open
    assert not bench.clock.getDelayedCalls()


def test_a_client_that_half_closes_gets_all_its_answers(bench: Bench) -> None:
    paths = ["/later", "/", "/later", "/"]
    sent = [request("POST", path, b"%d" % i) for i, path in enumerate(paths)]
    connection = bench.connect(b"".join(sent))
    connection.half_close()
    bench.echo.finish(b"0")
    connection.settle()
    bench.echo.finish(b"2")
    connection.settle()
    assert [answer.body for answer in connection.answers()] == [b"0", b"1", b"2", b"3"]
    assert not connection.open


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost",
        request("POST", "/", b"12345")[:-1],
        request("POST", "/", headers=CHUNKED) + b"1\r\nx\r\n",
    ],
)
def test_a_request_that_is_cut_short_is_refused(bench: Bench, sent: bytes) -> None:
    connection = bench.connect(sent)
    connection.half_close()
    answer = connection.answer()
    assert (answer.status, answer.error) == (400, "the request was cut short")
    assert not connection.open
    assert not bench.echo.bodies


def test_whether_a_client_that_half_closed_is_gone_is_found_out(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.half_close()
    # If it is gone its host resets the connection, and the second one fails.
    assert connection.received == CONTINUE
    connection.half_close()
    assert connection.received == CONTINUE
    bench.advance(PROBE_SECONDS, connection)
    assert connection.received == CONTINUE + CONTINUE
    bench.advance(1000, connection)
    assert connection.received == CONTINUE + CONTINUE
    connection.hang_up()
    assert bench.echo.gone == 1
    assert not bench.clock.getDelayedCalls()


def test_a_client_of_http_1_0_is_sent_no_interim_answer(bench: Bench) -> None:
    connection = bench.connect(b"GET /later HTTP/1.0\r\n\r\n")
    connection.half_close()
    bench.advance(PROBE_SECONDS, connection)
    assert not connection.received
    bench.echo.finish()
    assert connection.answer().body == b"late"


def test_an_answer_that_has_begun_is_not_interrupted(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.half_close()
    bench.echo.waiting[0].write(b"some ")
    bench.advance(PROBE_SECONDS, connection)
    bench.echo.finish(b"more")
    assert connection.answer().body == b"some more"


# Draining


def is_drained(drained: Deferred[None]) -> bool:
    return bool(drained.called)


def test_a_site_without_connections_is_drained_at_once(bench: Bench) -> None:
    assert result(bench.site.drain()) is None


def test_an_idle_connection_is_closed_after_the_grace(bench: Bench) -> None:
    connection = bench.connect()
    drained = bench.site.drain()
    bench.advance(DRAIN_GRACE - 0.01, connection)
    assert connection.open
    assert not is_drained(drained)
    bench.advance(0.01, connection)
    assert not connection.open
    assert not connection.received
    assert is_drained(drained)


def test_an_idle_client_under_tls_is_not_waited_for(bench: Bench) -> None:
    wire = Wire()
    directlyProvides(wire, ISSLTransport)
    connection = Connection(bench.site, wire)
    bench.site.drain()
    bench.clock.advance(DRAIN_GRACE)
    # TLS closes only when nobody writes any more, and when the client agrees.
    assert wire.disconnecting
    assert wire.producer is None
    bench.clock.advance(CLOSE_SECONDS)
    assert wire.disconnected
    connection.settle()
    assert not bench.clock.getDelayedCalls()


def test_a_request_within_the_grace_is_answered_and_the_connection_closed(
    bench: Bench,
) -> None:
    connection = bench.connect(request("POST", "/", b"1"))
    drained = bench.site.drain()
    connection.send(request("POST", "/", b"2"))
    first, second = connection.answers()
    assert first["Connection"] is None
    assert (second.body, second["Connection"]) == (b"2", "close")
    assert not connection.open
    assert is_drained(drained)


def test_what_is_under_way_is_answered_however_long_it_takes(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    drained = bench.site.drain()
    bench.advance(1000, connection)
    assert connection.open
    assert not is_drained(drained)
    bench.echo.finish()
    connection.settle()
    answer = connection.answer()
    assert (answer.body, answer["Connection"]) == (b"late", "close")
    assert not connection.open
    assert is_drained(drained)


def test_clients_that_do_not_go_on_are_cut_off(bench: Bench) -> None:
    dripping = bench.connect(request("POST", "/", b"12345")[:-1])
    waiting = bench.connect(request("POST", "/later", b"1"))
    drained = bench.site.drain()
    bench.advance(DRAIN_LIMIT, dripping, waiting)
    assert not dripping.open
    assert waiting.open
    bench.echo.finish()
    waiting.settle()
    assert waiting.answer().body == b"late"
    assert is_drained(drained)


def test_a_request_that_is_half_there_is_read_and_answered(bench: Bench) -> None:
    sent = request("POST", "/", b"12345")
    for cut in (5, sent.index(b"\r\n\r\n") + 5):
        connection = bench.connect(sent[:cut])
        drained = bench.site.drain()
        bench.advance(DRAIN_GRACE, connection)
        connection.send(sent[cut:])
        assert connection.answer().body == b"12345"
        assert connection.answer()["Connection"] == "close"
        assert is_drained(drained)


def test_a_refused_connection_is_drained_too(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"x" * 11))
    drained = bench.site.drain()
    bench.advance(LINGER_SECONDS, connection)
    assert connection.answer().status == 413
    assert is_drained(drained)


def test_draining_ends_with_the_last_connection(bench: Bench) -> None:
    connections = [bench.connect() for _ in range(3)]
    drained = bench.site.drain()
    for connection in connections:
        assert not is_drained(drained)
        connection.hang_up()
    assert is_drained(drained)


def test_a_site_that_listens_again_keeps_connections_again(bench: Bench) -> None:
    bench.site.doStart()
    bench.site.drain()
    bench.site.doStop()
    bench.site.doStart()
    connection = bench.connect(request("POST", "/", b"1"))
    assert connection.answer()["Connection"] is None
    assert connection.open
    bench.site.doStop()


# What llhttp lets pass


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


POST = "POST / HTTP/1.1"
HOST = "Host: example.org"
CODED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("GET / HTTP/1.1"), 400),
        (head("GET / HTTP/1.1", HOST, HOST), 400),
        (head("GET / HTTP/1.1", "Host: a", "Host: b"), 400),
        (head("GET / HTTP/1.1", "Host: a/b"), 400),
        (head("GET / HTTP/1.1", "Host: a b"), 400),
        (head("GET / HTTP/1.1", "Host: a:b"), 400),
        (head("GET / HTTP/1.1", "Host: u@a"), 400),
        (head("GET / HTTP/1.0", "Host: a@b"), 400),
        (head("GET / HTTP/2.0", HOST), 505),
        (head("GET / HTTP/0.9", HOST), 505),
        (head("PRI * HTTP/2.0", "", "SM", ""), 400),
        (head("GET * HTTP/1.1", HOST), 400),
        (head("GET /a#b HTTP/1.1", HOST), 400),
        (head("CONNECT a:443 HTTP/1.1", HOST), 400),
        (head("CONNECT http://a HTTP/1.1", HOST), 400),
        (head("GET ftp://a/ HTTP/1.1", HOST), 400),
        (head("BREW / HTTP/1.1", HOST), 400),
        (head("get / HTTP/1.1", HOST), 400),
        (head("POST / HTTP/1.0", CODED) + b"0\r\n\r\n", 400),
        (head(POST, HOST, "Transfer-Encoding: gzip, chunked"), 400),
        (head(POST, HOST, "Transfer-Encoding: chunked;q=1"), 400),
        (head(POST, HOST, CODED, CODED), 400),
        (head(POST, HOST, "Transfer-Encoding : chunked"), 400),
        (head(POST, HOST, "Transfer-Encoding:", "Content-Length: 1") + b"x", 400),
        (head(POST, HOST, "Content-Length: 1", "Content-Length: 1") + b"x", 400),
        (head(POST, HOST, "Content-Length: 1, 1") + b"x", 400),
        (head(POST, HOST, "Content-Length: +1") + b"x", 400),
        (head(POST, HOST, "Content-Length: 0x1") + b"x", 400),
        (head(POST, HOST, "Content-Length:") + b"x", 400),
        (head(POST, HOST, "A: b", " folded"), 400),
        (head(POST, HOST, "Expect: a-miracle", "Content-Length: 1"), 417),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (head(POST, HOST, CODED) + b"1 \r\nx\r\n0\r\n\r\n", 400),
        (head(POST, HOST, CODED) + b"1\nx\n0\n\n", 400),
        (head(POST, HOST, CODED) + b"-1\r\nx\r\n", 400),
        (head(POST, HOST, CODED) + b"1" * 17 + b"\r\n", 400),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_a_proxy_may_read_otherwise_is_refused(
    bench: Bench, sent: bytes, status: int, size: int
) -> None:
    segments = [sent[i : i + size] for i in range(0, len(sent), size)]
    connection = bench.connect(*segments)
    connection.send(request("GET", "/smuggled"))
    assert_refused(connection, status)
    assert not bench.echo.bodies
    assert bench.site.held == 0


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize(
    "sent",
    [
        head("GET http://example.org/later HTTP/1.1", HOST),
        head("GET /later HTTP/1.1", "Host: [::1]:8080"),
        head("GET /later HTTP/1.1", "Host:"),
        head("GET /later HTTP/1.1", HOST, "Connection: upgrade", "Upgrade: h2c"),
        head("GET /later?a=b HTTP/1.0"),
        b"\r\n" + head("GET /later HTTP/1.1", HOST),
    ],
)
def test_what_makes_sense_is_taken(bench: Bench, sent: bytes, size: int) -> None:
    connection = bench.connect(*[sent[i : i + size] for i in range(0, len(sent), size)])
    bench.echo.finish()
    assert connection.answer("GET").body == b"late"


def test_what_follows_an_upgrade_that_is_not_made_is_a_request(bench: Bench) -> None:
    fields = {"Connection": "upgrade", "Upgrade": "h2c"}
    coded = request("POST", "/", headers=fields | CHUNKED) + b"1\r\n2\r\n0\r\n\r\n"
    sent = request("POST", "/", b"1", fields) + coded + request("POST", "/", b"3")
    for size in (1, 10, 1000):
        segments = [sent[i : i + size] for i in range(0, len(sent), size)]
        connection = bench.connect(*segments)
        bodies = [answer.body for answer in connection.answers()]
        assert bodies == [b"1", b"2", b"3"]
    assert bench.site.held == 0


def test_options_of_the_server_itself_are_answered(bench: Bench) -> None:
    connection = bench.connect(head("OPTIONS * HTTP/1.1", HOST))
    assert connection.answer("OPTIONS").status == 204


# Limits, each at the limit and one past it


def limited(**limits: Any) -> Bench:
    return Bench(limits=DoorLimits(**limits))


def test_a_url_up_to_its_limit_is_taken() -> None:
    bench = limited(uri_size=20)
    good = bench.connect(request("POST", "/" + "a" * 19, b""))
    assert good.answer().status == 200
    bad = bench.connect(request("POST", "/" + "a" * 20, b""))
    assert_refused(bad, 414)


def test_a_url_without_end_is_refused() -> None:
    connection = limited(uri_size=20).connect(b"GET /", *[b"a" * 10] * 3)
    assert_refused(connection, 414)


def test_headers_up_to_their_limits_are_taken() -> None:
    bench = limited(header_count=3, header_size=100)
    base = len("Host: example.org\r\nContent-Length: 0\r\nA: \r\n")
    good = bench.connect(request("POST", "/", b"", {"A": "a" * (100 - base)}))
    assert good.answer().status == 200
    longer = bench.connect(request("POST", "/", b"", {"A": "a" * (101 - base)}))
    assert_refused(longer, 431)
    more = bench.connect(request("POST", "/", b"", {"A": "", "B": ""}))
    assert_refused(more, 431)


def test_repeated_headers_count_each() -> None:
    sent = head("GET / HTTP/1.1", HOST, *["A: b"] * 3)
    assert limited(header_count=4).connect(sent).answer("GET").status == 200
    assert_refused(limited(header_count=3).connect(sent), 431)


def test_a_header_without_end_is_refused() -> None:
    bench = limited(header_size=100, uri_size=20)
    connection = bench.connect(b"GET / HTTP/1.1\r\nA: ", *[b"a" * 50] * 2)
    assert not connection.received
    connection.send(b"a" * 50)
    assert_refused(connection, 431)


def test_chunks_up_to_their_limit_are_taken() -> None:
    bench = limited(chunks=3)
    for count, status in ((2, 200), (3, 400)):
        # The last chunk, of no bytes, counts too.
        body = b"1\r\nx\r\n" * count + b"0\r\n\r\n"
        connection = bench.connect(request("POST", "/", headers=CHUNKED) + body)
        assert connection.answer().status == status


def test_framing_that_outweighs_the_body_is_refused(bench: Bench) -> None:
    connection = bench.connect(
        request("POST", "/", headers=CHUNKED), *[b"1;" + b"x" * 10_000] * 7
    )
    assert_refused(connection, 400)


def test_bodies_of_all_up_to_their_limit_are_held() -> None:
    bench = limited(body_bytes=15)
    first = bench.connect(request("POST", "/later", b"0123456789"))
    second = bench.connect(request("POST", "/later", b"01234"))
    assert bench.site.held == 15
    assert_refused(bench.connect(request("POST", "/later", b"0")), 503)
    assert sheds(bench) == {Shed.BODIES: 1}
    second.hang_up()
    assert bench.site.held == 10
    bench.echo.finish()
    assert first.answer().status == 200
    assert bench.site.held == 0


def test_connections_up_to_their_limit_are_taken() -> None:
    bench = limited(connections=2)
    kept = [bench.connect() for _ in range(2)]
    refused = bench.connect()
    assert_refused(refused, 503)
    assert refused.answer()["Retry-After"] == "1"
    refused.hang_up()
    kept.pop().hang_up()
    assert not bench.connect().received


def test_past_the_limit_not_many_are_told() -> None:
    bench = limited(connections=1)
    bench.connect()
    refused = [bench.connect() for _ in range(MOST_TOLD)]
    one_more = bench.connect()
    assert one_more.wire.disconnected
    assert not one_more.received
    for connection in refused:
        assert_refused(connection, 503)
    # Who is not told is counted as turned away all the same, but not as answered.
    assert sheds(bench) == {Shed.CONNECTIONS: MOST_TOLD + 1}
    assert bench.told.methods["", ""].statuses == {503: MOST_TOLD}
    refused[0].hang_up()
    one_more.hang_up()
    assert_refused(bench.connect(), 503)


def test_connections_of_one_address_up_to_their_limit_are_taken() -> None:
    bench = limited(connections_per_address=1)
    kept = bench.connect()
    refused = bench.connect()
    assert_refused(refused, 503)
    assert sheds(bench) == {Shed.CONNECTIONS: 1}
    other = Wire(peerAddress=IPv4Address("TCP", "192.0.2.1", 1))
    elsewhere = Connection(bench.site, other)
    assert not elsewhere.received
    refused.hang_up()
    kept.hang_up()
    assert not bench.connect().received


# Deadlines


def test_headers_that_drip_are_cut_at_their_deadline(bench: Bench) -> None:
    connection = bench.connect()
    bench.advance(5)
    for byte in b"GET / HTT":
        connection.send(bytes([byte]))
        bench.advance(1)
    assert not connection.received
    bench.advance(1)
    assert_refused(connection, 408)


def test_a_body_that_drips_is_cut_at_its_deadline(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"0123456789")[:-10])
    for _ in range(9):
        bench.advance(3.3)
        connection.send(b"x")
    assert not connection.received
    bench.advance(0.3 + TICK)
    assert_refused(connection, 408)
    assert bench.site.held == 0


@pytest.mark.parametrize("length", [10_000, 100_000, 10_000_000])
def test_more_is_read_at_a_time_while_much_of_a_body_is_missing(length: int) -> None:
    bench = Bench()
    bench.site.body_limit = length
    connection = bench.connect()
    channel = connection.channel
    assert channel.read_size == READ_AHEAD
    for _ in range(2):
        connection.send(request("POST", "/later", bytes(length))[:-length])
        left = length
        while left:
            at_once = channel.read_size
            assert READ_AHEAD <= at_once <= LARGE_READ
            assert at_once >= min(left, LARGE_READ)
            part = bytes(min(left, at_once))
            left -= len(part)
            connection.send(part)
        # What comes while it is answered is kept.
        assert channel.read_size == READ_AHEAD
        bench.echo.finish()


def large_on(channel: Any, connection: Connection, head: bytes, length: int) -> None:
    """Send a large body, in a piece of its own."""
    connection.send(head)
    assert channel.read_size == length
    connection.send(bytes(length))


@pytest.mark.parametrize("is_known", [True, False])
def test_after_a_large_body_no_more_is_read_than_a_head(is_known: bool) -> None:
    length = 2 * READ_AHEAD
    bench = Bench()
    bench.site.body_limit = length
    connection = bench.connect()
    channel = connection.channel
    for number in range(3):
        name = "same" if is_known else f"no-{number}"
        fields = {"X-Request-Id": name}
        head = request("POST", "/", bytes(length), headers=fields)[:-length]
        large_on(channel, connection, head, length)
        assert channel.read_size == len(head)
    # It is not like the one before: its head comes in parts, and nothing is lost.
    small = request("POST", "/", b"0123456789", headers={"X": "x" * 100})
    size = channel.read_size
    connection.wire.clear()
    connection.send(small[:size])
    assert channel.read_size == READ_AHEAD
    connection.send(small[size:])
    assert connection.answer().body == b"0123456789"
    assert channel.read_size == READ_AHEAD


def test_a_body_in_one_piece_is_not_copied() -> None:
    bench = Bench()
    length = bench.site.body_limit = 2 * READ_AHEAD
    connection = bench.connect()
    body = bytes(length)
    head = request("POST", "/later", body)[:-length]
    for _ in range(2):
        connection.send(head, body)
        assert connection.channel.current.body is body
        bench.echo.finish()


def test_what_comes_after_a_refusal_is_dropped_in_large_pieces() -> None:
    bench = Bench()
    length = bench.site.body_limit = 2 * READ_AHEAD
    connection = bench.connect()
    head = request("POST", "/", bytes(length))[:-length]
    large_on(connection.channel, connection, head, length)
    bench.site.body_limit = 10
    connection.wire.clear()
    connection.send(head)
    assert_refused(connection, 413)
    assert connection.channel.read_size == READ_AHEAD


def test_many_that_are_late_together_do_not_hold_up_the_others(bench: Bench) -> None:
    connections = [bench.connect(b"GET / HTT") for _ in range(3 * MOST_LATE)]
    refused = 0
    seen = [0]

    def count(_: int, __: object) -> None:
        nonlocal refused
        refused += 1

    def turn(left: int) -> None:
        seen.append(refused)
        if left:
            bench.clock.callLater(0, turn, left - 1)

    bench.site.on_refusal = count
    bench.clock.callLater(bench.site.limits.header_timeout, turn, 20)
    bench.advance(bench.site.limits.header_timeout + TICK)
    assert max(after - before for before, after in pairwise(seen)) == MOST_LATE
    for connection in connections:
        assert_refused(connection, 408)


def test_a_client_that_does_not_read_is_cut(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.channel.pauseProducing()
    bench.echo.finish()
    bench.advance(29.9, connection)
    assert connection.open
    bench.advance(TICK, connection)
    assert connection.wire.disconnected


def test_a_client_that_reads_on_is_kept(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.channel.pauseProducing()
    bench.echo.finish()
    connection.send(request("POST", "/", b"2"))
    bench.advance(20, connection)
    # What it asks for next is not answered before it has read.
    assert len(connection.answers()) == 1
    connection.channel.resumeProducing()
    bench.advance(20, connection)
    assert [answer.body for answer in connection.answers()] == [b"late", b"2"]
    assert connection.open


@pytest.mark.parametrize("end", ["resumeProducing", "connectionLost"])
def test_an_answer_that_waits_to_be_read_is_held(bench: Bench, end: str) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    bench.echo.finish()
    assert bench.site.held == 0
    # What Twisted's TCP transports keep of what they could not send.
    wire: Any = connection.wire
    wire.dataBuffer, wire.offset, wire._tempDataLen = b"x" * 70, 20, 7
    connection.channel.pauseProducing()
    assert bench.site.held == 57
    getattr(connection.channel, end)()
    assert bench.site.held == 0


def test_an_answer_that_is_not_taken_does_not_keep_a_connection(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/", b"1", {"Connection": "close"}))
    assert connection.wire.disconnecting
    connection = Connection(bench.site)
    connection.channel.dataReceived(request("POST", "/", b"1", {"Connection": "close"}))
    bench.advance(CLOSE_SECONDS)
    assert connection.wire.disconnected


def test_what_is_sent_in_advance_is_kept_up_to_one_read(bench: Bench) -> None:
    connection = bench.connect(request("POST", "/later", b"1"))
    connection.send(*[request("POST", "/", b"2")] * 500)
    assert connection.wire.producerState == "producing"
    connection.send(*[request("POST", "/", b"2")] * 700)
    assert connection.wire.producerState == "paused"
    bench.echo.finish()
    assert connection.wire.producerState == "producing"
    assert len(connection.answers()) == 1201


def test_a_slow_client_pauses_the_stream(bench: Bench) -> None:
    class Source:
        told: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            return lambda: self.told.append(name)

    connection = bench.connect(request("GET", "/later"))
    (waiting,) = bench.echo.waiting
    waiting.registerProducer(Source(), True)
    connection.channel.pauseProducing()
    connection.channel.resumeProducing()
    connection.channel.stopProducing()
    assert Source.told == ["pauseProducing", "resumeProducing", "stopProducing"]
    waiting.unregisterProducer()
    bench.echo.finish()
    assert connection.answer("GET").body == b"late"
