"""What a connection waits for, and every way in which it ends.

Whatever is waited for has a deadline, which the site watches. A client that is
refused gets an answer with a JSON body, a length and a close, and the time to
read it.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .answers import AnswerChannel
from .incoming import Incoming
from .observe import NOBODYS

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


@implementer(IHalfCloseableProtocol)
class EndingChannel(AnswerChannel):
    """A connection that ends in time, whatever its client does.

    ``refused`` is whether a request on it was not even read, and ``refused_as`` what
    that is called; ``deadline`` is when the site calls :meth:`on_deadline`, in
    seconds on the reactor's clock. ``reader`` has what came.
    """

    reader: Incoming
    refused = False
    refused_as = b""
    phase = Phase.IDLE
    deadline = inf
    _client_done = False
    _closing = False
    _discarded = 0
    _produces = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Be forgotten by the site; the request under way is cancelled."""
        self.deadline = inf
        self._read_no_more()
        self._drop_parts()
        current, self.current = self.current, None
        if current is not None:
            self.site.held -= current.held
            current.connectionLost(reason)
            if not current.finished:
                self.site.tell_gone(current, self)
        self._tell_unread()
        self.reader.close()
        self.site.leave(self)

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
        self._read_no_more()
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

    def _wait(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.deadline = self.site.clock.seconds() + seconds

    def _read_no_more(self) -> None:
        """Let go of what has come and is not answered; nothing more will be."""
        raise NotImplementedError

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.transport.abortConnection()

    def _tell_unread(self) -> None:
        """Tell of the requests that nobody has begun to answer, and never will."""
        reader, site = self.reader, self.site
        for request in reader.ready:
            site.tell_gone(request, self)
        if reader.in_request and not self.refused:
            self.refused_as = reader.request_name()
            site.tell_cut(self)

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
