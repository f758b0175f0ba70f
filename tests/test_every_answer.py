"""Whatever the server answers is counted once, under its status, and timed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests.gates import Gate
from tests.memory import MemoryModel, spec
from tests.test_server import LOCAL, Client, ServerCase, number_of, until
from tests.web_client import request
from txinfer import BatchPolicy, QueueLimits
from txinfer.errors import InputRefused
from txinfer.keys import parse_keys
from txinfer.limits import CallLimits, ClientLimits, DoorLimits
from txinfer.observe import Shed
from txinfer.server import Server
from txinfer.tensors import Signature, Tensors

KEY = "0123456789abcdef"


def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """A request after whose answer the connection is closed."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(method, path, body, {"Connection": "close", **fields})


def call(path: str, body: bytes, **headers: str) -> bytes:
    return ask("POST", path, body, **{"Content_Type": "application/json", **headers})


def wide(tensors: Tensors) -> Tensors:
    return {"y": np.repeat(tensors["x"][:, None], 1000, axis=1)}


def refusing(tensors: Tensors) -> Tensors:
    raise InputRefused("INVALID_ARGUMENT")


def broken(tensors: Tensors) -> Tensors:
    raise RuntimeError("a secret")


def words(tensors: Tensors) -> Tensors:
    return {"y": np.array([b"a"] * len(tensors["x"]), object)}


NUMBERS = Signature({"x": spec()}, {"y": spec()})


def model(gate: Gate | None = None) -> MemoryModel:
    several = {
        "serving_default": NUMBERS,
        "wide": Signature({"x": spec()}, {"y": spec("float32", (None, None))}),
        "words": Signature({"x": spec()}, {"y": spec("string", (None,))}),
        "refusing": NUMBERS,
        "broken": NUMBERS,
    }
    functions: dict[str, Any] = {
        "wide": wide,
        "words": words,
        "refusing": refusing,
        "broken": broken,
    }
    if gate is not None:
        functions["serving_default"] = gate
    return MemoryModel(several, functions)


ONE = b'{"x":[1]}'

