"""The address rules, as tables."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from txinfer.addresses import AddressRules, host_name, is_public, parse_allow


def words(text: str) -> list[str]:
    return text.split()


PUBLIC = words(
    """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0
192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 203.0.112.255
203.0.114.0 223.255.255.255
2000:: 2001:200::1 2001:4860:4860::8888 2001:db7:: 2001:db9:: 2003:: 2606:4700::1111
2620:4f:7fff:: 2a00:1450:4001::200e 3ffd:: 3fff:1000::
"""
)

DENIED = words(
    """
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200
100.127.255.255 127.0.0.1 127.255.255.255 169.254.0.0 169.254.169.254
172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.9 192.0.0.170 192.0.0.192 192.0.2.1
192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.0 192.168.255.255 192.175.48.1
198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::808:808 64:ff9b:1::1 100::1 100:0:0:1::1 1fff:ffff:: 2001:: 2001:0:7f00:1::
2001:1::1 2001:2::1 2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:1ff:ffff::
2001:db8::1 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1 3ffe::1 3fff::1
3fff:fff:ffff::1 4000:: 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%1 fec0::1
ff02::1 ff0e::1 ffff::
"""
)

# What getaddrinfo may understand though ipaddress does not: never admitted here,
# as an address in an odd spelling must have been resolved before it is judged.
NOT_IN_USUAL_FORM = words(
    """
127.1 127.0.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001 127.0.0.1.
127.000.000.001 [::1] 8.8.8.8/32 1.2.3.4.5 localhost 256.1.1.1 １２７.0.0.1 ::1%
"""
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [*DENIED, *NOT_IN_USUAL_FORM, "", " 8.8.8.8"])
def test_all_other_addresses_are_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("::1", "::1/128"),
        ("fd00::/8", "fd00::/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("files.internal", "files.internal"),
        ("Files.Internal.", "files.internal"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("1and1.example", "1and1.example"),
        ("１０.0.0.1", None),
        ("10.0.0.1/8", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/255.0.0.0", None),
        ("10.0.0.0/0.255.255.255", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/８", None),
        ("127.1", None),
        ("0x7f.0.0.1", None),
        ("2130706433", None),
        ("[::1]", None),
        ("fe80::1%eth0", None),
        ("http://files.internal", None),
        ("files.internal:80", None),
        ("files.internal/24", None),
        ("*.internal", None),
        ("-a.internal", None),
        ("a..b", None),
        ("a b", None),
        ("", None),
        (".", None),
        ("x" * 64, None),
    ],
)
def test_a_rule_is_a_range_an_address_or_a_host(text: str, rule: str | None) -> None:
    if rule is None:
        with pytest.raises(ValueError, match=r"\w"):
            parse_allow(text)
    else:
        assert str(parse_allow(text)) == rule


def admits(allow: list[str], host: str, address: str) -> bool:
    kind = IPv6Address if ":" in address else IPv4Address
    return AddressRules.from_allow(allow).admits(host, kind("TCP", address, 80))


@pytest.mark.parametrize(
    ("allow", "host", "address", "admitted"),
    [
        ([], "a.example", "8.8.8.8", True),
        ([], "a.example", "10.0.0.1", False),
        (["10.0.0.0/8"], "a.example", "10.0.0.1", True),
        (["10.0.0.0/8"], "a.example", "11.0.0.1", True),
        (["10.0.0.0/8"], "a.example", "127.0.0.1", False),
        (["10.0.0.1"], "a.example", "10.0.0.2", False),
        (["a.example"], "a.example", "10.0.0.1", True),
        (["a.example"], "a.example", "fe80::1", True),
        (["a.example"], "b.a.example", "10.0.0.1", False),
        (["a.example"], "10.0.0.1", "10.0.0.1", False),
        (["fd00::/8", "127.0.0.1"], "a.example", "fd00::1", True),
        (["127.0.0.1"], "a.example", "::ffff:127.0.0.1", False),
        (["::/0"], "a.example", "::1", True),
        (["::/0"], "a.example", "::ffff:127.0.0.1", False),
        (["0.0.0.0/0"], "a.example", "::1", False),
    ],
)
def test_what_is_allowed_is_admitted(
    allow: list[str], host: str, address: str, admitted: bool
) -> None:
    assert admits(allow, host, address) is admitted


def test_only_tcp_over_ip_is_admitted() -> None:
    assert not AddressRules.from_allow(["a"]).admits("a", UNIXAddress("/run/x"))


def test_host_names_are_compared_in_one_form() -> None:
    assert host_name("BÜCHER.example.") == "xn--bcher-kva.example"
