"""One request of a fetch: from a URL to a response, on a guarded connection.

Twisted's layers are stacked so that each rule has one place::

    treq HTTPClient          one GET, redirects not followed
      _PlainAgent            no coding but identity
        Agent                asks the hop for an endpoint
          wrapClientTLS      https only
            _WiredEndpoint
              HostnameEndpoint over FilteringResolver: admitted addresses only
              _Wire          the peer once more; every byte is counted
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import (
    UNKNOWN_LENGTH,
    IAgent,
    IAgentEndpointFactory,
    IBodyProducer,
    IPolicyForHTTPS,
    IResponse,
)
from zope.interface import implementer

from .addresses import AddressRules
from .errors import FetchFailed, clip
from .lookup import FilteringResolver, ResolvingReactor

# What RFC 9110, section 4.1, asks everybody to support; the rest is abuse.
MAX_URL = 8000

# What may come on top of the body, bytes: TLS handshake (up to some 10 KiB) and
# headers. Twisted reads 64 KiB at a time; twice that holds every honest answer.
OVERHEAD = 128 * 1024

# Chunked and TLS framing grow with the body. Pieces of 32 bytes, smaller than
# any server sends, stay below a quarter of it.
FRAMING = 4


@implementer(IAgentEndpointFactory)
@attrs.define(eq=False)
class Hop:
    """One URL, its connection and its bounds. Reactor thread only.

    Args:
        reactor: connects and keeps the time.
        max_bytes: the largest body taken, in bytes.
        rules: which addresses are admitted.
        resolver: asked for the addresses of the host.
        https: who is trusted.

    ``refusal`` is the first rule that was broken, in words. It explains a
    request that fails with no more than a lost connection.
    """

    _reactor: Any
    _max_bytes: int
    _rules: AddressRules
    _resolver: IHostnameResolver
    _https: IPolicyForHTTPS
    refusal: str | None = attrs.field(default=None, init=False)
    _wires: list[_Wire] = attrs.field(factory=list, init=False)
    _received: int = attrs.field(default=0, init=False)
    _of_body: int = attrs.field(default=0, init=False)

    def get(self, url: str) -> Deferred[Any]:
        """Send a GET.

        Returns:
            A Deferred that fires with the response, its body still to come.
            Cancelling it ends the look-up or closes the connection.

        Raises:
            FetchFailed: the URL is of no kind that is followed.
            ValueError: it is no URL (``hyperlink``, ``idna``).
        """
        if len(url) > MAX_URL:
            raise FetchFailed(f"the URL is longer than {MAX_URL} characters")
        if not url.isprintable():
            # Parsers differ on tabs and line ends: some drop, some encode them.
            raise FetchFailed("the URL holds control characters")
        connect: Any = Agent.usingEndpointFactory  # without annotations
        agent = _PlainAgent(connect(self._reactor, self))
        return HTTPClient(agent, _NoCookies()).get(  # type: ignore[arg-type]
            url,
            headers=Headers({"User-Agent": ["txinfer"], "Accept": ["*/*"]}),
            allow_redirects=False,
            unbuffered=True,
            # Without it treq imports the global reactor.
            reactor=self._reactor,
        )

    async def body(self, response: Any) -> bytes:
        """Read the body of a response.

        Raises:
            FetchFailed: the status is not 200, or the body is too large, or not
                all of it came, or nothing says whether it did.
        """
        if response.code != 200:
            raise FetchFailed(f"status {response.code}")
        if response.length is not UNKNOWN_LENGTH and response.length > self._max_bytes:
            raise FetchFailed(self._too_large())
        collected: Deferred[bytes] = Deferred()
        response.deliverBody(_Body(self, collected))
        data = await collected
        if self.refusal is not None:
            raise FetchFailed(self.refusal)
        while self._wires:
            self._wires.pop().close()
        return data

    def abort(self) -> None:
        """Drop what is still connected, unsent and unread."""
        for wire in self._wires:
            wire.abort()

    def refuse(self, rule: str) -> None:
        """Give up: keep the first reason and drop the connections."""
        self.refusal = self.refusal or rule
        self.abort()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Where to connect to; FetchFailed if the URI is of no kind we follow.

        This is the URI as Twisted will use it, so that it does not matter what
        another parser makes of the same text.
        """
        if uri.scheme not in (b"http", b"https"):
            raise FetchFailed("neither http nor https")
        if b"@" in uri.netloc:
            raise FetchFailed("the URL holds a user name")
        if not uri.host or not 0 < uri.port < 65536:
            raise FetchFailed("the URL names no host, or a port that cannot be")
        wired = _WiredEndpoint(self, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"http":
            return wired
        creator = self._https.creatorForNetloc(uri.host.removesuffix(b"."), uri.port)
        return wrapClientTLS(creator, wired)

    def connect(
        self, host: str, port: int, factory: IProtocolFactory
    ) -> Deferred[IProtocol]:
        """Connect to an admitted address of ``host``.

        Returns:
            A Deferred that fires with the protocol that ``factory`` built.
            Cancelling it stops all attempts.
        """
        name = host.lower().removesuffix(".")
        names = FilteringResolver(self._resolver, self._rules, name)
        tcp = HostnameEndpoint(ResolvingReactor(self._reactor, names), host, port)

        def connected(wire: Any) -> IProtocol:
            if self.refusal is not None:
                raise FetchFailed(self.refusal)
            inner: IProtocol = wire.inner
            return inner

        def failed(failure: Failure) -> Failure:
            if names.denied is not None:
                self.refuse(f"{clip(name)} leads to a denied address: {names.denied}")
            return failure

        return tcp.connect(_WireFactory(self, name, factory)).addCallbacks(
            connected, failed
        )

    def opened(self, wire: _Wire, name: str, peer: IAddress) -> bool:
        """Take a fresh connection under control; False if its peer is denied."""
        self._wires.append(wire)
        if self._rules.admits(name, peer):
            return True
        self.refuse(f"{clip(name)} is connected to a denied address: {peer}")
        return False

    def received(self, count: int) -> None:
        """Count what came over the wire, after the parsers have seen it."""
        self._received += count
        overhead = self._received - self._of_body
        if overhead > OVERHEAD + self._of_body // FRAMING:
            self.refuse(f"{overhead} bytes came that are not of the body")

    def received_body(self, count: int) -> bool:
        """Count what came of the body; False if it is now too large."""
        self._of_body += count
        if self._of_body <= self._max_bytes:
            return True
        self.refuse(self._too_large())
        return False

    def _too_large(self) -> str:
        return f"the body is larger than {self._max_bytes} bytes"


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class _WiredEndpoint:
    """``Hop.connect`` as an endpoint, for TLS to wrap."""

    _hop: Hop
    _host: str
    _port: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._hop.connect(self._host, self._port, protocolFactory)


class _WireFactory(Factory):
    noisy = False

    def __init__(self, hop: Hop, name: str, inner: IProtocolFactory) -> None:
        self._hop = hop
        self._name = name
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> _Wire | None:
        inner = self._inner.buildProtocol(addr)  # type: ignore[arg-type]
        return None if inner is None else _Wire(self._hop, self._name, inner)


class _Wire(Protocol):
    """A TCP connection of a hop, beneath TLS and HTTP.

    Its inner protocol is not told of a connection to a denied peer, and so
    sends not a byte on it.
    """

    def __init__(self, hop: Hop, name: str, inner: IProtocol) -> None:
        self._hop = hop
        self._name = name
        self._in_use = False
        self.inner = inner

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self._hop.opened(self, self._name, self.transport.getPeer()):
            self._in_use = True
            self.inner.makeConnection(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._in_use:
            self.inner.dataReceived(data)
            self._hop.received(len(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
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


@implementer(IAgent)
@attrs.define(eq=False)
class _PlainAgent:
    """Asks for, and takes, nothing but the identity coding.

    It stands beneath treq's decoder, which asks for gzip and hides that it came.
    """

    _agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"Accept-Encoding", [b"identity"])
        answer = self._agent.request(method, uri, plain, bodyProducer)
        return answer.addCallback(_refuse_encoded)


def _refuse_encoded(response: IResponse) -> IResponse:
    # Only where the body is read: a redirect's may be encoded as it likes.
    if response.code == 200 and response.headers.hasHeader(b"Content-Encoding"):
        raise FetchFailed("the body has a Content-Encoding though none was asked for")
    return response


class _NoCookies(CookieJar):
    """Keeps no cookie and does not even parse one."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave the response's cookies alone."""

    def add_cookie_header(self, request: object) -> None:
        """Send no cookie."""


class _Body(Protocol):
    """Collects a body; fires with it when it is known to be whole."""

    def __init__(self, hop: Hop, collected: Deferred[bytes]) -> None:
        self._hop = hop
        self._collected = collected
        self._data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        if self._hop.received_body(len(data)):
            self._data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._collected.called:
            return
        if isinstance(reason.value, ResponseDone):
            self._collected.callback(bytes(self._data))
        elif isinstance(reason.value, PotentialDataLoss):
            self._collected.errback(FetchFailed("the body has no announced end"))
        else:
            self._collected.errback(reason)
