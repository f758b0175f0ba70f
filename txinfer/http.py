"""One HTTP/1.1 connection of our own site.

Requests are answered one after the other. What arrives meanwhile is kept
unparsed, up to one read, and then no more is read; so what a client can make
the server hold is bounded however it sends.
"""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .ends import ANSWER, CONTINUE, IDLE, LINGER_SECONDS, EndingChannel, Phase
from .errors import DeadlineExceeded
from .incoming import RETRY
from .observe import NOBODYS
from .overdue import Due
from .reading import Reader
from .request import BoundedRequest

# Bytes kept unparsed while a request is being answered: one read of the reactor.
READ_AHEAD = 65536

# Bytes read at a time of a body that is known to have as many left. A body that comes
# in one piece is never copied; and many connections may be read in one turn of the
# reactor (``readers.AT_ONCE``), which has others to see to.
LARGE_READ = 1024 * 1024


@implementer(IPushProducer)
class BoundedChannel(EndingChannel):
    """One connection.

    ``current`` is the request being answered; ``read_size`` is how many bytes there
    is use for at a time.

    Args:
        site: has the limits, the clock and the resource.
    """

    reader: Reader
    read_size = READ_AHEAD
    _dispatching = False
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

    def on_due(self) -> None:
        """The client does not wait any longer for an answer, and still sends."""
        self._due = None
        if self.phase is Phase.READING:
            self.site.observer.expired(NOBODYS)
            late = DeadlineExceeded()
            self.refuse(late.status, str(late))

    def _be_whole(self) -> None:
        """The request has come, or never will: it is not waited for."""
        due, self._due = self._due, None
        if due is not None:
            due.cancel()

    def _read_no_more(self) -> None:
        self.read_size = READ_AHEAD
        self._be_whole()
        self._ahead = b""
        self.reader.drop_body()

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
        site, size = self.site, request.held
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

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.current is None and not (
            self.reader.in_request or self.reader.ready or self._ahead
        )
