"""Calls are answered on the short way as they are on the long one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.memory import spec
from tests.test_native import Bench
from tests.web_client import Answer
from txinfer.errors import InputRefused
from txinfer.protocols import quick
from txinfer.tensors import Signature, Tensors

SHORT = {"Content-Type": "application/json"}
# Says the same in other words, which only the long way understands.
LONG = {"Content-Type": "application/json; charset=utf-8"}


def double(tensors: Tensors) -> Tensors:
    if (tensors["x"] < 0).any():
        raise InputRefused("INVALID_ARGUMENT")
    return {"y": tensors["x"] * 2}


def long_text(tensors: Tensors) -> Tensors:
    rows = [b"a" * 2000 for _ in tensors["t"]]
    return {"u": np.array(rows, object)}


def broken(tensors: Tensors) -> Tensors:
    raise RuntimeError("a secret")


def merged(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"][:1] * 0 + tensors["x"].sum()}


VECTOR = Signature({"x": spec("float32", (None, 2))}, {"y": spec("float32", (None, 2))})
SCALAR = Signature({"x": spec("float32", (None,))}, {"y": spec("float32", (None,))})
TEXT = Signature({"t": spec("string", (None,))}, {"u": spec("string", (None,))})
METHODS = {
    "double": (VECTOR, double),
    "text": (TEXT, long_text),
    "broken": (SCALAR, broken),
    "merged": (SCALAR, merged),
}


@pytest.fixture
def bench() -> Bench:
    return Bench(methods=METHODS, cors=True).load()


def ask(bench: Bench, path: str, body: bytes, fields: Mapping[str, str]) -> Answer:
    connection = bench.web.begin("POST", path, body, dict(fields))
    bench.threads.finish()
    bench.web.clock.advance(0)
    return connection.answer()


def told(answer: Answer) -> object:
    """All of an answer but what differs from request to request."""
    fields = {name.lower(): value for name, value in answer.headers.items()}
    for name in ("x-request-id", "server-timing"):
        assert fields.pop(name)
    return answer.status, answer.body, fields


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/double", {"x": [[1, 2.5]]}),
        ("/double", {"x": [[1, 2], [3, 4]]}),
        ("/double", {"x": [1, 2]}),
        ("/double", [{"x": [1, 2]}, {"x": [3, 4]}]),
        ("/double", []),
        ("/double", {"x": [[1, -2]]}),
        ("/double", {"x": [[1]]}),
        ("/double", {"x": [[1, None]]}),
        ("/double", {"x": []}),
        ("/double", {"y": [[1, 2]]}),
        ("/double", {}),
        ("/double", 7),
        ("/text", {"t": ["a", {"b64": "YQ=="}]}),
        ("/text", {"t": "a"}),
        ("/text", {"t": [{"url": "http://a.example"}]}),
        ("/broken", {"x": [1]}),
        ("/merged", {"x": [1, 2]}),
        ("/merged", [{"x": 1}, {"x": 2}]),
        ("/nope", {"x": 1}),
    ],
)
@pytest.mark.parametrize("more", [{}, {"Accept-Encoding": "gzip"}, {"Accept": "*/*"}])
def test_both_ways_answer_alike(path: str, value: object, more: dict[str, str]) -> None:
    body = json.dumps(value).encode()
    answers = []
    for fields in (SHORT, LONG):
        bench = Bench(methods=METHODS, cors=True).load()
        answers.append(told(ask(bench, path, body, fields | more)))
        # On a way that is known already, too.
        answers.append(told(ask(bench, path, body, fields | more)))
    assert answers[0] == answers[2]
    assert answers[1] == answers[3]


def test_a_plain_call_takes_the_short_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    class Noted(quick.QuickCall):
        def begin(self, tensors: Tensors, *more: Any) -> None:
            taken.append(tensors)
            super().begin(tensors, *more)

    monkeypatch.setattr(quick, "QuickCall", Noted)
    ask(bench, "/double", b'{"x":[[1,2]]}', SHORT)
    assert len(taken) == 1
    ask(bench, "/double", b'{"x":[[1,2]]}', LONG)
    ask(bench, "/double", b'{"x":[[1,2]]}', SHORT | {"Accept": "application/x-npy"})
    ask(bench, "/text", b'{"t":[{"url":"http://a.example"}]}', SHORT)
    assert len(taken) == 1


def test_a_client_that_hangs_up_on_the_short_way_gives_up_its_call(
    bench: Bench,
) -> None:
    first = bench.web.begin("POST", "/double", b'{"x":[[1,2]]}', SHORT)
    second = bench.web.begin("POST", "/double", b'{"x":[[3,4]]}', SHORT)
    second.hang_up()
    bench.threads.finish()
    assert first.answer().value == {"y": [[2.0, 4.0]]}
    assert [len(call["x"]) for call in bench.model.calls] == [1]
