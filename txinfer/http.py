"""One HTTP/1.1 connection of our own site.

Requests are answered one after the other. What arrives meanwhile is kept
unparsed, up to one read, and then no more is read; so what a client can make
the server hold is bounded however it sends. Whatever the connection waits for
has a deadline, which the site watches. Every refusal is an answer with a JSON
body, a length and a close.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .answers import AnswerChannel
from .errors import DeadlineExceeded
from .incoming import RETRY
from .observe import NOBODYS
from .overdue import Due
from .reading import Reader
from .request import BoundedRequest

# After a refusal the client may still be sending. Reading on for a while lets
# it see the answer before the connection is reset (RFC 9112, section 9.6):
# so many seconds and so many bytes.
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024 * 1024

# Seconds for a reset to arrive from a host that was sent something on a
# connection it knows no more: a round trip around the earth.
PROBE_SECONDS = 0.5

# Seconds that a client has to confirm under TLS that the connection closes, or to
# take the last of its answer if that is little. Idle ones often are not listening.
CLOSE_SECONDS = 5.0

# Bytes kept unparsed while a request is being answered: one read of the reactor.
READ_AHEAD = 65536

# Bytes read at a time of a body that is known to have as many left. A body that comes
# in one piece is never copied; and many connections may be read in one turn of the
# reactor (``readers.AT_ONCE``), which has others to see to.
LARGE_READ = 512 * 1024

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()  # the first byte of a request
    READING = auto()  # the rest of it
    ANSWER = auto()  # a resource's, without a deadline of the connection's own
    PROBE = auto()  # the same, when the client has closed its side
    BLOCKED = auto()  # the client to read
    LINGER = auto()  # a refused client to notice
    CLOSING = auto()


# What every request meets. Python 3.11 takes as long to look up a member of an Enum
# as to make an object.
IDLE, ANSWER = Phase.IDLE, Phase.ANSWER


@implementer(IHalfCloseableProtocol, IPushProducer)
class BoundedChannel(AnswerChannel):
    """One connection.

    ``current`` is the request being answered; ``refused`` is whether a request
    on it was not even read, and ``refused_as`` what that is called; ``deadline``
    is when the site calls :meth:`on_deadline`, in seconds on the reactor's clock;
    ``read_size`` is how many bytes there is use for at a time.

    Args:
        site: has the limits, the clock and the resource.
    """

    refused = False
    refused_as = b""
    phase = Phase.IDLE
    deadline = inf
    read_size = READ_AHEAD
    _client_done = False
    _dispatching = False
    _closing = False
    _discarded = 0
    _produces = False
    _answered = False
    address: str | None = None
    _has_read = False
    _ahead = b""
    _due: Due | None = None

    def __init__(self, site: Any) -> None:
        super().__init__()
        self.site = site
        self.reader = Reader(self, site)

    # From the transport

    def connectionMade(self) -> None:
        """Be known to the site, or be sent away if there are too many."""
        self.transport.setTcpNoDelay(True)
        self._know_peer()
        self.transport.registerProducer(self, True)
        self._produces = True
        crowd = self.site.enter(self)
        if crowd is None:
            self._wait(Phase.IDLE, self.site.limits.idle_timeout)
        elif crowd:
            self.refuse(503, crowd, RETRY)
        else:
            self.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Parse, or keep for later while a request is being answered."""
        if self.refused or self._closing:
            self._discard(data)
        elif self.current is None and not self._blocked:
            self._read(data)
        else:
            self._ahead += data
            if len(self._ahead) >= READ_AHEAD:
                self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client sends no more: answer what it has asked for, and close."""
        if self._client_done:
            return
        self._client_done = True
        if self.current is None:
            self._close_done()
        else:
            self._probe()
            if not self._blocked:
                self._wait(Phase.PROBE, PROBE_SECONDS)

    def writeConnectionLost(self) -> None:
        """We half-closed: :meth:`refuse` did, and reads on while anything comes."""
        if self._client_done:
            self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be forgotten by the site; the request under way is cancelled."""
        self.deadline = inf
        self._be_whole()
        self._ahead = b""
        self._drop_parts()
        current, self.current = self.current, None
        if current is not None:
            self.site.held -= len(current.body)
            current.connectionLost(reason)
            if not current.finished:
                self.site.tell_gone(current, self)
        self._tell_unread()
        self.reader.close()
        self.site.leave(self)

    # The transport's producer: it says when the client does not read.

    def pauseProducing(self) -> None:
        """The client does not read: write no more, and do not wait for ever."""
        self._block()
        self._wait(Phase.BLOCKED, self.site.limits.write_timeout)
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._unblock()
        if self._blocked:
            return
        if self.refused:
            self._wait(Phase.LINGER, LINGER_SECONDS)
        elif self.current is None:
            self._wait(Phase.IDLE, self.site.limits.idle_timeout)
            self._go_on()
        else:
            self._wait(Phase.ANSWER, inf)
            if self._answered:
                self._be_done()
            elif self._producer is not None:
                self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost."""
        if self._producer is not None:
            self._producer.stopProducing()

    # In

    def _read(self, data: bytes) -> None:
        reader = self.reader
        if not self._has_read:
            # Of a proxy's connection only now: PROXY comes before what is read here.
            self._has_read = True
            self._know_peer()
        reader.feed(data, self.site.clock.seconds())
        if reader.ready:
            self.read_size = READ_AHEAD
            if self._due is not None:
                self._be_whole()
            self._go_on()
        elif reader.refusal is not None:
            self.refuse(*reader.refusal)
        elif reader.in_request:
            self._await_rest()
            if reader.wants_continue:
                reader.wants_continue = False
                self.transport.write(CONTINUE)

    def _await_rest(self) -> None:
        """Wait for the rest of a request, but no longer than its client does."""
        reader = self.reader
        self.phase, self.deadline = Phase.READING, reader.deadline
        self.read_size = min(max(READ_AHEAD, reader.missing), LARGE_READ)
        if self._due is None and reader.request is not None:
            self._due = self.site.due_of(self, reader.request)

    def _be_whole(self) -> None:
        """The request has come, or never will: it is not waited for."""
        due, self._due = self._due, None
        if due is not None:
            due.cancel()

    def _go_on(self) -> None:
        """Answer what is ready, and parse what came meanwhile."""
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self.current is None and not (self._blocked or self._closing):
                if not self._begin_next():
                    break
        finally:
            self._dispatching = False

    def _begin_next(self) -> bool:
        """Begin to answer the next request; False if there is none."""
        reader = self.reader
        if not reader.ready and self._ahead and reader.refusal is None:
            data, self._ahead = self._ahead, b""
            self.transport.resumeProducing()
            self._read(data)
        if not reader.ready:
            if reader.refusal is not None:
                self.refuse(*reader.refusal)
            elif self._client_done and not self.refused:
                self._close_done()
            elif reader.in_request and not self.refused:
                # It began in the read that brought the one before.
                self._await_rest()
            return False
        self.current = request = reader.ready.popleft()
        self.phase, self.deadline = ANSWER, inf
        request.process()
        return True

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.transport.abortConnection()

    # Out

    def requestDone(self, request: BoundedRequest) -> None:
        """A request is answered, but that its client may have to read on first."""
        site = self.site
        site.observer.answered(request.labels, request.code, request.trace)
        if site.on_answer is not None:
            site.on_answer(request, self)
        self._answered = True
        if not self._parts:
            self._be_done()

    def _be_done(self) -> None:
        """Nothing of an answer waits any more: go on to the next request."""
        request, self.current = self.current, None
        assert request is not None
        self._answered = False
        site, size = self.site, len(request.body)
        site.held -= size
        if not request.persistent:
            self.loseConnection()
            return
        if not self._blocked:
            if size > READ_AHEAD:
                # The next is probably like it. Its head alone, and its body is one
                # piece; if it is not like it, more is read in the next step.
                self.read_size = self.reader.head_size or READ_AHEAD
            self.phase = IDLE
            self.deadline = site.clock.seconds() + site.limits.idle_timeout
        if not self._dispatching:
            self._go_on()

    # Ends

    def _tell_unread(self) -> None:
        """Tell of the requests that nobody has begun to answer, and never will."""
        reader, site = self.reader, self.site
        for request in reader.ready:
            site.tell_gone(request, self)
        if reader.in_request and not self.refused:
            self.refused_as = reader.request_name()
            site.tell_cut(self)

    def loseConnection(self) -> None:
        """Close once what was written is sent; a second time does nothing."""
        if self._closing:
            return
        self._closing = True
        read_on = self.site.limits.write_timeout if self._blocked else CLOSE_SECONDS
        self._wait(Phase.CLOSING, read_on)
        self._stand_down()
        self.transport.loseConnection()

    def abortConnection(self) -> None:
        """Close now, whatever was not sent."""
        self._drop_parts()
        self.transport.abortConnection()

    def refuse(self, status: int, text: str, head: bytes = b"") -> None:
        """Answer a request without reading (the rest of) it, and close.

        The answer is sent, our side is closed, what still comes is read and
        dropped for a while, and then the connection is cut.
        """
        if self.refused or self._closing:
            return
        self.refused = True
        self.read_size = READ_AHEAD
        self._be_whole()
        self._ahead = b""
        self.reader.drop_body()
        self.refused_as = self.reader.request_name()
        arrived = self.reader.arrived
        if arrived is None:
            arrived = self.site.clock.seconds()
        self.send_refusal(status, text, head, self.refused_as, arrived)
        self.site.observer.answered(NOBODYS, status, None)
        if self.site.on_refusal is not None:
            self.site.on_refusal(status, self)
        self._stand_down()
        self.transport.resumeProducing()
        self._half_close()

    def on_deadline(self) -> None:
        """What was waited for did not come."""
        phase, self.deadline = self.phase, inf
        if phase is Phase.READING:
            self.refuse(408, "the request did not arrive in time")
        elif phase is Phase.IDLE:
            self.loseConnection()
        elif phase is Phase.PROBE:
            self._probe()
        else:
            self.abortConnection()

    def on_due(self) -> None:
        """The client does not wait any longer for an answer, and still sends."""
        self._due = None
        if self.phase is Phase.READING:
            self.site.observer.expired(NOBODYS)
            late = DeadlineExceeded()
            self.refuse(late.status, str(late))

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.current is None and not (
            self.reader.in_request or self.reader.ready or self._ahead
        )

    def _wait(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.deadline = self.site.clock.seconds() + seconds

    def _stand_down(self) -> None:
        """Be the transport's producer no longer: it closes only without one."""
        if self._produces:
            self._produces = False
            self.transport.unregisterProducer()

    def _half_close(self) -> None:
        self._wait(Phase.LINGER, LINGER_SECONDS)
        half_close = getattr(self.transport, "loseWriteConnection", None)
        # Under TLS the half-close would be the socket's, behind TLS's back.
        if half_close is None or self.isSecure():
            self._closing = True
            self.transport.loseConnection()
        else:
            half_close()

    def _close_done(self) -> None:
        """The client is done, and so are we, unless it broke off."""
        if self.reader.in_request and not self.refused:
            self.refuse(400, "the request was cut short")
        self.loseConnection()

    def _probe(self) -> None:
        """See whether the client is gone, or has only closed its side.

        Both look the same until something is sent, and an interim answer may
        be sent at any time (RFC 9110, section 15.2). The host of a client that
        is gone answers the first with a reset, by which the second fails: then
        the connection is lost, and the requests under way are cancelled.
        """
        request = self.current
        if request is None or request.startedWriting:
            return
        if request.clientproto == b"HTTP/1.1":
            self.transport.write(CONTINUE)
