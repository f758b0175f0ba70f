"""Connections that are polled apart from all else that the reactor looks after.

For each socket that can be read Twisted's reactor copies the log's context, has a
function called in it, and looks what else there may be to do with the socket. That
is a sixth of what a small call takes in all. Here all sockets of a port that can be
read are one event of the reactor's: it polls a poller of their own (which epoll(7)
allows), and they are read one after the other. Writing is left to the reactor.

Twisted reads 64 KiB at a time. Here a protocol may say how much it has use for.
"""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

# Connections that are read before the reactor sees to other things again, some
# milliseconds later. Those that are left come first the next time. The processor's
# caches do not hold the calls of more of them.
AT_ONCE = 256


@implementer(IReadDescriptor)
class Readers:
    """What is read when it can be; to a reactor it is one thing that is read.

    It is known to the reactor while there is something to read.

    Args:
        reactor: one that polls file descriptors.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._poller = select.epoll()
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
        for number, event in self._poller.poll(0, AT_ONCE):
            reader = self._readers.get(number)
            # Reading another may have ended it.
            if reader is not None:
                self._read(reader, event)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""
        for reader in list(self._readers.values()):
            reader.connectionLost(reason)

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


def gather(port: IListeningPort, reactor: Any) -> None:
    """Have the connections to come at a TCP port polled together, if possible."""
    anyhow: Any = port
    # That of a UNIX socket makes connections of another kind.
    if getattr(port, "transport", None) is tcp.Server and hasattr(select, "epoll"):
        anyhow.transport = _gathered(Readers(reactor))


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
