"""The server on the real reactor and real sockets, with a model in memory."""

from __future__ import annotations

import json
import os
import shlex
import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.gates import PATIENCE, Gate
from tests.memory import MemoryModel, affine, spec
from tests.test_fetch import self_signed
from txinfer import BatchPolicy, InferenceService, QueueLimits
from txinfer.accesslog import AccessLog, access_log
from txinfer.errors import InvalidModel
from txinfer.interfaces import IModel
from txinfer.keys import parse_keys
from txinfer.limits import ClientLimits, DoorLimits, RunLimits
from txinfer.server import DEFAULT_DOOR, CannotListen, Server, place
from txinfer.sockets import UNSENT
from txinfer.tensors import Signature, Tensors

reactor: Any = global_reactor

LOCAL = "tcp:0:interface=127.0.0.1"


#: Values of a large answer, four bytes each: more than sockets hold.
WIDTH = 500_000


def wide() -> MemoryModel:
    """A model of large answers."""
    signature = Signature({"x": spec()}, {"y": spec("float32", (None, None))})

    def run(tensors: Tensors) -> Tensors:
        return {"y": np.repeat(affine(tensors)["y"][:, None], WIDTH, axis=1)}

    return MemoryModel({"serving_default": signature}, {"serving_default": run})


class StopCounter:
    """The reactor, but that ``stop`` only counts."""

    stops = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def stop(self) -> None:
        self.stops += 1


class Client(Protocol):
    """A connection that keeps what it receives, and knows its end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = True

    def send(self, method: str, path: str = "/", value: object = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        host = f"localhost\r\nContent-Length: {len(body)}"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}"
        assert self.transport is not None
        self.transport.write(f"{head}\r\n\r\n".encode() + body)

    async def answer(self) -> tuple[int, bytes, Any]:
        """Status, head and JSON value of the next answer, once it is whole."""
        await until(lambda: b"\r\n\r\n" in self.received)
        head = self.received.partition(b"\r\n\r\n")[0]
        fields = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        await until(lambda: len(self.received) - len(head) - 4 >= length)
        rest = self.received[len(head) + 4 :]
        body, self.received = rest[:length], rest[length:]
        return int(head.split()[1]), head, json.loads(body)

    async def ask(
        self, method: str, value: object = None, path: str = "/"
    ) -> tuple[int, Any]:
        self.send(method, path, value)
        status, _, answer = await self.answer()
        return status, answer


def number_of(server: Server, index: int = 0) -> int:
    """The number of one of a server's TCP ports."""
    address = server._ports[index].getHost()
    assert isinstance(address, IPv4Address)
    return address.port


async def until(condition: Callable[[], object]) -> None:
    """Let the reactor turn until something is so."""
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        await deferLater(reactor, 0.01, lambda: None)
    raise AssertionError("it never came to that")


class ServerCase(TestCase):
    """Tests that start servers; each is stopped, each connection closed at the end."""

    timeout = 30

    def setUp(self) -> None:
        self.reactor = StopCounter()
        self.events: list[LogEvent] = []
        self.at_exit: list[Callable[[], None]] = []
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def server(
        self,
        *endpoints: str,
        load: Callable[[], IModel] = MemoryModel,
        access_log: AccessLog | None = None,
        door: DoorLimits = DEFAULT_DOOR,
        admin: str | None = None,
        early: bool = True,
        **options: Any,
    ) -> Server:
        inference = InferenceService("a model", load=load, reactor=reactor, **options)
        server = Server(
            inference,
            endpoints or [LOCAL],
            self.reactor,
            door,
            access_log=access_log,
            at_exit=self.at_exit.append,
            admin=admin,
            early=early,
        )
        server.log = Logger("server", observer=cast(Any, self.events.append))
        return server

    def start(self, server: Server) -> Server:
        server.privilegedStartService()
        server.startService()
        self.addCleanup(lambda: server.stopService() if server.running else None)
        return server

    async def ready(self, server: Server) -> Server:
        await self.start(server).inference.when_ready()
        await until(lambda: not server.inference.unready())
        return server

    async def connect(self, where: str | IStreamClientEndpoint) -> Client:
        factory = Factory.forProtocol(Client)
        end: Any = clientFromString(reactor, where) if isinstance(where, str) else where
        client: Client = await end.connect(factory)
        self.addCleanup(self.hang_up, client)
        return client

    async def client(self, server: Server, number: int = 0) -> Client:
        """A connection to one of a server's TCP ports, in the order of its options."""
        return await self.connect(f"tcp:127.0.0.1:{number_of(server, number)}")

    async def _hang_up(self, client: Client) -> None:
        assert client.transport is not None
        client.transport.loseConnection()
        await until(lambda: client.lost)

    def hang_up(self, client: Client) -> Deferred[None]:
        return Deferred.fromCoroutine(self._hang_up(client))

    def told(self, level: LogLevel = LogLevel.info) -> list[str]:
        return [formatEvent(it) for it in self.events if it["log_level"] is level]


