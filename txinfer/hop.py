"""One request of a fetch: from a URL to a response, on a guarded connection.

Twisted's layers are stacked so that each rule has one place::

    treq HTTPClient          one GET, redirects not followed
      _PlainAgent            no coding but identity
        Agent                asks the hop for an endpoint
          wrapClientTLS      https only
            _WiredEndpoint
              HostnameEndpoint over FilteringResolver: admitted addresses only
              Wire           the peer once more; every byte is counted
"""

from __future__ import annotations

from http.cookiejar import CookieJar
from typing import Any

import attrs
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHostnameResolver,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
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

from .connection import Body, Control, WireFactory
from .errors import FetchFailed, clip
from .lookup import FilteringResolver, ResolvingReactor, is_own

# What RFC 9110, section 4.1, asks everybody to support; the rest is abuse.
MAX_URL = 8000


@implementer(IAgentEndpointFactory)
@attrs.define(eq=False)
class Hop:
    """One URL, its connection and its bounds. Reactor thread only.

    Args:
        reactor: connects and keeps the time.
        control: the bounds, of this hop alone; has what came of them.
        resolver: asked for the addresses of the host.
        https: who is trusted.
    """

    _reactor: Any
    _control: Control
    _resolver: IHostnameResolver
    _https: IPolicyForHTTPS

    def get(self, url: str) -> Deferred[Any]:
        """Send a GET.

        Returns:
            A Deferred that fires with the response, its body still to come.
            Cancelling it ends the look-up or closes the connection.

        Raises:
            FetchFailed: the URL is of no kind that is followed, or is none.
        """
        if len(url) > MAX_URL:
            raise _denied(f"the URL is longer than {MAX_URL} characters")
        if not url.isprintable():
            # Parsers differ on tabs and line ends: some drop, some encode them.
            raise _denied("the URL holds control characters")
        connect: Any = Agent.usingEndpointFactory  # without annotations
        agent = _PlainAgent(connect(self._reactor, self))
        client = HTTPClient(agent, _NoCookies())  # type: ignore[arg-type]
        try:
            return client.get(
                url,
                headers=Headers({"User-Agent": ["txinfer"], "Accept": ["*/*"]}),
                allow_redirects=False,
                unbuffered=True,
                # Without it treq imports the global reactor.
                reactor=self._reactor,
            )
        except ValueError as error:
            # As hyperlink and idna say it.
            raise _denied(f"not a URL: {clip(str(error))}") from error

    async def body(self, response: Any) -> bytes:
        """Read the body of a response.

        Raises:
            FetchFailed: the status is not 200, or the body is too large, or not
                all of it came, or nothing says whether it did.
        """
        if response.code != 200:
            raise FetchFailed(f"status {response.code}")
        control, length = self._control, response.length
        if length is not UNKNOWN_LENGTH and length > control.max_bytes:
            raise control.too_large()
        collected: Deferred[bytes] = Deferred()
        response.deliverBody(Body(control, collected))
        data = await collected
        if control.refusal is not None:
            raise control.refusal
        control.close()
        return data

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Where to connect to; FetchFailed if the URI is of no kind we follow.

        This is the URI as Twisted will use it, so that it does not matter what
        another parser makes of the same text.
        """
        if uri.scheme not in (b"http", b"https"):
            raise _denied("neither http nor https")
        if b"@" in uri.netloc:
            raise _denied("the URL holds a user name")
        if not uri.host or not 0 < uri.port < 65536:
            raise _denied("the URL names no host, or a port that cannot be")
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
        control = self._control
        name = host.lower().removesuffix(".")
        names = FilteringResolver(self._resolver, control.rules, name, is_own)
        tcp = HostnameEndpoint(ResolvingReactor(self._reactor, names), host, port)

        def connected(wire: Any) -> IProtocol:
            if control.refusal is not None:
                raise control.refusal
            inner: IProtocol = wire.inner
            return inner

        def failed(failure: Failure) -> Failure:
            if names.denied is not None:
                why = f"{clip(name)} leads to a denied address: {names.denied}"
                control.refuse(why, "denied")
            return failure

        return tcp.connect(WireFactory(control, name, factory)).addCallbacks(
            connected, failed
        )


@implementer(IStreamClientEndpoint)
@attrs.define(eq=False)
class _WiredEndpoint:
    """``Hop.connect`` as an endpoint, for TLS to wrap."""

    _hop: Hop
    _host: str
    _port: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._hop.connect(self._host, self._port, protocolFactory)


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


def _denied(why: str) -> FetchFailed:
    return FetchFailed(why, "denied")


class _NoCookies(CookieJar):
    """Keeps no cookie and does not even parse one."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave the response's cookies alone."""

    def add_cookie_header(self, request: object) -> None:
        """Send no cookie."""
