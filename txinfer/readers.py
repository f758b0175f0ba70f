"""Connections that are polled apart from all else that the reactor looks after.

For each socket that can be read Twisted's reactor copies the log's context, has a
function called in it, and looks what else there may be to do with the socket. That
is a sixth of what a small call takes in all. Here all sockets of a port that can be
read are one event of the reactor's: it polls a poller of their own (which epoll(7)
allows), and they are read one after the other. Writing is left to the reactor.

Twisted reads 64 KiB at a time. Here a protocol may say how much it has use for.

A call that was read before it can run takes some thousand bytes; of a few hundred
callers that is more than a processor's caches keep, and each call takes up to a fifth
longer. One that was not read waits in the kernel. So little is read while enough calls
for the next run are there; but nobody waits unread for long, who may have a deadline,
or ask whether the server is well.
"""

from __future__ import annotations

import os
import select
import weakref
from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

# Connections that are read before the reactor sees to other things again, as to runs
# that are back, some milliseconds later; those that are left come first the next time.
# No more than the largest run has if nobody says (``policy.SHORT_ROWS``).
AT_ONCE = 128

# The same while enough calls wait for the next run. It is half of what a run has at
# most if runs take long (``policy.USUAL_ROWS``): with each run fewer calls wait.
WHILE_FULL = 16

# Seconds for which a connection may be unread for that. Then so many are read at once,
# more than a run answers.
PATIENCE = 0.1
IN_ARREARS = 256


def _never() -> bool:
    return False


class Mark:
    """A file that is put behind all others that a poller has ready, to see how long it
    takes until these were polled.

    They are polled in turn: "successive epoll_wait() calls will round robin through
    the set of ready file descriptors" (epoll_wait(2)).

    Args:
        poller: what polls it, too.

    ``since`` is when it was put there, in seconds; infinity if it is not there.
    """

    def __init__(self, poller: select.epoll) -> None:
        self.since = inf
        self.number = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self.number)
        poller.register(self.number, select.EPOLLIN)

    def put(self, now: float) -> None:
        """Put it there at a time, in seconds. If it is there, it stays where it is."""
        if self.since == inf:
            self.since = now
            os.eventfd_write(self.number, 1)

    def take(self) -> None:
        """It was polled."""
        self.since = inf
        os.eventfd_read(self.number)


@implementer(IReadDescriptor)
class Readers:
    """What is read when it can be; to a reactor it is one thing that is read.

    It is known to the reactor while there is something to read.

    Args:
        reactor: one that polls file descriptors.
        is_full: asked in each turn whether there is enough to do without what would
            be read.
    """

    log = Logger()

    def __init__(self, reactor: Any, is_full: Callable[[], bool] = _never) -> None:
        self._reactor = reactor
        self._is_full = is_full
        self._poller = select.epoll()
        self._mark = Mark(self._poller)
        self._readers: dict[int, Any] = {}

    def add(self, reader: Any) -> None:
        """Read a transport of Twisted's whenever it can be read."""
        number = reader.fileno()
        if number in self._readers:
            return
        if not self._readers:
            self._reactor.addReader(self)
        self._readers[number] = reader
        self._poller.register(number, select.EPOLLIN)

    def remove(self, reader: Any) -> None:
        """Read it no more. Its file is still open if it was read until now."""
        number = reader.fileno()
        if number not in self._readers:
            return
        del self._readers[number]
        self._poller.unregister(number)
        if not self._readers:
            self._reactor.removeReader(self)

    # What the reactor asks for

    def fileno(self) -> int:
        """The poller's."""
        return self._poller.fileno()

    def logPrefix(self) -> str:
        """What the reactor calls it in a log."""
        return "txinfer"

    def doRead(self) -> None:
        """Read what can be read now."""
        mark, now = self._mark, self._reactor.seconds()
        most = self._most(now)
        ready = self._poller.poll(0, most)
        for number, event in ready:
            reader = self._readers.get(number)
            # Reading another may have ended it.
            if reader is not None:
                self._read(reader, event)
            elif number == mark.number:
                mark.take()
        if len(ready) == most:
            mark.put(now)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""
        for reader in list(self._readers.values()):
            reader.connectionLost(reason)

    def _most(self, now: float) -> int:
        """How many connections are read now."""
        if now - self._mark.since >= PATIENCE:
            return IN_ARREARS
        return WHILE_FULL if self._is_full() else AT_ONCE

    def _read(self, reader: Any, event: int) -> None:
        """Read one, and do what the reactor does with what comes of it."""
        why: BaseException | None
        try:
            # If there is no input, both sides have ended.
            why = reader.doRead() if event & select.EPOLLIN else CONNECTION_DONE
        except Exception as error:
            self.log.failure("A connection could not be read")
            why = error
        if why is None:
            return
        self.remove(reader)
        if why is CONNECTION_DONE:
            # The client sends no more, but may still be answered.
            reader.readConnectionLost(Failure(why))
        else:
            self._reactor.removeWriter(reader)
            reader.connectionLost(Failure(why))


def gather(
    port: IListeningPort, reactor: Any, is_full: Callable[[], bool] = _never
) -> None:
    """Have the connections to come at a TCP port polled together, if possible.

    Args:
        port: is listened at.
        reactor: its reactor.
        is_full: see :class:`Readers`.
    """
    anyhow: Any = port
    # That of a UNIX socket makes connections of another kind.
    if getattr(port, "transport", None) is tcp.Server and hasattr(select, "epoll"):
        anyhow.transport = _gathered(Readers(reactor, is_full))


def _gathered(readers: Readers) -> type[tcp.Server]:
    class GatheredServer(tcp.Server):
        """A connection that is read by others than the reactor.

        As many bytes are read at a time as its protocol's ``read_size`` says, if it
        has one. (Those that are around others, as TLS, have none.)
        """

        def doRead(self, *args: Any) -> Any:
            """Read once, and hand on what came.

            Once more if that was all that there was use for, and now there is for more.
            """
            size = getattr(self.protocol, "read_size", self.bufferSize)
            while True:
                try:
                    data = self.socket.recv(size)
                except BlockingIOError:
                    return None
                except OSError:
                    return CONNECTION_LOST
                if not data:
                    return CONNECTION_DONE
                self.protocol.dataReceived(data)
                if len(data) < size or not self.connected:
                    return None
                more = getattr(self.protocol, "read_size", size)
                if more <= size:
                    return None
                size = more

        def startReading(self) -> None:
            """Read when there is something."""
            readers.add(self)

        def stopReading(self) -> None:
            """Read no more."""
            readers.remove(self)

    return GatheredServer