class ListeningTests(ServerCase):
    async def test_it_listens_at_every_endpoint(self) -> None:
        path = os.path.join(self.folder, "a socket")
        server = await self.ready(self.server(LOCAL, LOCAL, f"unix:{path}"))
        clients = [
            await self.client(server, 0),
            await self.client(server, 1),
            await self.connect(f"unix:{path}"),
        ]
        for n, client in enumerate(clients):
            self.assertEqual(
                await client.ask("POST", {"x": [n]}), (200, {"y": [2.0 * n + 1]})
            )

    async def test_under_tls_all_is_encrypted(self) -> None:
        certificate = self_signed()
        path = Path(self.folder, "pem")
        path.write_bytes(certificate.dumpPEM())
        server = await self.ready(
            self.server(f"ssl:0:interface=127.0.0.1:privateKey={path}")
        )
        trusting = optionsForClientTLS("localhost", certificate)
        where = clientFromString(reactor, f"tcp:127.0.0.1:{number_of(server)}")
        client = await self.connect(wrapClientTLS(trusting, where))
        for numbers in ([1], [2], list(range(16_000))):
            answer = await client.ask("POST", {"x": numbers})
            self.assertEqual(answer, (200, {"y": [2.0 * n + 1 for n in numbers]}))
        client.send("POST", value="x" * server.inference.limits.request_size)
        self.assertEqual((await client.answer())[0], 413)

    async def test_a_large_answer_waits_for_a_client_that_does_not_read(self) -> None:
        certificate = self_signed()
        pem = Path(self.folder, "pem")
        pem.write_bytes(certificate.dumpPEM())
        path = os.path.join(self.folder, "a socket")
        tls = f"ssl:0:interface=127.0.0.1:privateKey={pem}"
        server = await self.ready(self.server(tls, LOCAL, f"unix:{path}", load=wide))
        trusting = optionsForClientTLS("localhost", certificate)
        where = clientFromString(reactor, f"tcp:127.0.0.1:{number_of(server)}")
        for client in (
            await self.connect(wrapClientTLS(trusting, where)),
            await self.client(server, 1),
            await self.connect(f"unix:{path}"),
        ):
            wire = cast(Any, client.transport)
            # TLS has shaken hands once something was answered.
            self.assertEqual((await client.ask("GET"))[0], 200)
            wire.pauseProducing()
            client.send("POST", value={"x": [1]})
            await until(lambda: server._site.unsent > WIDTH)
            bystander = await self.client(server, 1)
            self.assertEqual((await bystander.ask("GET"))[0], 200)
            wire.resumeProducing()
            status, _, value = await client.answer()
            self.assertEqual((status, value), (200, {"y": [[3.0] * WIDTH]}))
            self.assertEqual((server._site.unsent, server._site.held), (0, 0))

    async def test_behind_a_proxy_that_says_so_first_clients_are_told_apart(
        self,
    ) -> None:
        path = os.path.join(self.folder, "log")
        log = access_log(path, "json", reactor)
        server = await self.ready(
            self.server(
                f"haproxy:{LOCAL}",
                access_log=log,
                clients=ClientLimits(rate_limit=0.001, rate_burst=1),
            )
        )
        hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        answers = []
        for host in hosts:
            client = await self.client(server)
            assert client.transport is not None
            proxied = f"PROXY TCP4 {host} 192.0.2.9 1 2\r\n"
            client.transport.write(proxied.encode())
            answers.append((await client.ask("POST", {"x": [1]}))[0])
        self.assertEqual(answers, [200, 200, 429])
        await server.stopService()
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.assertEqual([line["peer"] for line in lines], hosts)

    async def test_it_tells_where_and_how_to_call(self) -> None:
        path = os.path.join(self.folder, "a socket")
        server = await self.ready(self.server(f"unix:{path}", LOCAL))
        number = number_of(server, 1)
        at = f"--unix-socket '{path}' http://localhost/"
        self.assertEqual(
            self.told(),
            [
                f"Serving a model at {at}",
                f"Serving a model at http://127.0.0.1:{number}/",
                "serving_default: x float32 [-1] -> y float32 [-1]",
                "  batched, up to 128 rows a run",
                f"""  curl {at} -d '{{"x":[0]}}'""",
            ],
        )

    def test_more_connections_than_the_system_has_files_for_are_told_of(self) -> None:
        server = self.start(self.server(door=DoorLimits(connections=2**40)))
        (warning,) = self.told(LogLevel.warn)
        self.assertTrue(warning.startswith(f"{2**40} connections need"))
        self.assertEqual(len(server._ports), 1)

    def test_its_ports_keep_little_unsent(self) -> None:
        server = self.start(self.server())
        (port,) = cast(Any, server._ports)
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            self.assertEqual(port.socket.getsockopt(socket.IPPROTO_TCP, option), UNSENT)

    async def test_models_are_managed_at_a_port_of_its_own(self) -> None:
        server = await self.ready(self.server(admin=LOCAL))
        public, admin = await self.client(server), await self.client(server, 1)
        self.assertIn("Models are managed at", self.told()[0])
        status, models = await admin.ask("GET", path="/models")
        self.assertEqual((status, models[0]["path"]), (200, "a model"))
        self.assertEqual((await admin.ask("GET", path="/"))[0], 404)
        self.assertNotIn("path", (await public.ask("GET", path="/models"))[1][0])
        await server.stopService()
        await until(lambda: admin.lost)

    async def test_no_port_manages_models_if_nobody_says_so(self) -> None:
        server = await self.ready(self.server())
        self.assertEqual(len(server._ports), 1)

    def test_a_port_in_use_ends_the_process_with_one_line(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            description = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            server = self.server(description)
            error = self.assertRaises(CannotListen, server.privilegedStartService)
        self.assertIsInstance(error, SystemExit)
        self.assertTrue(str(error.code).startswith(f"txinfer: --port {description}: "))
        self.assertIn("Address already in use", str(error.code))
        self.assertNotIn("\n", str(error.code))

    def test_a_place_that_is_none_does_as_well(self) -> None:
        for description in (
            "tcp:99999",
            "tcp:0:interface=203.0.113.7",
            f"unix:{self.folder}/none/socket",
            f"unix:{self.folder}/{'x' * 200}",
        ):
            server = self.server(description)
            # Twisted starts the factory of a socket before it makes the socket.
            self.addCleanup(server._site.doStop)
            error = self.assertRaises(CannotListen, server.privilegedStartService)
            self.assertTrue(
                str(error.code).startswith(f"txinfer: --port {description}: ")
            )
            self.assertNotIn("\n", str(error.code))

    def test_a_place_is_told_as_a_shell_takes_it(self) -> None:
        def told(address: Any, secure: bool = False) -> list[str]:
            return shlex.split(place(address, secure))

        tcp4 = partial(IPv4Address, "TCP")
        tcp6 = partial(IPv6Address, "TCP")
        self.assertEqual(told(tcp4("0.0.0.0", 1)), ["http://127.0.0.1:1/"])
        self.assertEqual(told(tcp4("10.0.0.1", 443), True), ["https://10.0.0.1:443/"])
        self.assertEqual(told(tcp6("::", 1)), ["http://[::1]:1/"])
        self.assertEqual(told(tcp6("2001:db8::1", 1)), ["http://[2001:db8::1]:1/"])
        for name in ("a b", "it's"):
            path = str(Path(name).absolute())
            self.assertEqual(
                told(UNIXAddress(name.encode())),
                ["--unix-socket", path, "http://localhost/"],
            )


class LoadingTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.may_load = threading.Event()
        self.addCleanup(self.may_load.set)

    def load(self, error: Exception | None = None) -> IModel:
        assert self.may_load.wait(PATIENCE)
        if error is not None:
            raise error
        return MemoryModel()

    async def test_calls_are_answered_503_until_the_model_is_there(self) -> None:
        server = self.start(self.server(load=self.load))
        client = await self.client(server)
        loading = (503, {"error": "the model is still loading"})
        self.assertEqual(await client.ask("POST", {"x": [1]}), loading)
        self.assertEqual(await client.ask("GET"), loading)
        self.assertEqual(self.told(), [])
        self.may_load.set()
        await server.inference.when_ready()
        self.assertEqual(await client.ask("POST", {"x": [1]}), (200, {"y": [3.0]}))

    async def waiting(self) -> tuple[Server, Client]:
        """A server that accepts nobody yet, and a client that has sent a call."""
        server = self.start(self.server(load=self.load, early=False, admin=LOCAL))
        client = await self.client(server)
        client.send("POST", value={"x": [1]})
        admin = await self.client(server, 1)
        # Who came later has been answered by another port.
        self.assertEqual((await admin.ask("GET", path="/models"))[0], 200)
        self.assertEqual(len(server._site.channels), 0)
        return server, client

    async def test_who_comes_early_may_be_left_to_wait(self) -> None:
        _, client = await self.waiting()
        self.may_load.set()
        status, _, value = await client.answer()
        self.assertEqual((status, value), (200, {"y": [3.0]}))

    async def test_who_waits_when_it_stops_is_told(self) -> None:
        server, client = await self.waiting()
        stopped = server.stopService()
        self.may_load.set()
        status, _, value = await client.answer()
        self.assertEqual(
            (status, value), (503, {"error": "the model is still loading"})
        )
        await until(lambda: client.lost)
        await stopped

    async def test_a_model_that_cannot_be_served_ends_the_process(self) -> None:
        error = InvalidModel("a model: broken")
        server = self.start(self.server(load=lambda: self.load(error)))
        self.assertEqual(self.reactor.stops, 0)
        self.may_load.set()
        await until(lambda: self.reactor.stops)
        self.assertEqual(self.told(LogLevel.critical), ["a model: broken"])
        self.assertEqual(len(self.at_exit), 1)
        await server.stopService()
        self.assertEqual(self.reactor.stops, 1)

    async def test_any_other_error_ends_it_too_and_is_logged_whole(self) -> None:
        self.may_load.set()
        self.start(self.server(load=lambda: self.load(ZeroDivisionError("a bug"))))
        await until(lambda: self.reactor.stops)
        (event,) = (it for it in self.events if it["log_level"] is LogLevel.critical)
        failure: Failure = event["log_failure"]
        self.assertEqual(failure.getErrorMessage(), "a bug")
        self.assertEqual(len(self.at_exit), 1)

    async def test_stopping_while_loading_tells_nothing_more(self) -> None:
        for error in (None, InvalidModel("a model: broken")):
            self.may_load.clear()
            server = self.start(self.server(load=partial(self.load, error)))
            stopped = server.stopService()
            self.may_load.set()
            await stopped
            self.assertEqual(self.told(), ["Draining"])
            self.events.clear()
        self.assertEqual((self.reactor.stops, self.at_exit), (0, []))


class BoundsTests(ServerCase):
    async def test_a_body_for_which_there_is_no_room_is_not_read(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        queue = QueueLimits(queue_rows=1, queue_bytes=1000)
        server = await self.ready(
            self.server(load=lambda: model, policy=BatchPolicy(queue=queue))
        )
        busy, other = [await self.client(server) for _ in range(2)]
        gate.close()
        busy.send("POST", value={"x": [1]})
        await until(gate.entered.is_set)
        # The server does not wait for what is announced.
        assert other.transport is not None
        other.transport.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
        )
        status, head, value = await other.answer()
        self.assertEqual((status, value), (503, {"error": "the queue is full"}))
        self.assertIn(b"retry-after: 1", head.lower())
        self.assertEqual((await (await self.client(server)).ask("GET"))[0], 200)
        gate.open()
        status, _, value = await busy.answer()
        self.assertEqual((status, value), (200, {"y": [3.0]}))

    async def test_the_door_asks_whether_there_is_enough_to_run(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        server = self.server(load=lambda: model, policy=BatchPolicy(max_rows=1))
        told: list[bool] = []
        run_waits = server.inference.run_waits

        def tell() -> bool:
            told.append(run_waits())
            return told[-1]

        server.inference.run_waits = tell  # type: ignore[method-assign]
        self.assertFalse(run_waits())
        await self.ready(server)
        gate.close()
        clients = [await self.client(server) for _ in range(3)]
        for client in clients:
            client.send("POST", value={"x": [1]})
        await until(run_waits)
        other = await self.client(server)
        self.assertEqual((await other.ask("GET"))[0], 200)
        self.assertTrue(told[-1])
        gate.open()
        for client in clients:
            status, _, value = await client.answer()
            self.assertEqual((status, value), (200, {"y": [3.0]}))
        self.assertEqual((await other.ask("GET"))[0], 200)
        self.assertFalse(told[-1])


class TellingTests(ServerCase):
    async def test_what_the_door_refuses_is_counted(self) -> None:
        keys = parse_keys("a-key-of-16-chars")
        server = await self.ready(self.server(api_keys=keys))
        metrics = server.inference.operations.metrics
        client = await self.client(server)
        client.send("POST", value={"x": [1]})
        self.assertEqual((await client.answer())[0], 401)
        client = await self.client(server)
        assert client.transport is not None
        client.transport.write(b"nonsense\r\n\r\n")
        self.assertEqual((await client.answer())[0], 400)
        counts = metrics.methods["", ""]
        self.assertEqual(dict(counts.statuses), {401: 1, 400: 1})

    async def test_what_the_door_holds_is_told(self) -> None:
        server = await self.ready(self.server())
        door = server.inference.operations.metrics.door
        assert door is not None
        self.assertEqual((door.connections(), door.body_bytes()), (0, 0))
        client = await self.client(server)
        await client.ask("GET")
        self.assertEqual((door.connections(), door.body_bytes()), (1, 0))
        assert client.transport is not None
        client.transport.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{"
        )
        await until(lambda: door.body_bytes() == 1)
        # Answers that wait to be sent are no bodies.
        server._site.held += 5
        server._site.unsent += 5
        self.assertEqual(door.body_bytes(), 1)
        await self._hang_up(client)
        await until(lambda: not door.connections())
        self.assertEqual(door.body_bytes(), 0)

    def test_what_is_read_alone_is_no_more_than_may_be_held(self) -> None:
        door, most = DoorLimits(), QueueLimits().queue_bytes
        self.assertLessEqual(door.body_bytes, most)
        self.assertLess(door.answer_bytes, most)

    async def test_requests_are_logged_until_the_very_end(self) -> None:
        path = os.path.join(self.folder, "log")
        log = access_log(path, "json", reactor)
        server = await self.ready(self.server(access_log=log))
        client = await self.client(server)
        await client.ask("POST", {"x": [1]})
        stopped = server.stopService()
        client.send("POST", value={"x": [1, 2]})
        await client.answer()
        await stopped
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.assertEqual([line["status"] for line in lines], [200, 200])
        self.assertEqual([line["batch_rows"] for line in lines], [1, 2])
        self.assertEqual({line["peer"] for line in lines}, {"127.0.0.1"})


class DrainingTests(ServerCase):
    async def test_what_is_under_way_is_answered_and_all_is_closed(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        server = await self.ready(self.server(load=lambda: model))
        idle, busy, later = [await self.client(server) for _ in range(3)]
        self.assertEqual((await idle.ask("GET"))[0], 200)
        gate.close()
        busy.send("POST", value={"x": [1]})
        await until(gate.entered.is_set)
        later.send("POST", value={"x": [2]})
        number = number_of(server)
        stopped = server.stopService()
        await until(lambda: idle.lost)
        self.assertEqual(idle.received, b"")
        try:
            await self.connect(f"tcp:127.0.0.1:{number}")
        except ConnectError:
            pass
        else:
            self.fail("it listens still")
        self.assertEqual((stopped.called, model.closed), (False, 0))
        gate.open()
        for client, answer in ((busy, {"y": [3.0]}), (later, {"y": [5.0]})):
            status, head, value = await client.answer()
            self.assertEqual((status, value), (200, answer))
            self.assertIn(b"connection: close", head.lower())
        await stopped
        self.assertTrue(busy.lost)
        self.assertTrue(later.lost)
        self.assertEqual(model.closed, 1)

    async def test_a_request_on_the_wire_is_answered_as_the_last(self) -> None:
        server = await self.ready(self.server())
        client = await self.client(server)
        await client.ask("GET")
        stopped = server.stopService()
        client.send("POST", value={"x": [1]})
        status, head, value = await client.answer()
        self.assertEqual((status, value), (200, {"y": [3.0]}))
        self.assertIn(b"connection: close", head.lower())
        await stopped
        self.assertTrue(client.lost)

    async def test_connections_that_nobody_has_accepted_yet_are_answered(self) -> None:
        server = await self.ready(self.server())
        # One at a time: the reactor accepts no more at once than it did lately.
        for _ in range(3):
            client = await self.client(server)
            self.assertEqual((await client.ask("GET"))[0], 200)
            await self._hang_up(client)
        herd = [
            socket.create_connection(("127.0.0.1", number_of(server)), PATIENCE)
            for _ in range(40)
        ]
        for number, waiting in enumerate(herd):
            self.addCleanup(waiting.close)
            body = b'{"x":[%d]}' % number
            head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
            waiting.sendall(head % len(body) + body)
        await server.stopService()
        for number, waiting in enumerate(herd):
            answer = waiting.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertTrue(answer.endswith(b'{"y":[%.1f]}' % (2 * number + 1)), answer)

    async def test_who_is_still_connected_hears_that_it_is_not_ready(self) -> None:
        server = await self.ready(self.server())
        client = await self.client(server)
        client.send("GET", "/readyz")
        self.assertEqual((await client.answer())[0], 200)
        stopped = server.stopService()
        client.send("GET", "/readyz")
        status, _, value = await client.answer()
        reasons = ["the server is shutting down"]
        self.assertEqual((status, value), (503, {"ready": False, "reasons": reasons}))
        await stopped

    async def test_a_run_that_hangs_does_not_hold_up_the_end(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        policy = BatchPolicy(runs=RunLimits(drain_seconds=0.1))
        server = await self.ready(self.server(load=lambda: model, policy=policy))
        busy, later = [await self.client(server) for _ in range(2)]
        gate.close()
        busy.send("POST", value={"x": [1]})
        await until(gate.entered.is_set)
        later.send("POST", value={"x": [2]})
        stopped = server.stopService()
        for client in (busy, later):
            status, _, value = await client.answer()
            self.assertEqual(
                (status, value), (503, {"error": "the server is shutting down"})
            )
        await stopped
        self.assertEqual(len(self.at_exit), 1)
        told = self.told(LogLevel.critical)
        self.assertEqual(told, ["Runs hang; the process ends without them"])
        # The model is not closed under a run.
        self.assertEqual(model.closed, 0)
        gate.open()

    async def test_it_can_be_started_again(self) -> None:
        server = self.server()
        for _ in range(2):
            await self.ready(server)
            client = await self.client(server)
            self.assertEqual(await client.ask("POST", {"x": [1]}), (200, {"y": [3.0]}))
            await self._hang_up(client)
            await server.stopService()
            self.assertEqual(sum(" at http" in line for line in self.told()), 1)
            self.events.clear()
