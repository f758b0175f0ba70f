"""Host names to addresses: in threads of their own, and only admitted ones."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from .addresses import AddressRules
from .pools import ThreadPool, defer_to

# HostnameEndpoint starts one attempt every 0.3 s and keeps them all open, so a
# name with hundreds of addresses would become a port scan. Names that are
# served from many places answer with at most about this many of each family.
MAX_ADDRESSES = 8


# Addresses that no machine has (RFC 5737, RFC 3849).
DOCUMENTATION = "192.0.2.1"
DOCUMENTATION_V6 = "2001:db8::1"


@implementer(IResolutionReceiver)
@attrs.define(eq=False)
class _Filter:
    """Holds a name's addresses back until all are known and all are admitted."""

    _receiver: IResolutionReceiver
    _names: FilteringResolver
    _found: list[IAddress] = attrs.field(factory=list, init=False)

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(address)

    def resolutionComplete(self) -> None:
        for address in self._names.admitted(self._found)[:MAX_ADDRESSES]:
            self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
@attrs.define(eq=False)
class FilteringResolver:
    """Resolves one host, and delivers nothing if one address is denied.

    All or nothing, because a name that leads to the public internet and also
    inside is an attack or a mistake, and because which address gets connected
    is a race. ``HostnameEndpoint`` asks for literal addresses too, and connects
    to exactly what is delivered, so nothing is resolved a second time.

    Args:
        resolver: asked for the addresses.
        rules: what is admitted.
        host: the name in the URL, as :func:`host_name` gives it.
        is_own: whether an IP address is this machine's; such a one is admitted
            only if the operator allows it, public though it may be. What listens
            there may not be meant for others, whom a firewall keeps away.
    """

    _resolver: IHostnameResolver
    _rules: AddressRules
    _host: str
    _is_own: Callable[[str], bool]
    denied: IAddress | None = attrs.field(default=None, init=False)

    def admitted(self, addresses: Sequence[IAddress]) -> Sequence[IAddress]:
        """The addresses, or none of them; ``denied`` is the first at fault."""
        for address in addresses:
            if not self._admits(address):
                self.denied = address
                return ()
        return addresses

    def _admits(self, address: Any) -> bool:
        rules, host = self._rules, self._host
        if not rules.admits(host, address):
            return False
        return rules.allows(host, address.host) or not self._is_own(address.host)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`~twisted.internet.interfaces.IHostnameResolver`."""
        return self._resolver.resolveHostName(
            _Filter(resolutionReceiver, self),
            hostName,
            portNumber,
            addressTypes,
            transportSemantics,
        )


def is_own(address: str) -> bool:
    """Whether an IP address is one of this machine's: a socket can be bound to it.

    (Where another machine translates addresses, the public one is not known here.)
    """
    # Linux can be told to let sockets be bound to any address (ip_nonlocal_bind).
    nobody = DOCUMENTATION_V6 if ":" in address else DOCUMENTATION
    return _can_bind(address) and not _can_bind(nobody)


def _can_bind(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


@implementer(IReactorPluggableNameResolver)
@attrs.define(eq=False)
class ResolvingReactor:
    """A reactor with another resolver: how ``HostnameEndpoint`` takes one."""

    _reactor: Any
    nameResolver: IHostnameResolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Refuse: this one belongs to one host."""
        raise NotImplementedError("the resolver of one host is not replaced")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IHostResolution)
@attrs.frozen
class _Resolution:
    """A look-up under way; ``getaddrinfo`` cannot be interrupted."""

    name: str

    def cancel(self) -> None:
        raise NotImplementedError("a look-up cannot be cancelled")


@implementer(IHostnameResolver)
@attrs.define(eq=False)
class ThreadedResolver:
    """``getaddrinfo`` in threads of its own, which start with the first look-up.

    Not in the reactor's threads, where others would wait behind a name server
    that does not answer. Twisted's ``GAIResolver`` does the same but is a
    private name, and never completes when ``getaddrinfo`` raises other than
    ``gaierror``, which it does for names it cannot encode.

    Args:
        reactor: takes the results out of the threads (``IReactorThreads``).
        size: how many look-ups run at once.
    """

    _reactor: Any
    _size: int
    _pool: ThreadPool | None = attrs.field(default=None, init=False)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See :class:`~twisted.internet.interfaces.IHostnameResolver`.

        ``addressTypes`` and ``transportSemantics`` are not heeded: every TCP
        address of the host is delivered.
        """

        def deliver(result: list[IAddress] | Failure) -> None:
            for address in [] if isinstance(result, Failure) else result:
                resolutionReceiver.addressResolved(address)
            resolutionReceiver.resolutionComplete()

        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        pool = self._started()
        found = defer_to(self._reactor, pool, _look_up, hostName, portNumber)
        found.addBoth(deliver)
        return resolution

    def stop(self) -> None:
        """Let the threads end; does not wait for them."""
        if self._pool is not None:
            self._pool.stop()
            self._pool = None

    def _started(self) -> ThreadPool:
        if self._pool is None:
            self._pool = ThreadPool(self._size, "txinfer-look-ups")
        return self._pool


def _look_up(host: str, port: int) -> list[IAddress]:
    """All TCP addresses of a host; blocks. Runs in a look-up thread."""
    found: list[IAddress] = []
    for family, *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if family == socket.AF_INET:
            found.append(IPv4Address("TCP", *place))
        elif family == socket.AF_INET6:
            found.append(IPv6Address("TCP", *place))
    return found
