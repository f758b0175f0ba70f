"""Who is let in, and what is said to those who are not."""

from __future__ import annotations

from collections.abc import Container

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from tests.web_client import Connection, WebClient, request
from txinfer.guard import Guard, client_of, network
from txinfer.keys import parse_keys
from txinfer.limits import ClientLimits
from txinfer.web import CORS_HEADERS, PREFLIGHT_HEADERS, Root, reply

KEY = "0123456789abcdef"
KEYS = parse_keys(f"alice:{KEY}\nbob:fedcba9876543210")
BEARER = {"Authorization": f"Bearer {KEY}"}
ANY_RATE = ClientLimits()
ONE_A_SECOND = ClientLimits(rate_limit=1, rate_burst=2)


class Who(Resource):
    """Says whose request it is."""

    isLeaf = True

    def render(self, request: IRequest) -> bytes:
        return reply(request, client_of(request))


def web(
    limits: ClientLimits = ANY_RATE,
    *,
    keys: bool = True,
    open: Container[bytes] = (),
    unmetered: Container[bytes] = (),
) -> WebClient:
    clock = Clock()
    guard = Guard(clock, KEYS if keys else None, limits, open, unmetered)
    root = Root(Who(), CORS_HEADERS, PREFLIGHT_HEADERS, guard)
    root.putChild(b"healthz", Who())
    client = WebClient(root)
    client.clock = clock
    return client


@pytest.mark.parametrize(
    "headers",
    [
        BEARER,
        {"authorization": f"bearer   {KEY} "},
        {"Authorization": f"BEARER {KEY}"},
        {"X-API-Key": KEY},
        {"x-api-key": KEY, "Authorization": "Basic b2Z0ZW46YSBwcm94eSdz"},
    ],
)
def test_a_known_key_is_let_in(headers: dict[str, str]) -> None:
    answer = web().ask("POST", "/names", b"", headers)
    assert (answer.status, answer.value) == (200, "alice")


@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/names", "//", "/healthz", "/%68ealthz"])
def test_without_a_key_nothing_is_answered(verb: str, path: str) -> None:
    answer = web().ask(verb, path)
    assert answer.status == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="txinfer"'
    if verb != "HEAD":
        assert answer.error == "an API key is needed"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer 0123456789abcdeg"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"X-API-Key": "é"},
        {"X-API-Key": "", **BEARER},
    ],
)
def test_a_key_that_is_not_known_is_refused(headers: dict[str, str]) -> None:
    answer = web().ask("GET", "/names", None, headers)
    assert answer.status == 401
    assert answer.error == "the API key is not known"
    assert answer["WWW-Authenticate"] == 'Bearer realm="txinfer", error="invalid_token"'
    assert answer["Access-Control-Allow-Origin"] == "*"


def test_preflights_and_open_paths_need_no_key() -> None:
    client = web(open={b"healthz"})
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://a.example"}
    assert client.ask("OPTIONS", "/names", None, asked).status == 204
    assert client.get("/healthz").status == 200
    assert client.get("/healthz/names").status == 200
    assert client.get("/names").status == 401


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_a_preflight_needs_no_key_whatever_its_body(body: bytes | None) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://a.example"}
    answer = web().ask("OPTIONS", "/names", body, asked)
    assert answer.status == 204
    assert web().ask("OPTIONS", "/names", body).status == 401


def test_past_its_rate_a_client_is_told_when_to_come_back() -> None:
    client = web(ONE_A_SECOND)
    statuses = [client.ask("GET", "/", None, BEARER).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = client.ask("GET", "/", None, BEARER)
    assert answer.error == "more requests than this client may make"
    assert answer["Retry-After"] == "1"
    client.clock.advance(1)
    assert client.ask("GET", "/", None, BEARER).status == 200


def test_rates_are_of_keys_wherever_they_come_from() -> None:
    client = web(ONE_A_SECOND)
    for _ in range(3):
        client.ask("GET", "/", None, BEARER)
    other = {"X-API-Key": "fedcba9876543210"}
    assert client.ask("GET", "/", None, other).value == "bob"


def test_guessing_keys_is_bounded_by_the_rate_of_the_address() -> None:
    client = web(ONE_A_SECOND)
    wrong = {"X-API-Key": "a guess"}
    statuses = [client.ask("GET", "/", None, wrong).status for _ in range(3)]
    assert statuses == [401, 401, 429]
    # Those who know a key at that address are not shut out.
    assert client.ask("GET", "/", None, BEARER).status == 200


def test_without_keys_rates_are_of_addresses() -> None:
    client = web(ONE_A_SECOND, keys=False)
    assert client.get("/").value == "192.168.1.1"
    assert [client.get("/").status for _ in range(2)] == [200, 429]


def test_a_burst_is_a_seconds_requests_by_default() -> None:
    client = web(ClientLimits(rate_limit=2.5), keys=False)
    assert [client.get("/").status for _ in range(4)] == [200, 200, 200, 429]


def test_some_paths_do_not_count() -> None:
    client = web(ONE_A_SECOND, keys=False, unmetered={b"metrics"}, open={b"healthz"})
    for _ in range(5):
        assert client.get("/metrics").status == 200
        assert client.get("/healthz").status == 200
    assert client.get("/").status == 200


def test_a_request_that_is_let_in_is_not_counted_twice() -> None:
    guard = Guard(Clock(), None, ClientLimits(rate_limit=1))
    inner, outer = Root(Who(), guard=guard), Resource()
    outer.putChild(b"", inner)
    mounted = Root(inner, guard=guard)
    client = WebClient(mounted)
    assert client.get("/").status == 200
    assert client.get("/").status == 429


def test_a_guard_without_rules_admits_all() -> None:
    assert Guard(Clock(), None, ClientLimits()).admits_all
    assert not Guard(Clock(), KEYS, ClientLimits()).admits_all
    assert not Guard(Clock(), None, ONE_A_SECOND).admits_all


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        (IPv4Address("TCP", "10.1.2.3", 4), "10.1.2.3"),
        (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 4), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "2001:db8:1:2::9", 4), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "::ffff:10.1.2.3", 4), "10.1.2.3"),
        (IPv6Address("TCP", "fe80::1%eth0", 4), "fe80::/64"),
        (UNIXAddress("/run/a.sock"), ""),
        (UNIXAddress(None), ""),
    ],
)
def test_an_address_is_known_by_its_network(address: IAddress, known_as: str) -> None:
    assert network(address) == known_as


def test_a_client_on_ipv6_is_its_network() -> None:
    site = web(keys=False).site

    class Six(StringTransport):
        def setTcpNoDelay(self, enabled: bool) -> None:
            pass

    wire = Six(peerAddress=IPv6Address("TCP", "2001:db8::1", 9))
    connection = Connection(site, wire)  # type: ignore[arg-type]
    connection.channel.dataReceived(request("GET", "/"))
    assert b'"2001:db8::/64"' in wire.value()
