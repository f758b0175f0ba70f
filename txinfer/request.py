"""A request under our own site: Twisted's, made of no more than it is asked for.

Twisted's own constructor builds two ``Headers``, fetches addresses and prepares
for cookies, forms and adapters: more time than answering a small call takes.
Here all of that is made when somebody asks for it. Handlers and resources see a
:class:`twisted.web.server.Request`.
"""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import attrs
import orjson
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request as WebRequest

from .observe import NOBODYS
from .trace import Trace

#: Status lines, as they begin every answer.
STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii")
    for status in HTTPStatus
}

JSON_TYPE = b"Content-Type: application/json\r\n"

Fields = dict[bytes, bytes]
Pairs = list[tuple[bytes, bytes]]


def error_body(text: str) -> bytes:
    """The body of every error."""
    return orjson.dumps({"error": text})


@attrs.frozen(eq=False)
class Head:
    """What stands before a request's body; it may be that of many requests.

    Args:
        method: the verb.
        uri: the target, in origin form (``/path?query``) or ``*``.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        fields: the headers, names in lower case; of repeated ones the last.
        repeated: the earlier ones of repeated headers.
        persistent: whether the client means to send another on the connection.
        length: of the body, in bytes, as it is announced; 0 if it is chunked.

    ``notes`` is for what others work out from a head once, each under its own key;
    heads that differ in the length alone share them.
    """

    method: bytes
    uri: bytes
    version: bytes
    fields: Fields
    repeated: Pairs
    persistent: bool
    length: int
    notes: dict[object, Any] = attrs.field(factory=dict, repr=False)


