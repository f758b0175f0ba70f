"""Requests delivered byte by byte, cut, mixed and damaged, over wires in memory.

Whatever comes: no exception escapes, nothing hangs, answers are whole, and
nothing is held once a connection is over.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher

from tests.hostile.calls import CALLS
from tests.hostile.cases import CASES, LIMITS, REQUEST_SIZE
from tests.memory import MemoryModel
from tests.pool import SteppedThreads
from tests.web_client import Connection
from txinfer.collector import Collector
from txinfer.limits import CallLimits, DoorLimits
from txinfer.models import Servable
from txinfer.policy import BatchPolicy
from txinfer.protocols.native import Dialect
from txinfer.routing import Api
from txinfer.site import BoundedSite
from txinfer.web import CORS_HEADERS, PREFLIGHT_HEADERS, Root

# Longer than every deadline of a connection together, in seconds.
EVER = 200

#: What is sent, as it is or damaged; the largest would only take long.
RECORDED = [
    sent for sent in (b"".join(case.sent) for case in CASES) if 0 < len(sent) < 5000
]

# What a damaged request is damaged with: what means something to a parser.
SPICE = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"/", b"%00"),
    *(b"0\r\n\r\n", b"\r\n\r\n", b"Content-Length: 5\r\n", b"HTTP/1.1", b"Host: a\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"\xff",
        b"{",
        b"[",
    ),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"5\r\n"),
]


class Victim:
    """A whole server without sockets, threads or time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.threads = SteppedThreads()
        collector = Collector(self.threads, self.clock, BatchPolicy())
        servable = Servable(MemoryModel, self.threads, collector)
        loaded = Deferred.fromCoroutine(servable.load())
        self.threads.finish()
        assert loaded.called
        limits = CallLimits(request_size=REQUEST_SIZE, **CALLS)
        dialect = Dialect(servable, None, limits, self.clock)
        root = Root(Api(dialect.router()), CORS_HEADERS, PREFLIGHT_HEADERS)
        door = DoorLimits(**LIMITS)
        self.site = BoundedSite(root, door, REQUEST_SIZE, reactor=self.clock)
        self.failures: list[str] = []
        self.logged: list[str] = []
        self._observer = cast(ILogObserver, self._note)
        globalLogPublisher.addObserver(self._observer)

    def close(self) -> None:
        """Listen to the log no longer."""
        globalLogPublisher.removeObserver(self._observer)

    def suffer(self, segments: list[bytes], ending: str) -> Connection:
        """One connection, from its first byte to its end.

        Args:
            segments: what is sent, in this many parts.
            ending: ``waits``, ``half_closes`` or ``hangs_up`` when all is sent.
        """
        connection = Connection(self.site)
        for segment in segments:
            connection.send(segment)
            self.threads.finish()
        if ending == "half_closes" and connection.open:
            connection.half_close()
        elif ending == "hangs_up" and connection.open:
            connection.hang_up()
        self.threads.finish()
        connection.settle()
        self._outlive(connection)
        return connection

    def _outlive(self, connection: Connection) -> None:
        """See that everything ends, and that nothing is left of it."""
        for _ in range(3):
            if connection.open:
                self.clock.advance(EVER)
                connection.settle()
                if connection.open and connection.wire.disconnected:
                    connection.hang_up()
        assert not connection.open, "it is never over"
        assert not self.site.channels
        assert self.site.held == 0
        # One timer is for the deadlines of all calls, and finds nothing in the end.
        self.clock.advance(EVER)
        assert not self.clock.getDelayedCalls()
        assert not self.failures, self.failures

    def _note(self, event: dict[str, object]) -> None:
        self.logged.append(formatEvent(event))
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            self.failures.append(str(event.get("log_failure") or event))


def attacks(count: int, seed: int) -> Iterator[tuple[list[bytes], str]]:
    """As many damaged deliveries, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        sent = chance.choice(RECORDED)
        if chance.random() < 0.3:
            sent += chance.choice(RECORDED)
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            sent = damaged(chance, sent)
        ending = chance.choice(("waits", "half_closes", "hangs_up"))
        yield cut(chance, sent), ending


def damaged(chance: random.Random, sent: bytes) -> bytes:
    """Bytes with one thing wrong."""
    at = chance.randrange(len(sent) + 1)
    to = min(len(sent), at + chance.choice((1, 1, 2, 8, 100)))
    how = chance.randrange(5)
    if how == 0:
        return sent[:at] + sent[to:]
    if how == 1:
        return sent[:at] + sent[at:to] * 2 + sent[to:]
    if how == 2:
        return sent[:at] + chance.choice(SPICE) + sent[at:]
    if how == 3:
        return sent[:at] + chance.randbytes(to - at) + sent[to:]
    return sent[:at]


def cut(chance: random.Random, sent: bytes) -> list[bytes]:
    """Bytes in segments of some sizes; at times of one."""
    size = chance.choice((1, 2, 7, 50, 1000, 100_000))
    if size == 1 and len(sent) > 500:
        size = 50
    return [sent[i : i + size] for i in range(0, len(sent), size)]
