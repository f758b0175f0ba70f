"""Bytes of one connection to requests, bounded in everything.

llhttp (through httptools) parses, and is strict: a line ends in CRLF, no header
is folded, a length is a plain number that is there once, and no
``Transfer-Encoding`` stands beside it. What it lets pass and a server must not
is in :mod:`.heads`.

Once a head says that so many bytes follow, these are counted, and not parsed: for
what comes behind them there is a new parser.
"""

from __future__ import annotations

from typing import Any

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from .heads import BAD_SYNTAX, path_of, wrong_head
from .incoming import Incoming, Site
from .request import BoundedRequest, Head, Pairs
from .seen import is_plain

# What framing of a chunked body may cost: so many bytes for all, and for each
# chunk (its size, two line ends, a short extension).
FRAMING = 64 * 1024
FRAMING_PER_CHUNK = 32

# llhttp knows the methods of the IANA registry, and reads no further.
UNKNOWN_METHOD = "the request does not begin with a known HTTP method"


class Reader(Incoming):
    """Parses what comes; see :class:`.Incoming` for what is to be had of it.

    Args:
        channel: what the requests are to be answered on.
        site: has the limits.
    """

    _target: bytes
    _repeated: Pairs
    _framing: bytes | None  # the header that says how long the body is
    _in_body_only = False

    def __init__(self, channel: object, site: Site) -> None:
        super().__init__(channel, site)
        self._parser: Any = HttpRequestParser(self)
        self._now = 0.0
        self._begin()

    def feed(self, data: bytes, now: float) -> None:
        """Parse what came at ``now``, in seconds on the reactor's clock."""
        self._now = now
        if self.missing:
            self._collect(data)
        elif self.in_request or self.refusal is not None:
            self._parse(data)
            if self.in_request:
                self._bound_wire(len(data))
                self._leave_parser()
        else:
            known = self._site.seen.find(data)
            if known is None or not self._take(known, data):
                self._start(data)

    def close(self) -> None:
        """Parse no more, and let go of what was read."""
        self._parser = None
        super().close()

    def _start(self, data: bytes) -> None:
        """Parse what begins with a request."""
        is_first = not self.ready
        self._parse(data)
        if is_first and self.refusal is None:
            self._keep(data)
        if self.in_request:
            self._leave_parser()

    def _keep(self, data: bytes) -> None:
        """Know a head again that was just parsed."""
        ready, request = self.ready, self._request
        if not self.in_request and len(ready) == 1:
            self._site.seen.keep(data, ready[0].head, ready[0].head.length)
        elif request is not None and not ready:
            self.head_size = len(data) - self._body.size
            self._site.seen.keep(data, request.head, self._body.size)

    def _take(self, known: tuple[Head, int], data: bytes) -> bool:
        """Take a request whose head is known, and what there is of its body.

        Returns:
            False if its body is larger than it may be.
        """
        head, came = known
        site, length = self._site, head.length
        if length > site.body_limit:
            return False
        site.requests += 1
        request = BoundedRequest(self._channel, head, self._now)
        if length:
            self._request = request
            if came < length:
                self._arrived = self._now
                self.in_request = True
            refusal = site.gate(request, length)
            if refusal is not None:
                self._refuse(*refusal)
                return True
            if site.held + came > self._limits.body_bytes:
                self._refuse_full()
                return True
            if came < length:
                self._await_body(data, came)
                return True
            self._request = None
            site.held += length
            request.held = length
            request.body = data[-length:]
        self.ready.append(request)
        return True

    def _await_body(self, data: bytes, came: int) -> None:
        """Begin with a body, of which the last bytes of data are the first part."""
        assert self._request is not None
        self.head_size = len(data) - came
        self._in_head = False
        self.deadline = self._now + self._limits.body_timeout
        self.missing = self._request.head.length - came
        if came:
            # It is copied when all of it is there.
            self._add(memoryview(data)[-came:])

    def _leave_parser(self) -> None:
        """Count the rest of a body, if its length is all that is to be known."""
        request = self._request
        if request is None or self.refusal is not None:
            return
        head = request.head
        if head.length and is_plain(head):
            self.missing = head.length - self._body.size
            self._parser = HttpRequestParser(self)
            self._framing = None
            self._in_body_only = False

    def _collect(self, data: bytes) -> None:
        """Take a part of a body, and read what may follow on the last one."""
        missing = self.missing
        part = data if len(data) <= missing else data[:missing]
        self.missing -= len(part)
        self._add(part)
        if self.missing or self.refusal is not None:
            return
        self._complete()
        if len(data) > missing:
            self.feed(data[missing:], self._now)

    def _parse(self, data: bytes) -> None:
        try:
            while data and self.refusal is None:
                data = self._parse_on(data)
        except HttpParserInvalidMethodError:
            self._refuse(400, UNKNOWN_METHOD)
        except HttpParserError:
            self._refuse(400, BAD_SYNTAX)

    def _parse_on(self, data: bytes) -> bytes:
        """Parse what comes up to an upgrade; what follows on that is returned."""
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._do_not_upgrade()
            return data[upgrade.args[0] :]
        return b""

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
        self._add(part)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._framing is not None and self._parser.should_upgrade():
            return  # its body is still to come
        self._framing = None
        self._in_body_only = False
        self._complete()

    # Rules

    def _begin(self) -> None:
        self._arrived = self._now
        self._request = None
        self._target = b""
        self._fields = {}
        self._repeated = []
        self._in_head = False
        self._head_size = 0
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

    def _bound_wire(self, count: int) -> None:
        """Count what is never handed out: headers without end, framing.

        Called for what came after the read in which the request began, so a
        part of one read may escape it.
        """
        self._wire += count
        if self._in_head:
            if self._wire > self._limits.uri_size + self._limits.header_size:
                self._refuse_headers()
        elif self._wire - self._body.size > FRAMING + FRAMING_PER_CHUNK * self._chunks:
            self._refuse(400, "the body's chunks are mostly framing")