class BoundedRequest(WebRequest):
    """A request whose head is there; its body, in memory, comes later.

    Args:
        channel: the connection it came on.
        head: its head; none of that is changed.
        arrived: when its first byte came, in seconds on the reactor's clock.

    ``comes_from`` is the client's network, which its connection knows;
    ``body`` holds the whole body once it is there, and as long as it is wanted;
    ``held`` is how many bytes the site counts for it until the request is answered;
    ``pending`` is cancelled if the client hangs up before the answer; ``labels`` and
    ``trace`` tell whose method was called and where the time went, if it is a call.
    """

    channel: Any
    site: Any
    defaultContentType = b"application/json"
    persistent = False
    body = b""
    held = 0
    pending: Deferred[Any] | None = None
    labels = NOBODYS
    trace: Trace | None = None
    known_as: bytes | None = None
    client_name: str | None = None
    queued = False
    _parsePOSTFormSubmission = False
    # Whether headers were made. Not asked of ``__dict__``: that would have the
    # interpreter make one, and look up each attribute in it from then on.
    _has_headers = False
    _sets_headers = False

    def __init__(self, channel: Any, head: Head, arrived: float) -> None:
        # Not WebRequest's: see the module.
        self.channel = channel
        self.comes_from: str = channel.comes_from
        self.site: Any = channel.site
        self.head = head
        self.method = head.method
        self.uri = head.uri
        self.clientproto = head.version
        self.fields = head.fields
        self.persistent = head.persistent
        self.arrived = arrived
        self.notifications = []

    # Made when asked for. (Twisted declares these as plain attributes.)

    @cached_property
    def content(self) -> BytesIO:  # type: ignore[override]
        """The body as a file."""
        return BytesIO(self.body)

    @cached_property
    def path(self) -> bytes:  # type: ignore[override]
        """The target without its query."""
        return self.uri.partition(b"?")[0]

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        """The query, by name."""
        query = self.uri.partition(b"?")[2]
        return parse_qs(query, keep_blank_values=True) if query else {}

    @cached_property
    def requestHeaders(self) -> Headers:  # type: ignore[override]
        """All headers that came."""
        self._has_headers = True
        headers = Headers()
        for name, value in (*self.head.repeated, *self.fields.items()):
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        """The headers of the answer; those of every answer are there already."""
        self._sets_headers = True
        headers = Headers()
        for line in self.site.head.splitlines():
            name, _, value = line.partition(b": ")
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def received_cookies(self) -> Fields:  # type: ignore[override]
        """None are read: nothing here wants one."""
        return {}

    @cached_property
    def cookies(self) -> list[bytes]:  # type: ignore[override]
        """The cookies of the answer."""
        return []

    @cached_property
    def _adapterCache(self) -> dict[str, object]:  # type: ignore[override]
        return {}

    @cached_property
    def client(self) -> IAddress:
        """Where the connection comes from."""
        peer: IAddress = self.channel.getPeer()
        return peer

    @cached_property
    def host(self) -> IAddress:
        """Where the connection leads to."""
        host: IAddress = self.channel.getHost()
        return host

    @cached_property
    def transport(self) -> Any:  # type: ignore[override]
        """The connection's transport."""
        return self.channel.transport

    def getHeader(self, key: Any) -> Any:
        """A header, the last one if it is repeated; None if there is none."""
        if self._has_headers:
            # Somebody may have changed them.
            return super().getHeader(key)
        if isinstance(key, bytes):
            return self.fields.get(key.lower())
        value = self.fields.get(key.lower().encode("iso-8859-1"))
        return None if value is None else value.decode("iso-8859-1")

    # Answering

    def process(self) -> None:
        """Hand the request to whoever answers it."""
        answer = self.site.shortcuts.get((self.method, self.uri))
        try:
            if answer is not None:
                answer(self)
                return
            self.prepath = []
            self.postpath = [unquoted(part) for part in self.path[1:].split(b"/")]
            if self.uri == b"*":
                self.setResponseCode(204)
                self.finish()
                return
            self.render(self.site.getResourceFor(self))
        except BaseException:
            self.processingFailed(Failure())

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer at once, and be done.

        Args:
            status: the status.
            head: header lines besides Content-Length, Date and Connection, and
                those that the site has on every answer.
            body: the body; not sent in answer to HEAD.
        """
        if self.finished or self._disconnected:
            return
        self.code = status
        self.startedWriting = 1
        self.sentLength = len(body)
        if self._sets_headers:
            head += self._more_lines(head)
        else:
            head += self.site.head
        self.channel.send_whole(self, status, head, body)
        self._end()

    def _more_lines(self, head: bytes) -> bytes:
        """The headers set one by one that are not in a head already."""
        there = {line.partition(b":")[0].lower() for line in head.splitlines()}
        there |= {b"content-length", b"connection", b"date"}
        return b"".join(
            b"%s: %s\r\n" % (name, value)
            for name, values in self.responseHeaders.getAllRawHeaders()
            if name.lower() not in there
            for value in values
        )

    def finish(self) -> None:
        """The answer is whole."""
        if self._disconnected or self.finished:
            return
        if not self.startedWriting:
            self.write(b"")
        if self.chunked:
            self.channel.write(b"0\r\n\r\n")
        self._end()

    def processingFailed(self, reason: Failure) -> Failure:
        """A resource raised: say so in JSON, log the rest."""
        self.site.quota.failure("A resource failed", reason)
        if self.finished or self._disconnected:
            return reason
        if self.startedWriting:
            # Half an answer can only be cut short.
            self.channel.abortConnection()
            return reason
        self.respond(500, JSON_TYPE, error_body("internal error"))
        return reason

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone: nobody waits for the answer any more."""
        self._disconnected = True
        self.channel = None
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.cancel()
        notifications, self.notifications = self.notifications, []
        for notification in notifications:
            notification.errback(reason)

    def _end(self) -> None:
        self.finished = 1
        self.pending = None
        channel = self.channel
        if self.producer:
            self.unregisterProducer()
        if self.notifications:
            notifications, self.notifications = self.notifications, []
            for notification in notifications:
                notification.callback(None)
        self.channel = None
        channel.requestDone(self)


def unquoted(segment: bytes) -> bytes:
    """A path segment with its percent escapes decoded."""
    return unquote_to_bytes(segment) if b"%" in segment else segment
