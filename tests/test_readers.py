"""Connections that the reactor polls through a poller of their own."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.services import until
from txinfer.readers import AT_ONCE, IN_ARREARS, PATIENCE, WHILE_FULL, Readers, gather

reactor: Any = global_reactor


@implementer(IHalfCloseableProtocol)
class Echo(Protocol):
    """Sends back what comes; raises at ``!``."""

    transport: Any
    lost: Failure | None = None
    half_closed = False
    most = 0

    def dataReceived(self, data: bytes) -> None:
        self.most = max(self.most, len(data))
        if data == b"!":
            raise RuntimeError("it cannot read this")
        self.transport.write(data)

    def readConnectionLost(self) -> None:
        self.half_closed = True
        self.transport.write(b"the end")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Server(Factory):
    """Knows the connections that it has had."""

    def __init__(self) -> None:
        self.connections: list[Echo] = []

    def buildProtocol(self, addr: Any) -> Echo:
        self.connections.append(Echo())
        return self.connections[-1]


class Client(Protocol):
    """Collects what comes."""

    transport: Any
    lost = False

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class ReadersTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.server = Server()
        # All may come at once.
        self.port = reactor.listenTCP(0, self.server, 2 * IN_ARREARS, "127.0.0.1")
        gather(self.port, reactor)
        self.clients: list[Client] = []
        self.addCleanup(lambda: Deferred.fromCoroutine(self.end()))

    async def end(self) -> None:
        for client in self.clients:
            client.transport.abortConnection()
        await until(lambda: all(it.lost for it in self.clients))
        await until(lambda: all(it.lost for it in self.server.connections))
        await self.port.stopListening()
        assert not self.known()

    def known(self) -> list[Readers]:
        """Those that the reactor polls."""
        return [it for it in reactor.getReaders() if isinstance(it, Readers)]

    async def connect(self) -> Client:
        number = self.port.getHost().port
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", number)
        client: Client = await connectProtocol(endpoint, Client())
        self.clients.append(client)
        await until(lambda: len(self.server.connections) == len(self.clients))
        return client

    async def talk(self, client: Client, text: bytes) -> None:
        """Say something and hear it again."""
        client.received = b""
        client.transport.write(text)
        await until(lambda: client.received == text)

    async def test_each_is_read_when_it_has_something_to_say(self) -> None:
        first, second = await self.connect(), await self.connect()
        await self.talk(second, b"two")
        await self.talk(first, b"one")
        await self.talk(second, b"three")

    async def test_the_reactor_polls_them_as_one(self) -> None:
        assert not self.known()
        await self.connect()
        await self.connect()
        assert len(self.known()) == 1
        polled = reactor.getReaders()
        assert not any(it.transport in polled for it in self.server.connections)

    async def test_more_than_are_read_at_once_are_all_read(self) -> None:
        connecting = [self.connect() for _ in range(IN_ARREARS + 6)]
        clients = await gatherResults(map(Deferred.fromCoroutine, connecting))
        texts = [b"%d" % number for number in range(len(clients))]
        await gatherResults(
            Deferred.fromCoroutine(self.talk(client, text))
            for client, text in zip(clients, texts, strict=True)
        )

    async def test_no_more_is_read_at_a_time_than_there_is_use_for(self) -> None:
        plain, small = await self.connect(), await self.connect()
        there: list[Any] = self.server.connections
        there[1].read_size = 3
        for client in (plain, small):
            await self.talk(client, b"eight   " * 20_000)
        assert there[0].most <= there[0].transport.bufferSize
        assert there[1].most == 3

    async def test_more_is_read_at_once_when_there_is_use_for_more(self) -> None:
        client = await self.connect()
        there: Any = self.server.connections[0]
        sizes: list[int] = []
        after_turn: list[int] = []

        class Careful(Echo):
            """Has use for a beginning, and then for the rest."""

            read_size = 3

            def dataReceived(self, data: bytes) -> None:
                sizes.append(len(data))
                self.read_size = 100 if self.read_size == 3 else 3
                reactor.callLater(0, lambda: after_turn.append(len(sizes)))
                there.dataReceived(data)

        there.transport.protocol = Careful()
        await self.talk(client, b"0123456789")
        assert sizes == [3, 7]
        await until(lambda: len(after_turn) == 2)
        assert after_turn == [2, 2]
        there.transport.protocol = there

    async def test_as_much_is_read_at_a_time_as_there_is_use_for(self) -> None:
        client = await self.connect()
        there: Any = self.server.connections[0]
        there.read_size = 1_000_000
        there.transport.pauseProducing()
        text = bytes(150_000)
        client.transport.write(text)
        await until(lambda: not client.transport.dataBuffer)
        there.transport.resumeProducing()
        await until(lambda: client.received == text)
        assert there.most > there.transport.bufferSize

    async def test_who_sends_no_more_is_still_answered(self) -> None:
        client = await self.connect()
        client.transport.loseWriteConnection()
        await until(lambda: client.lost)
        assert client.received == b"the end"
        (there,) = self.server.connections
        assert there.half_closed

    async def test_one_that_is_reset_is_lost(self) -> None:
        client = await self.connect()
        # Nothing lingers: the end is a reset (socket(7)).
        client.transport.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        client.transport.abortConnection()
        (there,) = self.server.connections
        await until(lambda: there.lost is not None)
        assert not there.half_closed

    async def test_one_that_cannot_be_read_is_lost_and_no_other(self) -> None:
        bad, good = await self.connect(), await self.connect()
        bad.transport.write(b"!")
        await until(lambda: bad.lost)
        there = self.server.connections[0]
        assert there.lost is not None
        assert there.lost.check(RuntimeError)
        assert len(self.flushLoggedErrors(RuntimeError)) == 1
        await self.talk(good, b"still here")

    async def test_one_that_pauses_is_not_read(self) -> None:
        paused, other = await self.connect(), await self.connect()
        transport = self.server.connections[0].transport
        transport.pauseProducing()
        transport.pauseProducing()
        paused.transport.write(b"later")
        await self.talk(other, b"now")
        assert not paused.received
        transport.resumeProducing()
        transport.resumeProducing()
        await until(lambda: paused.received == b"later")

    async def test_all_are_lost_when_the_reactor_ends(self) -> None:
        await self.connect()
        await self.connect()
        (readers,) = self.known()
        readers.connectionLost(Failure(connectionDone.value))
        assert all(it.lost is not None for it in self.server.connections)


class Turns(Clock):
    """A reactor whose turns a test takes."""

    def addReader(self, reader: Any) -> None:
        pass

    def removeReader(self, reader: Any) -> None:
        pass


class Line:
    """A connection on which something has come; reading it is noted."""

    def __init__(self, name: int, read: list[int]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._name = name
        self._read = read
        self.speak()

    def speak(self) -> None:
        self._theirs.send(b"x")

    def fileno(self) -> int:
        return self._ours.fileno()

    def doRead(self) -> None:
        self._read.append(self._name)
        self._ours.recv(1)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class FullTests(TestCase):
    """How much is read in a turn while there is enough to do."""

    def setUp(self) -> None:
        self.clock = Turns()
        self.full = True
        self.read: list[int] = []
        self.readers = Readers(self.clock, lambda: self.full)
        self.lines: list[Line] = []

    def speak(self, count: int) -> None:
        """Have something come on so many more connections, in their order."""
        for number in range(len(self.lines), len(self.lines) + count):
            line = Line(number, self.read)
            self.addCleanup(line.close)
            self.lines.append(line)
            self.readers.add(line)

    def turn(self) -> int:
        """Take a turn.

        Returns:
            How many connections were read.
        """
        before = len(self.read)
        self.readers.doRead()
        return len(self.read) - before

    def test_little_is_read_while_there_is_enough_to_do(self) -> None:
        self.speak(3 * WHILE_FULL)
        assert self.turn() == WHILE_FULL
        self.full = False
        assert self.turn() == 2 * WHILE_FULL
        assert self.read == list(range(3 * WHILE_FULL))

    def test_none_is_passed_over_for_those_who_speak_again(self) -> None:
        self.speak(2 * WHILE_FULL)
        for _ in range(3):
            self.turn()
            for line in self.lines[:WHILE_FULL]:
                line.speak()
        assert set(self.read) == set(range(2 * WHILE_FULL))

    def test_what_is_not_read_for_long_is_read_all_the_same(self) -> None:
        self.speak(2 * WHILE_FULL + IN_ARREARS)
        self.turn()
        self.clock.advance(0.9 * PATIENCE)
        assert self.turn() == WHILE_FULL
        self.clock.advance(0.2 * PATIENCE)
        assert self.turn() == IN_ARREARS

    def test_no_more_is_read_in_a_turn_than_a_run_takes(self) -> None:
        self.full = False
        self.speak(AT_ONCE + 1)
        assert self.turn() == AT_ONCE
        assert self.turn() == 1

    def test_patience_begins_anew_once_all_were_read(self) -> None:
        for _ in range(2):
            self.speak(3 * WHILE_FULL)
            assert self.turn() == WHILE_FULL
            self.clock.advance(0.6 * PATIENCE)
            assert self.turn() == WHILE_FULL
            assert self.turn() == WHILE_FULL
            assert not self.turn()

    def test_what_is_idle_for_long_is_no_reason_to_read_more(self) -> None:
        self.speak(WHILE_FULL)
        self.turn()
        self.turn()
        self.clock.advance(100)
        self.speak(2 * WHILE_FULL)
        assert self.turn() == WHILE_FULL

    def test_no_file_stays_open(self) -> None:
        def files() -> int:
            return len(os.listdir("/proc/self/fd"))

        before = files()
        readers = Readers(self.clock)
        assert files() > before
        del readers
        assert files() == before


class ElsewhereTests(TestCase):
    def test_other_ports_stay_as_they_are(self) -> None:
        class Port:
            """A UNIX socket's, perhaps."""

            transport = "its own"

        port: Any = Port()
        gather(port, reactor)
        assert port.transport == "its own"
