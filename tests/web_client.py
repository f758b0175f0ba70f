"""Connections to a web site, in memory, with the standard library as the judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPMessage, HTTPResponse
from io import BytesIO
from typing import Any, cast

import attrs
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site

from txinfer.site import BoundedSite

LIMIT = 10_000


@attrs.frozen
class Answer:
    """A whole response."""

    status: int
    headers: HTTPMessage
    body: bytes

    def __getitem__(self, header: str) -> str | None:
        """A header that there is at most once."""
        values = self.headers.get_all(header) or []
        assert len(values) <= 1, header
        return values[0] if values else None

    @property
    def value(self) -> Any:
        """The body's JSON, strictly read."""
        assert self["Content-Type"] == "application/json"
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def error(self) -> str:
        """The text of a JSON error."""
        assert self.status >= 400
        assert list(self.value) == ["error"]
        return str(self.value["error"])


def _refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


class _Stream(BytesIO):
    """What a connection received, for a reader that closes what it has read."""

    def makefile(self, mode: str, buffering: int | None = None) -> _Stream:
        return self

    def close(self) -> None:
        pass


class Wire(StringTransport):
    """A transport that remembers how it was closed.

    ``half_closed``, ``disconnecting`` and ``disconnected`` tell of the server's
    ``loseWriteConnection``, ``loseConnection`` and ``abortConnection``.
    """

    half_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to do."""

    def loseWriteConnection(self) -> None:
        """Take note."""
        self.half_closed = True


class SlowWire(Wire):
    """A transport that buffers as Twisted's do, and whose client reads when told to.

    ``waiting`` is how many bytes it holds. The client has read the rest.
    """

    # As twisted.internet.abstract.FileDescriptor.bufferSize.
    BUFFER = 65536

    waiting = 0
    _paused = False

    def write(self, data: bytes) -> None:
        """Hold it; tell the producer if that is too much."""
        super().write(data)
        self.waiting += len(data)
        if self.producer is not None and self.waiting > self.BUFFER:
            self._paused = True
            self.producer.pauseProducing()

    def read(self, count: int | None = None) -> None:
        """Have the client read so many bytes of what waits, or all of it."""
        self.waiting -= self.waiting if count is None else min(count, self.waiting)
        if not self.waiting and self._paused and self.producer is not None:
            self._paused = False
            self.producer.resumeProducing()


class Connection:
    """A client's end of a connection to a site.

    ``open`` is whether the server has neither closed it nor cut it.
    """

    def __init__(self, site: Site, wire: Wire | None = None) -> None:
        self.wire = wire or Wire()
        self.channel: Any = site.buildProtocol(self.wire.getPeer())
        self.channel.makeConnection(self.wire)
        self.open = True

    @property
    def received(self) -> bytes:
        """All that came from the server."""
        received: bytes = self.wire.value()
        return received

    def send(self, *data: bytes) -> None:
        """Send, in as many segments; what comes to a closed end is lost."""
        for segment in data:
            if self.open:
                self.channel.dataReceived(segment)
            self.settle()

    def half_close(self) -> None:
        """Send no more, but go on reading."""
        self.channel.readConnectionLost()
        if self.wire.half_closed:
            self.channel.writeConnectionLost()
        self.settle()

    def hang_up(self) -> None:
        """Be gone."""
        self._lose()

    def settle(self) -> None:
        """Let the server hear that it has closed the connection."""
        if self.open and self.wire.disconnecting:
            self._lose()

    def answers(self, *methods: str) -> list[Answer]:
        """The responses so far, all of them whole; by default to POST."""
        stream = _Stream(self.received)
        answers = []
        verbs = iter(methods)
        while stream.tell() < len(self.received):
            # It skips "100 Continue" by itself.
            response = HTTPResponse(cast(Any, stream), method=next(verbs, "POST"))
            response.begin()
            body = response.read()
            answers.append(Answer(response.status, response.headers, body))
        return answers

    def answer(self, method: str = "POST") -> Answer:
        """The only response."""
        (answer,) = self.answers(method)
        return answer

    def _lose(self) -> None:
        self.open = False
        self.channel.connectionLost(Failure(ConnectionDone()))


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A request as it goes over the wire."""
    fields = {"Host": "example.org", **(headers or {})}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class WebClient:
    """Asks a resource, by default at the root of a site of our own."""

    def __init__(self, root: IResource, site: Site | None = None) -> None:
        self.clock = Clock()
        self.site = site or BoundedSite(root, body_limit=LIMIT, reactor=self.clock)

    def begin(self, method: str, path: str, *args: Any) -> Connection:
        """Send a request on a connection of its own; see :func:`request`."""
        connection = Connection(self.site)
        connection.send(request(method, path, *args))
        return connection

    def ask(self, method: str, path: str, *args: Any) -> Answer:
        """The answer to a request that is answered at once."""
        return self.begin(method, path, *args).answer(method)

    def get(self, path: str, **headers: str) -> Answer:
        """GET; underscores in the names of headers stand for hyphens."""
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.ask("GET", path, None, fields)
