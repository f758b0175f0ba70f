"""Which addresses a URL input may be fetched from.

Whoever may name a URL may otherwise make this server knock on any door it can
reach: loopback, the machines beside it, a cloud's metadata service. So public
addresses are admitted, and of all others only what the operator allows.

``ipaddress``'s ``is_global`` answers another question (may this be routed?) and
says yes to NAT64, 6to4 and multicast, which lead back inside. The tables here
start from what is handed out for public use and take away all that IANA's
special-purpose registries (RFC 6890, RFC 8190) list, reachable or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import attrs
import idna
from twisted.internet.address import IPv4Address as TCP4Address
from twisted.internet.address import IPv6Address as TCP6Address
from twisted.internet.interfaces import IAddress

from .errors import clip

Network = IPv4Network | IPv6Network

ANY: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))

PUBLIC: tuple[Network, ...] = (
    ip_network("0.0.0.0/0"),
    # All the IPv6 unicast space that IANA has opened for allocation (RFC 4291,
    # section 2.4, and the registry "IPv6 Global Unicast Address Assignments").
    # IPv4-mapped, NAT64, unique local, link-local and multicast lie outside.
    ip_network("2000::/3"),
)

# The IANA IPv4 Special-Purpose Address Registry, whole, and multicast.
SPECIAL_IPV4 = (
    "0.0.0.0/8",  # this network, RFC 791
    "10.0.0.0/8",  # private use, RFC 1918
    "100.64.0.0/10",  # shared address space of carriers, RFC 6598
    "127.0.0.0/8",  # loopback, RFC 1122
    "169.254.0.0/16",  # link local, and metadata services, RFC 3927
    "172.16.0.0/12",  # private use, RFC 1918
    "192.0.0.0/24",  # protocol assignments, RFC 6890
    "192.0.2.0/24",  # documentation, RFC 5737
    "192.31.196.0/24",  # AS112, RFC 7535
    "192.52.193.0/24",  # automatic multicast tunnelling, RFC 7450
    "192.88.99.0/24",  # 6to4 relays, RFC 7526
    "192.168.0.0/16",  # private use, RFC 1918
    "192.175.48.0/24",  # AS112, RFC 7534
    "198.18.0.0/15",  # benchmarks, RFC 2544
    "198.51.100.0/24",  # documentation, RFC 5737
    "203.0.113.0/24",  # documentation, RFC 5737
    "224.0.0.0/4",  # multicast, RFC 5771
    "240.0.0.0/4",  # reserved, and the broadcast address, RFC 1112
)

# What the IANA IPv6 Special-Purpose Address Registry lists inside 2000::/3.
SPECIAL_IPV6 = (
    "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks, RFC 2928
    "2001:db8::/32",  # documentation, RFC 3849
    "2002::/16",  # 6to4: holds an IPv4 address, RFC 3056
    "2620:4f:8000::/48",  # AS112, RFC 7534
    "3ffe::/16",  # the former 6bone, given back, RFC 3701
    "3fff::/20",  # documentation, RFC 9637
)

SPECIAL: tuple[Network, ...] = tuple(
    ip_network(text) for text in (*SPECIAL_IPV4, *SPECIAL_IPV6)
)

# RFC 952 and 1123: letters, digits and hyphens. Underscores are left out since
# treq and Twisted cannot connect to such a name.
HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")

# inet_aton reads such a last label as a number, so the host is an address in
# disguise (the WHATWG URL Standard's "ends in a number").
NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)")


def is_public(address: str) -> bool:
    """Whether an IP address, in text, belongs to the public internet."""
    return _within(address, PUBLIC) and not _within(address, SPECIAL)


def _within(address: str, networks: Iterable[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def _is_mapped(address: str) -> bool:
    """Whether an IPv6 address only wraps an IPv4 one (RFC 4291, 2.5.5.2).

    The kernel connects such a one over IPv4, so that a rule on IPv6, as
    ``::/0``, must not admit it.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None


def parse_allow(text: str) -> Network | str:
    """Read one rule: a range (``10.1.0.0/16``), an address, or a host name.

    Returns:
        The range, of one address if it is an address, or the name as
        :func:`host_name` gives it.

    Raises:
        ValueError: it is none of these; the text says what is wrong.
    """
    address, slash, prefix = text.partition("/")
    # A zone (fe80::1%eth0) belongs to one machine; ip_network would drop it.
    if "%" in address or not _within(address, ANY):
        return _host_rule(text)
    if slash and not (prefix.isascii() and prefix.isdigit()):
        raise ValueError(
            f"{clip(text)}: a range is written with the length of its prefix, "
            "as 10.1.0.0/16"
        )
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{clip(text)} is not a range: {error}") from None


def _host_rule(text: str) -> str:
    try:
        name = host_name(text)
    except UnicodeError:
        name = ""
    if not HOST.fullmatch(name):
        raise ValueError(
            f"{clip(text)} is neither a host name, nor an address, nor a range "
            "as 10.1.0.0/16; it names no scheme, port, path or wildcard"
        )
    if NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError(
            f"{clip(text)} looks like an address but is not one in its usual form"
        )
    return name


def host_name(text: str) -> str:
    """A host name as the rules compare it: ASCII, lower case, no final dot.

    Raises:
        UnicodeError: it cannot be a name (IDNA 2008 with the mapping of UTS 46).
    """
    return idna.encode(text, uts46=True).decode("ascii").lower().removesuffix(".")


@attrs.frozen
class AddressRules:
    """What is admitted: the public internet, and what the operator allows.

    ``hosts`` are names whose every address is admitted, ``networks`` are ranges
    that are admitted under any name.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def from_allow(cls, allow: Iterable[str]) -> AddressRules:
        """Build the rules of :func:`parse_allow`; ValueError if one is wrong."""
        rules = [parse_allow(text) for text in allow]
        return cls(
            frozenset(rule for rule in rules if isinstance(rule, str)),
            tuple(rule for rule in rules if not isinstance(rule, str)),
        )

    def admits(self, host: str, address: IAddress) -> bool:
        """Whether ``address`` may be talked to in the name of ``host``.

        Args:
            host: the name in the URL, as :func:`host_name` gives it.
            address: where it leads; anything but TCP over IP is denied.
        """
        if not isinstance(address, (TCP4Address, TCP6Address)):
            return False
        return self.allows(host, address.host) or is_public(address.host)

    def allows(self, host: str, address: str) -> bool:
        """Whether the operator allows an IP address, public or not."""
        if host in self.hosts:
            return True
        return not _is_mapped(address) and _within(address, self.networks)
