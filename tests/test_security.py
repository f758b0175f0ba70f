"""SECURITY.md's table of limits says what becomes of what is past each of them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.memory import AFFINE, MemoryModel, spec
from tests.pool import SteppedThreads
from tests.processes import ROOT
from tests.web_client import Connection, request
from txinfer.collector import Collector
from txinfer.guard import Guard
from txinfer.interfaces import IFetcher
from txinfer.limits import (
    CallLimits,
    ClientLimits,
    DoorLimits,
    FetchLimits,
    QueueLimits,
    RunLimits,
)
from txinfer.madeup import png
from txinfer.models import Servable
from txinfer.policy import BatchPolicy
from txinfer.protocols.native import Dialect
from txinfer.routing import Api
from txinfer.site import BoundedSite
from txinfer.tensors import Signature
from txinfer.web import Root

KINDS = (
    DoorLimits,
    CallLimits,
    QueueLimits,
    RunLimits,
    FetchLimits,
    ClientLimits,
)
ROW = re.compile(r"\| `--(?P<name>\w+)` \| `[^|`]+` \| (?P<past>[^|]+) \|")

TEXTS = Signature(inputs={"x": spec("string")}, outputs={"y": spec("string")})


def table() -> dict[str, str]:
    """What becomes of what is past a limit, by the limit's name."""
    text = (ROOT / "SECURITY.md").read_text("utf-8").partition("\n## Limits\n")[2]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    rows = {}
    for line in lines:
        match = ROW.fullmatch(line)
        assert match, f"the row is not in the table's form: {line}"
        assert match["name"] not in rows, match["name"]
        rows[match["name"]] = match["past"]
    return rows


