"""Where a request comes from that a proxy has passed on."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import attrs
from twisted.internet.interfaces import IAddress
from twisted.web.iweb import IRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Stands for whoever connects to a UNIX socket; the file's mode says who may.
UNIX = "unix"

# Of an IPv6 address, the bits that tell one network from another: whoever has one
# address has the 2**64 of its network (RFC 6177).
NETWORK_BITS = 64


def parse_proxy(text: str) -> Network | None:
    """Read an address or a range of proxies; None for :data:`UNIX`.

    Raises:
        ValueError: it is neither.
    """
    if text == UNIX:
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            f"must be an address, a range as 10.1.0.0/16, or {UNIX}"
        ) from None


def _each_parsed(texts: Iterable[str]) -> tuple[Network | None, ...]:
    return tuple(map(parse_proxy, texts))


@attrs.frozen
class Proxies:
    """Proxies whose word is taken for where a request comes from.

    Args:
        rules: addresses and ranges; ValueError if one is not to be read.
    """

    rules: tuple[Network | None, ...] = attrs.field(converter=_each_parsed)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def origin(self, request: IRequest) -> str:
        """The address of the client that a request comes from; empty for a UNIX
        socket's.

        ``X-Forwarded-For`` is read from its end, where the nearest proxy has
        written who asked it, as long as it is proxies who say so: what is before
        that anybody may have made up.
        """
        nearest = host_of(request.getClientAddress())
        headers = request.requestHeaders.getRawHeaders(b"x-forwarded-for") or ()
        said = b",".join(headers).decode("latin-1").split(",")
        while said and self._trusts(nearest):
            address = parsed(said.pop().strip())
            if address is None:
                break
            nearest = str(address)
        return nearest

    def _trusts(self, host: str) -> bool:
        address = parsed(host)
        if address is None:
            return None in self.rules and not host
        return any(rule is not None and address in rule for rule in self.rules)


def host_of(address: IAddress) -> str:
    """The host of an address; a UNIX socket's is empty."""
    return getattr(address, "host", None) or ""


def parsed(host: str) -> Address | None:
    """An address as it is meant: IPv4 for what is IPv4 in IPv6, no zone."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def network_of(host: str) -> str:
    """A host by what tells one client from another: an IPv6 one by its network."""
    if ":" not in host:
        return host
    address = parsed(host)
    if address is None or address.version == 4:
        return host if address is None else str(address)
    return str(ipaddress.IPv6Network((address, NETWORK_BITS), strict=False))
