"""The HTTP channel, request and site: bounded, JSON to the last error, drainable.

What Twisted's own would do instead: spool a body of any size to disk, answer
``100 Continue`` to any announced length, refuse bad syntax without a body, and
serve kept-alive connections on after the port is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
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

# Seconds for a reset to arrive from a host that was sent something on a
# connection it knows no more: a round trip around the earth.
PROBE_SECONDS = 0.5

# Seconds that a client under TLS has to confirm that the connection closes.
# Idle ones often are not listening, and TLS would wait for them.
CLOSE_SECONDS = 5.0

# Seconds that an idle kept-alive connection may still use to send a request
# once draining began: long enough for one that is already on the wire.
DRAIN_GRACE = 0.5

# Seconds after which draining cuts off clients that drip their request or do not
# read their answer: they must not hold up a restart. Service managers wait from
# 10 s (Docker) over 30 s (Kubernetes) to 90 s (systemd) before they kill.
DRAIN_LIMIT = 25.0


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
        if self.startedWriting:
            # Half an answer can only be cut short.
            self.loseConnection()
            return reason
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
    _client_done = False
    _discarded = 0
    _timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Be known to the site, so that it can drain."""
        super().connectionMade()
        self.site.channels.add(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Be forgotten by the site."""
        super().connectionLost(reason)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self.site.channels.discard(self)
        self.site.tell_drained()

    def readConnectionLost(self) -> None:
        """The client sends no more: answer what it has asked for, and close."""
        if self._client_done:
            return
        self._client_done = True
        if self._handlingRequest:
            self._probe()
            self._set_timer(PROBE_SECONDS, self._probe)
        else:
            self._close()

    def writeConnectionLost(self) -> None:
        """We half-closed: :meth:`refuse` did, and reads on while anything comes."""
        if self._client_done:
            self.loseConnection()

    def requestDone(self, request: HTTPRequest) -> None:
        """A request is answered; it was the last one if the client is done."""
        super().requestDone(request)
        # Otherwise requests that were sent in advance are being parsed.
        if self._client_done and not (self._busyReceiving or self._handlingRequest):
            self._close()

    def loseConnection(self) -> None:
        """Close once what was written is sent; a second time does nothing."""
        if not self.transport.disconnecting:
            super().loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that does not end."""
        self._respondToBadRequestAndDisconnect()

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

    def headerReceived(self, line: bytes) -> bool:
        """Take a header, unless it makes no sense."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # Python reads no number of more than 4300 digits.
            self._respondToBadRequestAndDisconnect()
            return False

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

    def is_waiting(self) -> bool:
        """Whether a request was read, and its answer has not begun."""
        return self._handlingRequest and not self.requests[0].startedWriting

    def close_after_answer(self) -> None:
        """Keep the connection for no other request than the one under way."""
        if self.requests and not self.refused:
            self.persistent = False
            headers = self.requests[0].responseHeaders
            headers.setRawHeaders(b"connection", [b"close"])

    def close_idle(self) -> None:
        """Close a connection that nothing is going on at."""
        self.loseConnection()
        if self.isSecure():
            self._set_timer(CLOSE_SECONDS, self.transport.abortConnection)

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
        # Under TLS the half-close would be the socket's, behind TLS's back.
        if half_close is None or self.isSecure():
            half_close = self.loseConnection
        half_close()
        self._set_timer(LINGER_SECONDS, self.transport.abortConnection)

    def _set_timer(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function later, and no more what was to be called before."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self.callLater(seconds, function)

    def _close(self) -> None:
        """The client is done, and so are we, unless it broke off."""
        if self.requests and not self.refused:
            self.refuse(400, "the request was cut short")
        else:
            self.loseConnection()

    def _probe(self) -> None:
        """See whether the client is gone, or has only closed its side.

        Both look the same until something is sent, and an interim answer may
        be sent at any time (RFC 9110, section 15.2). The host of a client that
        is gone answers the first with a reset, by which the second fails: then
        the connection is lost, and the requests under way are cancelled.
        """
        request = self.requests[0] if self._handlingRequest else None
        if request is None or request.startedWriting:
            return
        if request.clientproto == b"HTTP/1.1":
            self._send100Continue()

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
        self.noisy = False
        self.body_limit = body_limit
        self.refusal_headers = refusal_headers
        self.channels: set[BoundedChannel] = set()
        self.draining = False
        self._drained: Deferred[None] | None = None
        self._timers: list[IDelayedCall] = []

    def startFactory(self) -> None:
        """The first port is opened, perhaps once more: do not drain any longer."""
        super().startFactory()
        self.draining = False

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 only: the channel speaks no HTTP/2, even where Twisted could."""
        return [b"http/1.1"]

    def drain(self) -> Deferred[None]:
        """Answer what is under way and close every connection.

        A connection that is idle may still send one request within
        ``DRAIN_GRACE`` seconds, for it may be on the wire already; it is
        answered, and told that the connection closes. Clients that have neither
        sent their request nor read their answer after ``DRAIN_LIMIT`` seconds
        are cut off; those that wait for an answer get it.

        Returns:
            A Deferred that fires with None when no connection is left.
        """
        self.draining = True
        if not self.channels:
            return succeed(None)
        for channel in self.channels:
            channel.close_after_answer()
        self._drained = Deferred()
        self._timers = [
            self.reactor.callLater(DRAIN_GRACE, self._close_idle),
            self.reactor.callLater(DRAIN_LIMIT, self._cut_stuck),
        ]
        return self._drained

    def tell_drained(self) -> None:
        """A connection is gone; if it was the last one, draining is over."""
        if self._drained is not None and not self.channels:
            for timer in self._timers:
                if timer.active():
                    timer.cancel()
            drained, self._drained = self._drained, None
            drained.callback(None)

    def _cut_stuck(self) -> None:
        for channel in list(self.channels):
            if not channel.is_waiting():
                channel.transport.abortConnection()
        if self.channels:
            again = self.reactor.callLater(DRAIN_LIMIT, self._cut_stuck)
            self._timers.append(again)

    def _close_idle(self) -> None:
        for channel in list(self.channels):
            if channel.is_idle():
                channel.close_idle()