@implementer(IFetcher)
class Web:
    """Has every URL."""

    def fetch(
        self, urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        return succeed([b"a page" for _ in urls])


class Bench:
    """A server in memory with one limit that is easily passed."""

    def __init__(self, name: str, value: float) -> None:
        def kind(limits: Any) -> Any:
            named = [field.name for field in attrs.fields(limits)]
            return limits(**{name: value} if name in named else {})

        self.clock = Clock()
        self.threads = SteppedThreads()
        policy = BatchPolicy(queue=kind(QueueLimits))
        collector = Collector(self.threads, self.clock, policy)
        model = MemoryModel(
            {"serving_default": AFFINE, "texts": TEXTS},
            {"texts": lambda tensors: {"y": tensors["x"]}},
        )
        servable = Servable(lambda: model, self.threads, collector)
        loaded = Deferred.fromCoroutine(servable.load())
        self.threads.finish()
        assert loaded.called
        calls = kind(CallLimits)
        dialect = Dialect(servable, Web(), calls, self.clock)
        guard = Guard(self.clock, None, kind(ClientLimits))
        self.site = BoundedSite(
            Root(Api(dialect.router(), guard), guard=guard),
            kind(DoorLimits),
            calls.request_size,
            reactor=self.clock,
        )

    def send(self, *sent: bytes) -> Connection:
        connection = Connection(self.site)
        connection.send(*sent)
        return connection

    def call(self, body: bytes, path: str = "/", **fields: str) -> Connection:
        headers = {name.replace("_", "-"): text for name, text in fields.items()}
        return self.send(request("POST", path, body, headers))

    def run(self, connection: Connection) -> Connection:
        """Have the model and the clock do what they still do for it."""
        self.threads.finish()
        self.clock.advance(0)
        return connection


NUMBERS = b'{"x": [1, 2, 3]}'

# So large a body that its elements are counted.
MANY = b'{"x": [%s]}' % b",".join([b"0.000000000001"] * 10_000)

Attempt = Callable[[Bench], Connection]


IMAGE = b'{"x": [{"b64": "%s"}]}' % b64encode(png(4, 4))


def default_of(name: str) -> Any:
    """A limit's default."""
    fields = [field for kind in KINDS for field in attrs.fields(kind)]
    return {field.name: field.default for field in fields}[name]


def crowd(bench: Bench) -> Connection:
    bench.send()
    return bench.send()


def wait(bench: Bench, *sent: bytes) -> Connection:
    connection = bench.send(*sent)
    bench.clock.advance(9.5)
    return connection


def late(bench: Bench, **fields: str) -> Connection:
    connection = bench.call(NUMBERS, **fields)
    bench.clock.advance(9.5)
    return connection


def form(bench: Bench) -> Connection:
    part = b'--X\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    kind = "multipart/form-data; boundary=X"
    return bench.run(bench.call(part * 3 + b"--X--\r\n", Content_Type=kind))


def chunked(bench: Bench) -> Connection:
    head = request("POST", "/", headers={"Transfer-Encoding": "chunked"})
    return bench.send(head + b"1\r\n{\r\n" * 3)


def twice(bench: Bench) -> Connection:
    bench.call(b'{"x": [1]}')
    return bench.call(b'{"x": [1]}')


def texts(body: bytes) -> Attempt:
    return lambda bench: bench.run(bench.call(body, "/texts"))


def numbers(bench: Bench) -> Connection:
    return bench.run(bench.call(NUMBERS))


#: How one goes past a limit, if it has the value.
PAST: dict[str, tuple[float, Attempt]] = {
    "connections": (1, crowd),
    "connections_per_address": (1, crowd),
    "uri_size": (10, lambda bench: bench.run(bench.call(NUMBERS, "/?" + "a" * 9))),
    "header_size": (50, lambda bench: bench.run(bench.call(NUMBERS, A="b" * 50))),
    "header_count": (2, lambda bench: bench.call(NUMBERS, A="b")),
    "chunks": (2, chunked),
    "body_bytes": (5, numbers),
    "header_timeout": (9, lambda bench: wait(bench, b"GET /")),
    "body_timeout": (9, lambda bench: wait(bench, request("POST", "/", b"1")[:-1])),
    "request_size": (10, numbers),
    "deadline_ms": (9_000, late),
    "url_count": (1, texts(b'{"x": [{"url": "http://a/"}, {"url": "http://b/"}]}')),
    "multipart_parts": (2, form),
    "request_rows": (2, numbers),
    "json_depth": (1, numbers),
    "json_elements": (2, texts(b'{"x": ["a", "b", "c"]}')),
    "json_numbers": (2, lambda bench: bench.run(bench.call(MANY))),
    "tensor_size": (11, numbers),
    "image_pixels": (15, texts(IMAGE)),
    "output_elements": (2, numbers),
    "queue_rows": (1, twice),
    "queue_bytes": (7, twice),
    "rate_limit": (0.1, twice),
}

#: Where others are tried: what is cut off has no status, and fetches, rates and runs
#: take more than one limit.
ELSEWHERE = {
    "answer_bytes": "test_answers",
    "write_timeout": "test_answers",
    "idle_timeout": "test_http",
    "deadline_max_ms": "test_deadlines",
    "rate_burst": "test_guard",
    "stuck_seconds": "test_stuck",
    "drain_seconds": "test_server",
    **dict.fromkeys([field.name for field in attrs.fields(FetchLimits)], "test_fetch"),
}


@pytest.mark.parametrize("name", table())
def test_what_is_past_a_limit_is_answered_as_the_table_says(name: str) -> None:
    if name in ELSEWHERE:
        assert name in (ROOT / "tests" / f"{ELSEWHERE[name]}.py").read_text()
        return
    value, attempt = PAST[name]
    default = type(default_of(name))
    answer = attempt(Bench(name, default(value))).answer()
    assert str(answer.status) == table()[name][:3]


@pytest.mark.parametrize("name", PAST)
def test_what_is_not_is_not(name: str) -> None:
    # Twice, for the limits that are of all requests together.
    _, attempt = PAST[name]
    connection = attempt(Bench(name, default_of(name)))
    assert b"HTTP/1.1 200" in connection.received or not connection.received