# What no method was called for, with its status.
PLAIN: list[tuple[bytes, int]] = [
    # The door
    (b"nonsense\r\n\r\n", 400),
    (b"NONSENSE / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505),
    (ask("CONNECT", "a.example:443"), 400),
    (ask("GET", "/" + "x" * 9000), 414),
    (ask("GET", "/", x="y" * 20000), 431),
    (ask("POST", "/", Expect="the impossible", Content_Length="9"), 417),
    (ask("POST", "/", Content_Length="99999999"), 413),
    (
        ask("POST", "/", Transfer_Encoding="chunked")
        + b"1000\r\n%s\r\n" % (b"x" * 4096) * 4,
        413,
    ),
    (ask("POST", "/", Transfer_Encoding="gzip"), 400),
    # Routes
    (ask("GET", "/nope"), 404),
    (ask("GET", "/models/nope"), 404),
    (ask("GET", "/models/a-model/versions/x"), 404),
    (ask("PUT", "/"), 405),
    (ask("DELETE", "/serving_default", b"{}"), 405),
    (ask("OPTIONS", "/"), 405),
    (ask("GET", "//nope"), 404),
    (ask("GET", "/%ff"), 400),
    (ask("POST", "/%ff", ONE), 400),
    (ask("GET", "/", Host="x" * 70), 400),
    # Listings
    (ask("GET", "/"), 200),
    (ask("GET", "/", Accept_Encoding="gzip"), 200),
    (ask("HEAD", "/"), 200),
    (ask("GET", "/serving_default"), 200),
    (ask("GET", "/models"), 200),
    (ask("GET", "/").replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    # Operators' paths
    (ask("GET", "/healthz"), 200),
    (ask("HEAD", "/healthz"), 200),
    (ask("GET", "/readyz"), 200),
    (ask("GET", "/stats"), 200),
    (ask("GET", "/metrics"), 200),
    (ask("GET", "/monitoring/prometheus/metrics"), 200),
    (ask("POST", "/healthz", b"{}"), 405),
    (ask("GET", "/metrics/x"), 404),
    # Cross-origin and server-wide
    (ask("OPTIONS", "/x", Access_Control_Request_Method="POST"), 204),
    (ask("OPTIONS", "/x", b"{}", Access_Control_Request_Method="POST"), 204),
    (ask("OPTIONS", "*"), 204),
    # Files
    (ask("GET", "/web/"), 200),
    (ask("HEAD", "/web/"), 200),
    (ask("GET", "/web/large"), 200),
    (ask("GET", "/web/", If_None_Match="*"), 304),
    (ask("GET", "/web/", Range="bytes=1-2"), 206),
    (ask("GET", "/web/", Range="bytes=99-"), 416),
    (ask("GET", "/web"), 301),
    (ask("GET", "/web/nope"), 404),
    (ask("POST", "/web/", b"{}"), 405),
    # Methods that there are not
    (call("/nope", ONE), 404),
    (call("/models/nope/serving_default", ONE), 404),
]

# What a method was called for, with its name and the status.
CALLS: list[tuple[bytes, str, int]] = [
    (call("/", ONE), "serving_default", 200),
    (call("/models/a-model/versions/1/serving_default", ONE), "serving_default", 200),
    (call("/", ONE, Content_Encoding="identity"), "serving_default", 200),
    (call("/", ONE, Accept="application/x-npy"), "serving_default", 200),
    (call("/wide", ONE), "wide", 200),
    (call("/wide", ONE, Accept_Encoding="gzip"), "wide", 200),
    (
        call("/wide", ONE, Accept_Encoding="gzip", Content_Encoding="identity"),
        "wide",
        200,
    ),
    (call("/", b"{"), "serving_default", 400),
    (call("/", b'{"x":["a"]}'), "serving_default", 400),
    (call("/", ONE, X_Request_Timeout_Ms="soon"), "serving_default", 400),
    (call("/", ONE, Content_Encoding="br"), "serving_default", 415),
    (call("/", ONE, Content_Type="image/png"), "serving_default", 415),
    (call("/words", ONE, Accept="application/x-npy"), "words", 406),
    (call("/", b'{"x":[1,2,3,4]}'), "serving_default", 413),
    (call("/refusing", ONE), "refusing", 400),
    (call("/broken", ONE), "broken", 500),
    (call("/broken", ONE, Content_Encoding="identity"), "broken", 500),
]


def statuses(server: Server) -> Counter[tuple[str, int]]:
    """All that was counted, by method and status."""
    methods = server.inference.operations.metrics.methods
    return Counter(
        {
            (method, status): number
            for (_, method), counts in methods.items()
            for status, number in counts.statuses.items()
        }
    )


class AnswersCase(ServerCase):
    """A server that is asked, and its counts."""

    async def serving(self, **options: Any) -> Server:
        for name, size in (("index.html", 5), ("large", 1_000_000)):
            Path(self.folder, name).write_bytes(b"x" * size)
        options = {"load": model, "limits": CallLimits(request_size=10_000), **options}
        return await self.ready(self.server(static_path=self.folder, **options))

    async def told(self, client: Client) -> tuple[int, str]:  # type: ignore[override]
        """The status of an answer that ends its connection, and its Server-Timing."""
        await until(lambda: client.lost)
        head = client.received.partition(b"\r\n\r\n")[0].decode()
        timing = re.findall(r"^Server-Timing: (.*)\r?$", head, re.M)
        self.assertEqual(len(timing), 1, head)
        return int(head.split()[1]), timing[0].strip()

    async def send(self, server: Server, sent: bytes, number: int = 0) -> Client:
        client = await self.client(server, number)
        assert client.transport is not None
        client.transport.write(sent)
        return client

    async def check(
        self, server: Server, sent: bytes, method: str, status: int, number: int = 0
    ) -> None:
        """It is answered so, counted once, and timed."""
        before = statuses(server)
        client = await self.send(server, sent, number)
        await self.check_answer(server, client, before, method, status)

    async def check_answer(
        self,
        server: Server,
        client: Client,
        before: Counter[tuple[str, int]],
        method: str,
        status: int,
    ) -> None:
        found, timing = await self.told(client)
        self.assertEqual(found, status, client.received[:500])
        self.assertEqual(statuses(server) - before, {(method, status): 1})
        self.assertRegex(timing, "^fetch;dur=" if method else r"^total;dur=\d+\.\d{3}$")


class EveryAnswerTests(AnswersCase):
    async def test_of_what_is_no_call(self) -> None:
        server = await self.serving()
        for sent, status in PLAIN:
            with self.subTest(sent[:80]):
                await self.check(server, sent, "", status)

    async def test_of_calls(self) -> None:
        limits = CallLimits(request_size=10_000, request_rows=3)
        server = await self.serving(limits=limits)
        for sent, method, status in CALLS:
            for _ in range(2):
                with self.subTest(sent[:80]):
                    await self.check(server, sent, method, status)
        self.flushLoggedErrors()

    async def test_a_scrape_tells_the_same(self) -> None:
        server = await self.serving()
        sents = [ask("GET", "/nope"), ask("GET", "/web/"), call("/", ONE), b"x\r\n\r\n"]
        for sent in sents:
            await self.told(await self.send(server, sent))
        client = await self.send(server, ask("GET", "/metrics"))
        await self.told(client)
        body = client.received.partition(b"\r\n\r\n")[2].decode()
        [family] = [
            family
            for family in text_string_to_metric_families(body)
            if family.name == "txinfer_requests"
        ]
        counted = {
            (sample.labels["method"], sample.labels["status"]): sample.value
            for sample in family.samples
            if sample.name == "txinfer_requests_total"
        }
        self.assertEqual(
            counted,
            {
                ("", "404"): 1,
                ("", "200"): 1,
                ("", "400"): 1,
                ("serving_default", "200"): 1,
            },
        )

    async def test_of_requests_that_are_not_whole(self) -> None:
        door = DoorLimits(header_timeout=0.1, body_timeout=0.1)
        server = await self.serving(door=door)
        for sent in (b"GET /", ask("POST", "/", Content_Length="9") + b"{"):
            await self.check(server, sent, "", 408)

    async def test_of_requests_that_are_cut_short(self) -> None:
        server = await self.serving()
        before = statuses(server)
        client = await self.send(server, b"GET /")
        assert client.transport is not None
        client.transport.loseWriteConnection()  # type: ignore[attr-defined]
        await self.check_answer(server, client, before, "", 400)

    async def test_of_bodies_and_connections_that_are_too_many(self) -> None:
        door = DoorLimits(body_bytes=1, connections=2)
        server = await self.serving(door=door)
        sheds = server.inference.operations.metrics
        await self.check(server, call("/", ONE), "", 503)
        self.assertEqual(sheds.methods["", ""].sheds, {Shed.BODIES: 1})
        for _ in range(2):
            await self.client(server)
        await until(lambda: len(server._site.channels) == 2)
        await self.check(server, b"", "", 503)
        told = {Shed.BODIES: 1, Shed.CONNECTIONS: 1}
        self.assertEqual(sheds.methods["", ""].sheds, told)

    async def test_of_calls_for_which_there_is_no_room(self) -> None:
        gate = Gate()
        policy = BatchPolicy(queue=QueueLimits(queue_rows=1))
        server = await self.serving(load=lambda: model(gate), policy=policy)
        gate.close()
        busy = await self.send(server, call("/", ONE))
        await until(gate.entered.is_set)
        # The door asks before it reads a body.
        await self.check(server, call("/", ONE), "", 503)
        self.assertEqual(
            server.inference.operations.metrics.methods["", ""].sheds, {Shed.ROWS: 1}
        )
        before = statuses(server)
        gate.open()
        await self.check_answer(server, busy, before, "serving_default", 200)

    async def test_of_calls_that_take_too_long(self) -> None:
        gate = Gate()
        server = await self.serving(load=lambda: model(gate))
        gate.close()
        late = call("/", ONE, X_Request_Timeout_Ms="50")
        await self.check(server, late, "serving_default", 504)
        gate.open()
        # Its body is still on its way, so nobody knows whose call it is.
        await self.check(server, late[:-1], "", 504)

    async def test_while_the_model_loads(self) -> None:
        gate = Gate()
        gate.close()

        def load() -> MemoryModel:
            gate({"x": np.zeros(1)})
            return model()

        server = self.start(self.server(load=load))
        await self.check(server, ask("GET", "/readyz"), "", 503)
        await self.check(server, ask("GET", "/healthz"), "", 200)
        await self.check(server, ask("GET", "/"), "", 503)
        await self.check(server, call("/", ONE), "", 503)
        gate.open()
        await until(lambda: not server.inference.unready())

    async def test_of_those_who_are_not_let_in(self) -> None:
        server = await self.serving(
            api_keys=parse_keys(KEY),
            clients=ClientLimits(rate_limit=0.001, rate_burst=4),
        )
        # The first two stop at the door, with their bodies, and the third behind it.
        await self.check(server, call("/", ONE), "", 401)
        await self.check(server, ask("DELETE", "/", ONE), "", 401)
        await self.check(server, ask("GET", "/"), "", 401)
        # Another is known by now, and there is a short way.
        sent = call("/", ONE, X_API_Key=KEY)
        for _ in range(2):
            await self.check(server, sent, "serving_default", 200)
        for _ in range(2):
            await self.check(server, ask("GET", "/", X_API_Key=KEY), "", 200)
        await self.check(server, sent, "", 429)
        await self.check(server, ask("GET", "/", X_API_Key=KEY), "", 429)
        await self.check(server, ask("GET", "/"), "", 401)
        await self.check(server, ask("GET", "/"), "", 429)

    async def test_of_the_administration(self) -> None:
        server = await self.serving(admin=LOCAL)
        self.assertNotEqual(number_of(server), number_of(server, 1))
        await self.check(server, ask("GET", "/models", Host="localhost"), "", 200, 1)
        await self.check(server, ask("GET", "/models"), "", 403, 1)
        await self.check(server, ask("GET", "/nope", Host="localhost"), "", 404, 1)
        await self.check(server, b"nonsense\r\n\r\n", "", 400, 1)
