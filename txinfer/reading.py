"""Bytes of one connection to requests, bounded in everything.

llhttp (through httptools) parses, and is strict: a line ends in CRLF, no header
is folded, a length is a plain number that is there once, and no
``Transfer-Encoding`` stands beside it. What it lets pass and a server must not
is in :mod:`.heads`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from .headers import ID_HEADER, name_of, request_id
from .heads import BAD_SYNTAX, path_of, wrong_head
from .limits import DoorLimits
from .observe import NOBODYS, IObserver, Shed
from .request import BoundedRequest, Fields, Head, Pairs
from .seen import SeenHeads

# What framing of a chunked body may cost: so many bytes for all, and for each
# chunk (its size, two line ends, a short extension).
FRAMING = 64 * 1024
FRAMING_PER_CHUNK = 32

# Who is sent away with 503 may come again soon.
RETRY = b"Retry-After: 1\r\n"

# llhttp knows the methods of the IANA registry, and reads no further.
UNKNOWN_METHOD = "the request does not begin with a known HTTP method"

#: A status, a text, and header lines that belong to them.
Refusal = tuple[int, str, bytes]


class Site(Protocol):
    """What a reader has to know of the site.

    ``requests`` counts those that have begun, ``held`` the bytes of bodies in
    memory; ``observer`` is told if that is too much. ``seen`` knows the heads that
    were sent before. ``gate`` is asked before a body is read, with its announced
    length (0 if it is chunked).
    """

    limits: DoorLimits
    body_limit: int
    requests: int
    held: int
    observer: IObserver
    seen: SeenHeads

    def gate(self, request: BoundedRequest, announced: int, /) -> Refusal | None:
        """Why not to read the body of a request; None to read it."""


class Reader:
    """Parses what comes; the requests that are whole wait in ``ready``.

    ``refusal`` is what to answer after them once something is wrong; nothing
    is parsed any more then. ``in_request`` is whether a request has begun and
    is not whole, ``deadline`` by when it has to be, ``wants_continue`` whether
    the client waits for an interim answer.

    Args:
        channel: what the requests are to be answered on.
        site: has the limits.
    """

    _request: BoundedRequest | None
    _target: bytes
    _fields: Fields
    _repeated: Pairs
    _body: bytes | bytearray
    _framing: bytes | None  # the header that says how long the body is
    _in_body_only = False

    def __init__(self, channel: object, site: Site) -> None:
        self.ready: deque[BoundedRequest] = deque()
        self.refusal: Refusal | None = None
        self.in_request = False
        self.wants_continue = False
        self.deadline = 0.0
        self._channel: Any = channel
        self._site = site
        self._limits = site.limits
        self._parser: Any = HttpRequestParser(self)
        self._held = 0
        self._now = 0.0
        self._begin()

    def feed(self, data: bytes, now: float) -> None:
        """Parse what came at ``now``, in seconds on the reactor's clock."""
        self._now = now
        was_in_request = self.in_request
        if not was_in_request and self.refusal is None:
            head = self._site.seen.find(data)
            if head is not None and head.length <= self._site.body_limit:
                self._take(head, data)
                return
        try:
            self._parse(data)
        except HttpParserInvalidMethodError:
            self._refuse(400, UNKNOWN_METHOD)
        except HttpParserError:
            self._refuse(400, BAD_SYNTAX)
        if was_in_request:
            if self.in_request:
                self._bound_wire(len(data))
        elif len(self.ready) == 1 and not (self.in_request or self.refusal):
            self._site.seen.keep(data, self.ready[0].head)

    def _take(self, head: Head, data: bytes) -> None:
        """Take a request whose head is known, and whose body is there."""
        site, length = self._site, head.length
        site.requests += 1
        request = BoundedRequest(self._channel, head, self._now)
        if length:
            self._request = request
            refusal = site.gate(request, length)
            if refusal is not None:
                self._refuse(*refusal)
                return
            if site.held + length > self._limits.body_bytes:
                self._refuse_full()
                return
            self._request = None
            site.held += length
            request.body = data[-length:]
        self.ready.append(request)

    @property
    def request(self) -> BoundedRequest | None:
        """The request that is being read or was refused, if its head is in order."""
        return self._request

    @property
    def arrived(self) -> float | None:
        """When the request began that is being read or was refused, if one has."""
        return self._arrived if self.in_request else None

    def request_name(self) -> bytes:
        """What that is called, or would be if its head were in order."""
        request = self._request
        if request is not None:
            return request_id(request)
        return name_of(self._fields.get(ID_HEADER))

    def close(self) -> None:
        """Parse no more, and let go of what was read."""
        self._parser = self._channel = None
        self._site.held -= sum(len(request.body) for request in self.ready)
        self.ready.clear()
        self.drop_body()

    def _parse(self, data: bytes) -> None:
        while data and self.refusal is None:
            try:
                self._parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._do_not_upgrade()

    def _do_not_upgrade(self) -> None:
        """Go on as if no upgrade had been asked for, as curl does for HTTP/2.

        The parser has stopped behind the head. A new one takes what follows:
        the next request, or the body, for which it needs a head.
        """
        self._parser = HttpRequestParser(self)
        framing = self._framing
        if framing is not None:
            self._framing = None
            self._in_body_only = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n\r\n" % framing)

    # What the parser tells. None of these may raise.

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._in_body_only:
            return
        self._begin()
        self._site.requests += 1
        self.in_request = self._in_head = True
        self.deadline = self._now + self._limits.header_timeout

    def on_url(self, part: bytes) -> None:
        """A part of the target."""
        if self._in_body_only:
            return
        self._target += part
        if len(self._target) > self._limits.uri_size:
            self._refuse(414, f"the URL is longer than {self._limits.uri_size} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody asks for."""
        if not self._in_head:
            return
        name = name.lower()
        fields = self._fields
        if name in fields:
            self._repeated.append((name, fields[name]))
        fields[name] = value.rstrip(b"\t ")
        self._head_size += len(name) + len(value) + 4
        limits = self._limits
        if self._head_size > limits.header_size:
            self._refuse_headers()
        elif len(fields) + len(self._repeated) > limits.header_count:
            self._refuse(431, f"there are more than {limits.header_count} headers")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        if self.refusal is not None or self._in_body_only:
            return
        version = self._parser.get_http_version()
        method = self._parser.get_method()
        wrong = wrong_head(method, self._target, version, self._fields, self._repeated)
        if wrong is not None:
            self._refuse(*wrong)
            return
        announced = int(self._fields.get(b"content-length", b"0"))
        head = Head(
            method,
            path_of(self._target),
            b"HTTP/1.1" if version == "1.1" else b"HTTP/1.0",
            self._fields,
            self._repeated,
            version == "1.1" and self._parser.should_keep_alive(),
            announced,
        )
        self._request = BoundedRequest(self._channel, head, self._arrived)
        self._expect_body(version, announced)

    def on_chunk_header(self) -> None:
        """One more chunk."""
        self._chunks += 1
        if self._chunks > self._limits.chunks:
            self._refuse(400, f"the body has more than {self._limits.chunks} chunks")

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        if self.refusal is not None:
            return
        self.wants_continue = False
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            # A list of parts of one byte would take fifty times their size.
            self._body = bytearray(self._body) + part
        self._hold(len(part))

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._framing is not None and self._parser.should_upgrade():
            return  # its body is still to come
        self._framing = None
        self._in_body_only = False
        self.in_request = self.wants_continue = False
        request = self._request
        if self.refusal is not None or request is None:
            return
        request.body = bytes(self._body)
        # The request gives back what it holds.
        self._held = 0
        self._body = b""
        self.ready.append(request)
        self._request = None
        self._fields = {}

    # Rules

    def _begin(self) -> None:
        self._arrived = self._now
        self._request = None
        self._target = b""
        self._fields = {}
        self._repeated = []
        self._in_head = False
        self._head_size = 0
        self._body = b""
        self._chunks = 0
        self._wire = 0
        self._framing = None

    def _expect_body(self, version: str, announced: int) -> None:
        fields = self._fields
        if announced > self._site.body_limit:
            self._refuse_body()
        elif announced or b"transfer-encoding" in fields:
            self._framing = (
                b"Content-Length: %d" % announced
                if announced
                else b"Transfer-Encoding: chunked"
            )
            self.deadline = self._now + self._limits.body_timeout
            self.wants_continue = b"expect" in fields and version == "1.1"
            self._wire = 0
            assert self._request is not None
            refusal = self._site.gate(self._request, announced)
            if refusal is not None:
                self._refuse(*refusal)

    def _hold(self, count: int) -> None:
        """Account for what came of a body."""
        self._held += count
        self._site.held += count
        if self._held > self._site.body_limit:
            self._refuse_body()
        elif self._site.held > self._limits.body_bytes:
            self._refuse_full()

    def _bound_wire(self, count: int) -> None:
        """Count what is never handed out: headers without end, framing.

        Called for what came after the read in which the request began, so a
        part of one read may escape it.
        """
        self._wire += count
        if self._in_head:
            if self._wire > self._limits.uri_size + self._limits.header_size:
                self._refuse_headers()
        elif self._wire - self._held > FRAMING + FRAMING_PER_CHUNK * self._chunks:
            self._refuse(400, "the body's chunks are mostly framing")

    def _refuse_full(self) -> None:
        self._site.observer.shed(NOBODYS, Shed.BODIES)
        self._refuse(503, "the server holds as many bodies as it can", RETRY)

    def _refuse_headers(self) -> None:
        size = self._limits.header_size
        self._refuse(431, f"the headers are larger than {size} bytes")

    def _refuse_body(self) -> None:
        limit = self._site.body_limit
        self._refuse(413, f"the request body is larger than {limit} bytes")

    def _refuse(self, status: int, text: str, head: bytes = b"") -> None:
        if self.refusal is None:
            self.refusal = status, text, head
            self.wants_continue = False
            self.drop_body()

    def drop_body(self) -> None:
        """Let go of what was read of a body."""
        self._site.held -= self._held
        self._held = 0
        self._body = b""
