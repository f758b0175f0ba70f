"""The site of our own: bounded, JSON to the last error, drainable.

What Twisted's own would do instead: spool a body of any size to disk, answer
``100 Continue`` to any announced length, refuse bad syntax without a body, wait
for ever for clients that drip, and serve kept-alive connections on after the
port is closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource
from twisted.web.server import Site

from .gone import GONE, tell_gone
from .http import BoundedChannel
from .incoming import Refusal
from .limits import CallLimits, DoorLimits
from .observe import NOBODY, NOBODYS, IObserver, Labels, Shed
from .overdue import NEVER, Due, Overdue
from .quota import LogQuota
from .request import BoundedRequest
from .seen import SeenHeads

# Seconds between looks at all deadlines. One look costs a fraction of a
# microsecond a connection; a timer for each request would cost ten.
TICK = 0.25

# Seconds after which a client that has not read on makes room for others, if room is
# needed. It has a piece of 128 KiB to read in that time.
STUCK = 2.0

# Deadlines seen to in one turn of the reactor. A refusal takes some 50 us, and as many
# connections as there may be can be made, and so be late, at the same time.
MOST_LATE = 100

# Connections past the limit that are told so at a time, since each is kept until its
# client has noticed. Half of the open files that are spared for other than clients
# (``sockets.OTHER_FILES``): when there are none left, Twisted logs each connection.
MOST_TOLD = 128

# Seconds that an idle kept-alive connection may still use to send a request
# once draining began: long enough for one that is already on the wire.
DRAIN_GRACE = 0.5

# Seconds after which draining cuts off clients that drip their request or do not
# read their answer: they must not hold up a restart. Service managers wait from
# 10 s (Docker) over 30 s (Kubernetes) to 90 s (systemd) before they kill.
DRAIN_LIMIT = 25.0

Shortcuts = dict[tuple[bytes, bytes], Callable[[Any], object]]
Gate = Callable[[BoundedRequest, int], Refusal | None]
DueTime = Callable[[BoundedRequest], float | None]


def _open(request: BoundedRequest | None, announced: int) -> Refusal | None:
    """Let every body in."""
    return None


def _never(request: BoundedRequest) -> float | None:
    """Let every request come as slowly as the door lets it."""
    return None


class BoundedSite(Site):
    """A site whose requests are bounded and that can be drained.

    ``channels`` are the connections, ``requests`` how many have begun so far,
    ``held`` the bytes of bodies until they are answered, and of answers that wait,
    and ``unsent`` those of answers alone; ``quota`` is for the log, and ``seen``
    knows heads again.
    ``observer`` is told of every answer, and of clients that hang up before.
    ``on_answer`` is called with each request that a resource saw and its channel,
    once it is answered or its client is gone, ``on_refusal`` with the status of each
    that none saw.

    The root resource may have ``shortcuts``: what answers (verb, target)
    directly; ``gate``: asked before a body is read, with its announced length
    (0 if it is chunked), why not to; ``due``: asked when the answer to a request
    has to be there whose body is still to come; ``head``: header lines of every
    answer; and ``observer``.

    Args:
        resource: the root.
        limits: what the channel takes.
        body_limit: the largest request body, in bytes.
        reactor: for the time.
    """

    def __init__(
        self,
        resource: IResource,
        limits: DoorLimits | None = None,
        body_limit: int = CallLimits().request_size,
        *,
        reactor: Any,
    ) -> None:
        super().__init__(resource, reactor=reactor)
        self.displayTracebacks = False
        self.noisy = False
        self.limits = limits or DoorLimits()
        self.body_limit = body_limit
        self.clock = reactor
        self.quota = LogQuota(Logger("txinfer.site"), reactor)
        self.channels: set[BoundedChannel] = set()
        self.requests = 0
        self.held = 0
        self.unsent = 0
        self.seen = SeenHeads()
        self.shortcuts: Shortcuts = getattr(resource, "shortcuts", {})
        self.head: bytes = getattr(resource, "head", b"")
        self.gate: Gate = getattr(resource, "gate", _open)
        self.due: DueTime = getattr(resource, "due", _never)
        self._overdue = Overdue(reactor, MOST_LATE)
        self.observer: IObserver = getattr(resource, "observer", NOBODY)
        self.on_answer: Callable[[BoundedRequest, BoundedChannel], object] | None = None
        self.on_refusal: Callable[[int, BoundedChannel], object] | None = None
        self.draining = False
        self._crowds: dict[str, int] = {}
        self._date = (-1, b"")
        self._drained: Deferred[None] | None = None
        self._timers: list[IDelayedCall] = []
        self._tick: IDelayedCall | None = None

    # Connections

    def buildProtocol(self, addr: IAddress | None) -> BoundedChannel:  # type: ignore[override]
        """A channel of our own."""
        channel = BoundedChannel(self)
        channel.factory = self
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 only: the channel speaks no HTTP/2, even where Twisted could."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """The first port is opened, perhaps once more: do not drain any longer."""
        super().startFactory()
        self.draining = False

    def enter(self, channel: BoundedChannel) -> str | None:
        """Know a connection; the reason to send it away if there are too many.

        The reason is empty if there are so many that it is not even told.
        """
        self.channels.add(channel)
        channel.address = getattr(channel.getPeer(), "host", None)
        if self._tick is None:
            self._tick = self.clock.callLater(TICK, self._look)
        crowd = 0
        if channel.address is not None:
            crowd = self._crowds.get(channel.address, 0) + 1
            self._crowds[channel.address] = crowd
        past = len(self.channels) - self.limits.connections
        if past > 0:
            self.observer.shed(NOBODYS, Shed.CONNECTIONS)
            if past > MOST_TOLD:
                return ""
            return "the server has as many connections as it takes"
        if crowd > self.limits.connections_per_address:
            self.observer.shed(NOBODYS, Shed.CONNECTIONS)
            return "your address has as many connections as it may"
        return None

    def leave(self, channel: BoundedChannel) -> None:
        """Forget a connection; the last one ends draining."""
        self.channels.discard(channel)
        crowd = self._crowds.pop(channel.address or "", 0) - 1
        if crowd > 0:
            assert channel.address is not None
            self._crowds[channel.address] = crowd
        if self.channels:
            return
        self._overdue.stop()
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._tell_drained()

    def tell_gone(self, request: BoundedRequest, channel: BoundedChannel) -> None:
        """The client of a request hung up before its answer was whole."""
        request.code = tell_gone(request, self.observer)
        if self.on_answer is not None:
            self.on_answer(request, channel)

    def tell_cut(self, channel: BoundedChannel) -> None:
        """The client hung up before its request was whole."""
        self.observer.cancelled(NOBODYS)
        self.observer.answered(NOBODYS, GONE, None)
        if self.on_refusal is not None:
            self.on_refusal(GONE, channel)

    def in_flight(self) -> Counter[Labels]:
        """How many requests have begun and are not answered, by the method that is
        called. It looks at every connection.
        """
        found: Counter[Labels] = Counter()
        for channel in self.channels:
            current, reader = channel.current, channel.reader
            if current is not None and not current.finished:
                found[current.labels] += 1
            if not channel.refused and (reader.in_request or reader.ready):
                found[NOBODYS] += len(reader.ready) + reader.in_request
        return found

    def due_of(self, channel: BoundedChannel, request: BoundedRequest) -> Due:
        """Tell a channel when the request is due of which it has only the head."""
        at = self.due(request)
        # The door's own deadlines come first, unless its next look is too late.
        if at is None or at > channel.deadline + TICK:
            return NEVER
        return self._overdue.add(channel.on_due, at)

    def date(self) -> bytes:
        """The Date header's line; made once a second."""
        now = int(self.clock.seconds())
        if now != self._date[0]:
            self._date = now, b"Date: %s\r\n" % datetimeToString(now)
        return self._date[1]

    def _look(self) -> None:
        """See to the connections whose deadline has passed."""
        now = self.clock.seconds()
        late = [it for it in self.channels if it.deadline <= now]
        pause = TICK if len(late) <= MOST_LATE else 0
        self._tick = self.clock.callLater(pause, self._look)
        for channel in late[:MOST_LATE]:
            channel.on_deadline()
        self._make_room(now)

    def _make_room(self, now: float) -> None:
        """Cut off who has not read for longest while too much waits for clients."""
        if self.unsent <= self.limits.answer_bytes:
            return
        stuck = [it for it in self.channels if it.blocked_since <= now - STUCK]
        for channel in sorted(stuck, key=lambda it: it.blocked_since):
            if self.unsent <= self.limits.answer_bytes:
                return
            channel.abortConnection()

    # Draining

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
            if channel.current is not None:
                channel.current.persistent = False
        self._drained = Deferred()
        self._timers = [
            self.clock.callLater(DRAIN_GRACE, self._close_idle),
            self.clock.callLater(DRAIN_LIMIT, self._cut_stuck),
        ]
        return self._drained

    def _tell_drained(self) -> None:
        if self._drained is None:
            return
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        drained, self._drained = self._drained, None
        drained.callback(None)

    def _cut_stuck(self) -> None:
        for channel in list(self.channels):
            if not channel.is_waiting:
                channel.abortConnection()
        if self.channels:
            again = self.clock.callLater(DRAIN_LIMIT, self._cut_stuck)
            self._timers.append(again)

    def _close_idle(self) -> None:
        for channel in list(self.channels):
            if channel.is_idle:
                channel.loseConnection()
