"""Whose word is taken for where a request comes from."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from tests.web_client import Connection, WebClient, Wire, request
from txinfer.guard import Guard
from txinfer.limits import ClientLimits
from txinfer.proxies import Proxies, network_of, parse_proxy
from txinfer.web import Root, reply

NEAR = IPv4Address("TCP", "10.0.0.1", 4)


class Origin(Resource):
    """Says where a request comes from."""

    isLeaf = True

    def __init__(self, proxies: Proxies) -> None:
        super().__init__()
        self.proxies = proxies

    def render(self, request: IRequest) -> bytes:
        return reply(request, self.proxies.origin(request))


def origin(rules: str, said: str | list[str], peer: IAddress = NEAR) -> str:
    """Where a request comes from, by the rules, what is said and who passed it on."""
    web = WebClient(Origin(Proxies(rules.split())))
    connection = Connection(web.site, Wire(peerAddress=peer))
    headers = [said] if isinstance(said, str) else said
    lines = [f"X-Forwarded-For: {header}\r\n" for header in headers]
    head = request("GET", "/").removesuffix(b"\r\n") + "".join(lines).encode()
    connection.send(head + b"\r\n")
    value = connection.answer("GET").value
    assert isinstance(value, str)
    return value


def test_a_proxys_word_is_taken() -> None:
    assert origin("10.0.0.0/8", "203.0.113.7") == "203.0.113.7"
    assert origin("10.0.0.1", "203.0.113.7") == "203.0.113.7"
    assert origin("10.0.0.1", " 2001:db8::1 ") == "2001:db8::1"


@pytest.mark.parametrize("rules", ["", "10.0.0.2", "192.168.0.0/16", "unix"])
def test_anybody_elses_is_not(rules: str) -> None:
    assert origin(rules, "203.0.113.7") == "10.0.0.1"


def test_what_is_said_before_a_proxy_saw_it_is_made_up() -> None:
    assert origin("10.0.0.0/8", "1.1.1.1, 203.0.113.7") == "203.0.113.7"
    assert origin("10.0.0.0/8", "10.9.9.9, 203.0.113.7") == "203.0.113.7"


def test_proxies_behind_proxies_are_passed_by() -> None:
    assert origin("10.0.0.0/8", "1.1.1.1, 203.0.113.7, 10.0.0.5") == "203.0.113.7"
    assert origin("10.0.0.0/8", ["1.1.1.1", "203.0.113.7", "10.0.0.5"]) == "203.0.113.7"
    assert origin("10.0.0.0/8", "10.0.0.7, 10.0.0.5") == "10.0.0.7"


@pytest.mark.parametrize(
    "said", [[], "", "unknown", "203.0.113.7:80", "a.example", ",", "203.0.113.7, x"]
)
def test_nonsense_says_nothing(said: str | list[str]) -> None:
    assert origin("10.0.0.0/8", said) == "10.0.0.1"


def test_proxies_may_connect_by_ipv6_and_unix_sockets() -> None:
    mapped = IPv6Address("TCP", "::ffff:10.0.0.1", 4)
    assert origin("10.0.0.0/8", "203.0.113.7", mapped) == "203.0.113.7"
    six = IPv6Address("TCP", "2001:db8::5", 4)
    assert origin("2001:db8::/32", "203.0.113.7", six) == "203.0.113.7"
    local = UNIXAddress("/run/a.sock")
    assert origin("unix", "203.0.113.7", local) == "203.0.113.7"
    assert origin("10.0.0.0/8", "203.0.113.7", local) == ""


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/33", "10.0.0.1/8", "10.0.0.1:80"])
def test_rules_are_addresses_and_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="must be an address, a range"):
        parse_proxy(text)
    with pytest.raises(ValueError, match="must be an address, a range"):
        Proxies([text])


def test_hosts_are_told_apart_by_their_network() -> None:
    assert network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("2001:db8::1") == "2001:db8::/64"
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("") == ""


def test_rates_are_of_those_behind_the_proxy() -> None:
    once = ClientLimits(rate_limit=1, rate_burst=1)
    guard = Guard(Clock(), None, once, proxies=Proxies(["192.168.1.1"]))
    web = WebClient(Root(Origin(Proxies([])), guard=guard))
    statuses = [
        web.get("/", X_Forwarded_For=client).status
        for client in ("203.0.113.7", "203.0.113.8", "203.0.113.7", "203.0.113.8")
    ]
    assert statuses == [200, 200, 429, 429]
    # An IPv6 client has its whole network.
    for client, status in (("2001:db8::1", 200), ("2001:db8::2", 429)):
        assert web.get("/", X_Forwarded_For=client).status == status
