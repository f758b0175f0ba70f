"""Which addresses of a name are delivered; the rest is tried in test_fetch."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from txinfer.addresses import AddressRules
from txinfer.lookup import FilteringResolver, is_own


def admitted(own: Sequence[str], allow: Sequence[str], *hosts: str) -> list[str]:
    """Of some addresses of ``a.example`` those that are delivered."""
    unused: Any = None
    names = FilteringResolver(
        unused, AddressRules.from_allow(allow), "a.example", own.__contains__
    )
    addresses = [
        (IPv6Address if ":" in host else IPv4Address)("TCP", host, 80) for host in hosts
    ]
    delivered: Sequence[Any] = names.admitted(addresses)
    assert (names.denied is None) is bool(delivered)
    return [address.host for address in delivered]


OWN, OTHER, OWN_V6 = "8.8.4.4", "8.8.8.8", "2606:4700::1"


@pytest.mark.parametrize(
    ("allow", "hosts", "delivered"),
    [
        ([], [OTHER], True),
        ([], [OWN], False),
        ([], [OTHER, OWN], False),
        ([], [OWN_V6], False),
        (["8.8.0.0/16"], [OWN], True),
        (["8.8.0.0/16"], [OTHER, OWN], True),
        (["a.example"], [OWN, OWN_V6], True),
        (["b.example"], [OWN], False),
    ],
)
def test_a_public_address_of_this_machine_needs_to_be_allowed(
    allow: list[str], hosts: list[str], delivered: bool
) -> None:
    assert admitted([OWN, OWN_V6], allow, *hosts) == (hosts if delivered else [])


def test_this_machine_knows_its_own_addresses() -> None:
    assert is_own("127.0.0.1")
    assert is_own("127.1.2.3")
    for address in ("8.8.8.8", "2606:4700::1111", "192.0.2.1"):
        assert not is_own(address)


def test_what_is_no_address_is_not_its_own() -> None:
    for text in ("nonsense:", "fe80::1%none", "256.1.1.1"):
        assert not is_own(text)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_this_machine_knows_its_own_ipv6_addresses() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    assert is_own("::1")
