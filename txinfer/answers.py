"""What requests ask of their channel: to write an answer, whole or in parts."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.web.http_headers import Headers

from .headers import request_id, server_timing, total_timing
from .proxies import host_of, network_of
from .request import JSON_TYPE, STATUS_LINES, BoundedRequest, error_body

# Bytes given to the transport at a time: as many as it buffers before it says that
# it has enough. So a client that reads on is seen to, at each such piece.
PIECE = 65536


def write_now(transport: Any, data: bytes) -> None:
    """Write, to the socket at once if nothing waits to be written before.

    Twisted's ``write`` has the reactor wait until the socket can be written to,
    which it nearly always can: two calls of epoll and a turn of the reactor for
    each answer. What tells whether something waits has a private name; where it
    is not found this is ``write``, and so it is under TLS and other protocols,
    whose transports have all the names of the socket's.
    """
    is_socket = isinstance(transport, Connection) and not transport.TLS
    idle = is_socket and getattr(transport, "_tempDataBuffer", None) == []
    if idle and not transport.dataBuffer and transport.connected:
        try:
            sent = transport.socket.send(data)
        except OSError:
            # It is full, or there is something that write will meet again.
            sent = 0
        data = data[sent:]
    if data:
        transport.write(data)


def buffered(transport: Any) -> int:
    """The bytes that were written and not taken by the socket, where that is known."""
    later = getattr(transport, "_tempDataLen", None)
    if later is None:
        return 0
    first: int = len(transport.dataBuffer) - transport.offset
    return first + int(later)


class AnswerChannel(Protocol):
    """The sending half of a connection; the contract of Twisted's HTTPChannel.

    ``current`` is the request being answered, ``site`` has ``draining`` and the
    Date. ``peer`` is the client's host and ``comes_from`` its network. ``unsent``
    counts the bytes of answers that wait for the client to read; ``blocked_since``
    is when it last did, in seconds on the reactor's clock.
    """

    site: Any
    transport: Any
    current: BoundedRequest | None = None
    peer = ""
    comes_from = ""
    unsent = 0
    blocked_since = inf
    _blocked = False
    _buffered = 0  # of those, what the transport has
    _producer: Any = None

    def __init__(self) -> None:
        self._parts: deque[memoryview] = deque()

    def send_whole(
        self, request: BoundedRequest, status: int, head: bytes, body: bytes
    ) -> None:
        """Write a whole answer; see :meth:`BoundedRequest.respond`."""
        self._end_if_draining(request)
        end = b"\r\n" if request.persistent else b"Connection: close\r\n\r\n"
        length = len(body)
        if request.method == b"HEAD":
            body = b""
        is_small = len(body) <= PIECE
        whole = (
            b"%sContent-Length: %d\r\n%sX-Request-Id: %s\r\nServer-Timing: %s\r\n%s%s%s"
        ) % (
            STATUS_LINES[status],
            length,
            self.site.date(),
            request_id(request),
            self._timing(request),
            head,
            end,
            body if is_small else b"",
        )
        write_now(self.transport, whole)
        if not is_small:
            self.write(body)

    def send_refusal(
        self, status: int, text: str, head: bytes, name: bytes, arrived: float
    ) -> None:
        """Write the answer to what was not even read, after which we close."""
        body = error_body(text)
        self.transport.write(
            b"%sContent-Length: %d\r\n%sX-Request-Id: %s\r\nServer-Timing: %s\r\n"
            b"%s%s%sConnection: close\r\n\r\n%s"
            % (
                STATUS_LINES[status],
                len(body),
                self.site.date(),
                name,
                self._total(arrived),
                self.site.head,
                JSON_TYPE,
                head,
                body,
            )
        )

    def writeHeaders(
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Write the head of an answer."""
        request = self.current
        assert request is not None
        unbounded = not (headers.hasHeader(b"Content-Length") or request.chunked)
        if unbounded and int(code) >= 200 and int(code) not in (204, 304):
            # The close is what ends it (RFC 9112, section 6.3).
            request.persistent = request.persistent and request.method == b"HEAD"
        self._end_if_draining(request)
        lines = [b"HTTP/1.1 ", code, b" ", reason, b"\r\n", self.site.date()]
        lines += (b"X-Request-Id: ", request_id(request), b"\r\n")
        lines += (b"Server-Timing: ", self._timing(request), b"\r\n")
        headers.removeHeader(b"Connection")
        for name, values in headers.getAllRawHeaders():
            for value in values:
                lines += (name, b": ", value, b"\r\n")
        if not request.persistent:
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        self.transport.write(b"".join(lines))

    def write(self, data: bytes) -> None:
        """Write a part of an answer, no faster than the client reads."""
        if len(data) <= PIECE and not self._parts:
            self.transport.write(data)
            return
        self._parts.append(memoryview(data))
        self._count_unsent(len(data))
        self._send_parts()

    def writeSequence(self, parts: list[bytes]) -> None:
        """Write parts of an answer."""
        self.write(b"".join(parts))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A request streams its answer: it is told when the client is slow."""
        self._producer = producer if streaming else _PullToPush(producer, self.current)
        if not streaming:
            self._producer.startStreaming()
        if self._blocked:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The stream is over."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    @property
    def is_waiting(self) -> bool:
        """Whether a request was read, and its answer has not begun."""
        return self.current is not None and not self.current.startedWriting

    def _know_peer(self) -> None:
        """Note where it comes from."""
        self.peer = host_of(self.getPeer())
        self.comes_from = network_of(self.peer)

    def getPeer(self) -> IAddress:
        """Where it comes from."""
        peer: IAddress = self.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Where it leads to."""
        host: IAddress = self.transport.getHost()
        return host

    def isSecure(self) -> bool:
        """Whether it is under TLS."""
        return bool(ISSLTransport.providedBy(self.transport))

    def _block(self) -> None:
        """The transport has enough: the client does not read as fast."""
        self._blocked = True
        self.blocked_since = self.site.clock.seconds()
        self._count_buffered(buffered(self.transport))

    def _unblock(self) -> None:
        """The client has read on: send more, until the transport has enough."""
        self._blocked = False
        self.blocked_since = inf
        self._count_buffered(0)
        self._send_parts()

    def _send_parts(self) -> None:
        """Give the transport what waits, until it has enough."""
        parts = self._parts
        while parts and not self._blocked:
            piece = bytes(parts[0][:PIECE])
            parts[0] = parts[0][PIECE:]
            if not parts[0]:
                parts.popleft()
            self._count_unsent(-len(piece))
            self.transport.write(piece)

    def _drop_parts(self) -> None:
        """The client gets no more."""
        self._parts.clear()
        self._buffered = 0
        self._count_unsent(-self.unsent)

    def _count_buffered(self, count: int) -> None:
        more = count - self._buffered
        self._buffered = count
        self._count_unsent(more)

    def _count_unsent(self, more: int) -> None:
        self.unsent += more
        self.site.unsent += more
        self.site.held += more

    def _timing(self, request: BoundedRequest) -> bytes:
        trace = request.trace
        return self._total(request.arrived) if trace is None else server_timing(trace)

    def _total(self, arrived: float) -> bytes:
        return total_timing(self.site.clock.seconds() - arrived)

    def _end_if_draining(self, request: BoundedRequest) -> None:
        if self.site.draining:
            request.persistent = False
