"""The connections of one request, where each byte that comes is counted."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from .addresses import AddressRules
from .errors import FetchFailed, FetchOutcome, clip

# What may come on top of the body, bytes: TLS handshake (up to some 10 KiB) and
# headers. Twisted reads 64 KiB at a time; twice that holds every honest answer.
OVERHEAD = 128 * 1024

# Chunked and TLS framing grow with the body. Pieces of 32 bytes, smaller than
# any server sends, stay below a quarter of it.
FRAMING = 4


@attrs.define(eq=False)
class Control:
    """What connections may do, and what they have done. Reactor thread only.

    Args:
        max_bytes: the largest body taken, in bytes.
        rules: which addresses are admitted.

    ``refusal`` is the first rule that was broken. It explains a request that
    fails with no more than a lost connection. ``size`` counts the bytes that
    came of the body.
    """

    max_bytes: int
    rules: AddressRules
    refusal: FetchFailed | None = attrs.field(default=None, init=False)
    size: int = attrs.field(default=0, init=False)
    _wires: list[Wire] = attrs.field(factory=list, init=False)
    _received: int = attrs.field(default=0, init=False)

    def opened(self, wire: Wire, name: str, peer: IAddress) -> bool:
        """Take a fresh connection under control; False if its peer is denied."""
        self._wires.append(wire)
        if self.rules.admits(name, peer):
            return True
        self.refuse(f"{clip(name)} is connected to a denied address: {peer}", "denied")
        return False

    def received(self, count: int) -> None:
        """Count what came over the wire, after the parsers have seen it."""
        self._received += count
        overhead = self._received - self.size
        if overhead > OVERHEAD + self.size // FRAMING:
            self.refuse(f"{overhead} bytes came that are not of the body", "too_large")

    def received_body(self, count: int) -> bool:
        """Count what came of the body; False if it is now too large."""
        self.size += count
        if self.size <= self.max_bytes:
            return True
        too_large = self.too_large()
        self.refuse(str(too_large), too_large.outcome)
        return False

    def too_large(self) -> FetchFailed:
        """What to say of a body that is."""
        why = f"the body is larger than {self.max_bytes} bytes"
        return FetchFailed(why, "too_large")

    def refuse(self, rule: str, outcome: FetchOutcome) -> None:
        """Give up: keep the first reason and drop the connections."""
        self.refusal = self.refusal or FetchFailed(rule, outcome)
        self.abort()

    def abort(self) -> None:
        """Drop what is still connected, unsent and unread."""
        for wire in self._wires:
            wire.abort()

    def close(self) -> None:
        """Close what is connected, after what is still to be sent."""
        while self._wires:
            self._wires.pop().close()


class WireFactory(Factory):
    """Puts a wire beneath what another factory builds.

    Args:
        control: told of every connection.
        name: the host's, as :func:`~txinfer.addresses.host_name` gives it.
        inner: builds what speaks TLS or HTTP.
    """

    noisy = False

    def __init__(self, control: Control, name: str, inner: IProtocolFactory) -> None:
        self._control = control
        self._name = name
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> Wire | None:
        """See ``IProtocolFactory``."""
        inner = self._inner.buildProtocol(addr)  # type: ignore[arg-type]
        return None if inner is None else Wire(self._control, self._name, inner)


class Wire(Protocol):
    """A TCP connection, beneath TLS and HTTP.

    Its inner protocol is not told of a connection to a denied peer, and so
    sends not a byte on it.
    """

    def __init__(self, control: Control, name: str, inner: IProtocol) -> None:
        self._control = control
        self._name = name
        self._in_use = False
        self.inner = inner

    def connectionMade(self) -> None:
        """Check the peer once more."""
        assert self.transport is not None
        if self._control.opened(self, self._name, self.transport.getPeer()):
            self._in_use = True
            self.inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on and count them."""
        if self._in_use:
            self.inner.dataReceived(data)
            self._control.received(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on."""
        if self._in_use:
            self.inner.connectionLost(reason)

    def close(self) -> None:
        """Close after what is still to be sent (the end of TLS)."""
        assert self.transport is not None
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once; nothing happens to a connection that is closed."""
        transport: Any = self.transport
        transport.abortConnection()


class Body(Protocol):
    """Collects a body; ``collected`` fires when it is known to be whole."""

    def __init__(self, control: Control, collected: Deferred[bytes]) -> None:
        self._control = control
        self._collected = collected
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Keep it, unless it is too much: then keep nothing."""
        if self._control.received_body(len(data)):
            self._data += data
        else:
            self._data.clear()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Find out whether all of it came."""
        # Who fails is remembered for a while, and this with it.
        data, self._data = self._data, bytearray()
        if self._collected.called:
            return
        if isinstance(reason.value, ResponseDone):
            self._collected.callback(bytes(data))
        elif isinstance(reason.value, PotentialDataLoss):
            self._collected.errback(FetchFailed("the body has no announced end"))
        else:
            self._collected.errback(reason)
