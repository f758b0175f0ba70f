"""The HTTP channel, request and site: bounded, JSON to the last error, drainable.

What Twisted's own would do instead: spool a body of any size to disk, answer
``100 Continue`` to any announced length, refuse bad syntax without a body, and
serve kept-alive connections on after the port is closed.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource
from twisted.web.server import Request as WebRequest
from twisted.web.server import Site
from zope.interface import implementer

from .values import dumps

REASONS = {400: b"Bad Request", 413: b"Content Too Large"}

# After a refusal the client may still be sending. Reading on for a while lets
# it see the answer before the connection is reset (RFC 9112, section 9.6):
# so many seconds and so many bytes.
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024 * 1024

# Seconds that an idle kept-alive connection may still use to send a request
# once draining began: long enough for one that is already on the wire.
DRAIN_GRACE = 0.5


def error_body(text: str) -> bytes:
    """The body of every error."""
    return dumps({"error": text})


class BoundedRequest(WebRequest):
    """A request whose body stays in memory, and never past the site's bound."""

    def gotLength(self, length: int | None) -> None:
        """The channel has already refused a longer length than the site takes."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Store a part of the body; past the bound, refuse the request instead."""
        channel = cast(BoundedChannel, self.channel)
        assert self.content is not None
        limit = channel.site.body_limit
        if self.content.tell() + len(data) > limit:
            channel.refuse_length(limit)
        elif not channel.refused:
            self.content.write(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource raised: say so in JSON, log the rest."""
        self._log.failure("A resource failed", failure=reason)
        body = error_body("internal error")
        self.setResponseCode(500)
        self.setHeader(b"Content-Type", b"application/json")
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()
        return reason


@implementer(IHalfCloseableProtocol)
class BoundedChannel(HTTPChannel):
    """One connection. ``refused`` once a request on it was not even read."""

    site: BoundedSite
    transport: Any
    refused = False
    _discarded = 0

    def connectionMade(self) -> None:
        """Be known to the site, so that it can drain."""
        super().connectionMade()
        self.site.channels.add(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Be forgotten by the site."""
        super().connectionLost(reason)
        self.site.channels.discard(self)
        self.site.tell_drained()

    def readConnectionLost(self) -> None:
        """The client half-closed: it is done, whatever it still waits for."""
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """We half-closed: :meth:`refuse` did, and reads on."""

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head, unless the request is refused."""
        if not self.refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of the body, unless the request is refused."""
        if not self.refused:
            super().rawDataReceived(data)
            return
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.transport.abortConnection()

    def allHeadersReceived(self) -> None:
        """Refuse an announced length before the client is told to go on."""
        limit = self.site.body_limit
        if self.length is not None and self.length > limit:
            self.refuse_length(limit)
        else:
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is whole, unless it was refused on the way."""
        if not self.refused:
            super().allContentReceived()

    def checkPersistence(self, request: HTTPRequest, version: bytes) -> bool:
        """Whether the connection is kept; none is while the site drains."""
        if self.site.draining:
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return bool(super().checkPersistence(request, version))

    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return not self.requests

    def refuse_length(self, limit: int) -> None:
        """Answer 413."""
        self.refuse(413, f"the request body is larger than {limit} bytes")

    def refuse(self, status: int, text: str) -> None:
        """Answer a request without reading (the rest of) it, and close.

        The answer is sent, our side is closed, what still comes is read and
        dropped for a while, and then the connection is cut.
        """
        if self.refused:
            return
        self.refused = True
        body = error_body(text)
        head = b"HTTP/1.1 %d %s\r\n" % (status, REASONS[status])
        head += b"".join(b"%s: %s\r\n" % pair for pair in self.site.refusal_headers)
        head += b"Content-Type: application/json\r\nConnection: close\r\n"
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)
        self.setTimeout(None)
        self.setRawMode()
        half_close = getattr(self.transport, "loseWriteConnection", None)
        (half_close or self.transport.loseConnection)()
        self.callLater(LINGER_SECONDS, self.transport.abortConnection)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "the request is not well-formed HTTP/1.1")


class BoundedSite(Site):
    """A site whose requests are bounded and that can be drained.

    Args:
        resource: the root.
        body_limit: the largest request body, in bytes.
        refusal_headers: headers that also go with answers to requests that
            never reach a resource, as (name, value).
    """

    def __init__(
        self,
        resource: IResource,
        body_limit: int,
        refusal_headers: tuple[tuple[bytes, bytes], ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            resource, BoundedRequest, parsePOSTFormSubmission=False, **kwargs
        )
        self.protocol: Any = BoundedChannel
        self.displayTracebacks = False
        self.body_limit = body_limit
        self.refusal_headers = refusal_headers
        self.channels: set[BoundedChannel] = set()
        self.draining = False
        self._drained: Deferred[None] | None = None

    def drain(self) -> Deferred[None]:
        """Answer what is under way and close every connection.

        A connection that is idle may still send one request within
        ``DRAIN_GRACE`` seconds, for it may be on the wire already; it is
        answered, and told that the connection closes.

        Returns:
            A Deferred that fires with None when no connection is left.
        """
        self.draining = True
        if not self.channels:
            return succeed(None)
        self._drained = Deferred()
        self.reactor.callLater(DRAIN_GRACE, self._close_idle)
        return self._drained

    def tell_drained(self) -> None:
        """A connection is gone; if it was the last one, draining is over."""
        if self._drained is not None and not self.channels:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def abort(self) -> None:
        """Cut every connection, whatever it is doing."""
        for channel in list(self.channels):
            channel.transport.abortConnection()

    def _close_idle(self) -> None:
        for channel in list(self.channels):
            if channel.is_idle():
                channel.transport.loseConnection()
