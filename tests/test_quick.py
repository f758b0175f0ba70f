"""Calls are answered on the short way as they are on the long one."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from twisted.internet.defer import Deferred

from tests.deferreds import result
from tests.memory import spec
from tests.test_native import Bench
from tests.web_client import Answer
from txinfer.admission import CROWDED
from txinfer.errors import InputRefused, RowsMissing
from txinfer.limits import CallLimits
from txinfer.npz import write_npz
from txinfer.observe import Shed
from txinfer.protocols import quick
from txinfer.tensors import Signature, Tensors

SHORT = {"Content-Type": "application/json"}
# Says the same in other words, which only the long way understands.
LONG = {"Content-Type": "application/json; charset=utf-8"}

ARRAY = {"Content-Type": "application/x-npy"}
PICTURE = {"Content-Type": "image/png"}
ARRAYS = {"Content-Type": "application/x-npz"}
ACCEPTED = [
    None,
    "application/x-npy",
    "application/x-npz",
    "application/x-npy, application/json",
    "application/json, application/x-npy;q=0.5",
    "application/x-npy;q=0",
    "image/png, application/x-npz;q=0.1",
]


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


def none(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"][:0]}


def twice(tensors: Tensors) -> Tensors:
    return {"y": np.repeat(tensors["x"], 2, axis=1)}


VECTOR = Signature({"x": spec("float32", (None, 2))}, {"y": spec("float32", (None, 2))})
SCALAR = Signature({"x": spec("float32", (None,))}, {"y": spec("float32", (None,))})
TEXT = Signature({"t": spec("string", (None,))}, {"u": spec("string", (None,))})
METHODS = {
    "double": (VECTOR, double),
    "text": (TEXT, long_text),
    "broken": (SCALAR, broken),
    "merged": (SCALAR, merged),
    "none": (SCALAR, none),
    "twice": (VECTOR, twice),
}


@pytest.fixture
def bench() -> Bench:
    return Bench(methods=METHODS, cors=True).load()


def ask(bench: Bench, path: str, body: bytes, fields: Mapping[str, str]) -> Answer:
    connection = bench.web.begin("POST", path, body, dict(fields))
    bench.threads.finish()
    bench.web.clock.advance(0)
    return connection.answer()


def saved(value: object, dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value, dtype))
    return file.getvalue()


def zipped(**values: object) -> bytes:
    return write_npz({name: np.array(value, "<f4") for name, value in values.items()})


def told(answer: Answer) -> Any:
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


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/double", ARRAY, saved([[1, 2.5]])),
        ("/double", ARRAY, saved([[1, 2], [3, 4]], ">f8")),
        ("/double", ARRAY, saved([1, 2], "i2")),
        ("/double", ARRAY, saved([])),
        ("/double", ARRAY, saved([[]])),
        ("/double", ARRAY, saved([[1, -2]])),
        ("/double", ARRAY, saved([[1]])),
        ("/double", ARRAY, saved(1)),
        ("/double", ARRAY, saved([[1, 1e300]], "f8")),
        ("/double", ARRAY, saved([[True, False]], "?")),
        ("/double", ARRAY, saved([[1, 2]])[:-1]),
        ("/double", ARRAY, b""),
        ("/double", ARRAY, b"{}"),
        ("/double", ARRAYS, zipped(x=[[1, 2]])),
        ("/double", ARRAYS, zipped(x=[1, 2])),
        ("/double", ARRAYS, zipped(y=[1, 2])),
        ("/double", ARRAYS, zipped(x=[1, 2])[:-1]),
        ("/text", PICTURE, b"\x89PNG"),
        ("/text", PICTURE, b""),
        ("/text", {"Content-Type": "text/plain"}, b"a"),
        ("/text", {"Content-Type": "IMAGE/png"}, b"a"),
        ("/text", {"Content-Type": "nonsense"}, b"a"),
        ("/text", {"Content-Type": "application/ld+json"}, b'{"t":["a"]}'),
        ("/text", {"Content-Type": "text/json"}, b'{"t":["a"]}'),
        ("/text", {"Content-Type": "multipart/form-data"}, b"a"),
        ("/double", PICTURE, b"\x89PNG"),
        ("/double", SHORT, b'{"x":[[1,2]]}'),
        ("/double", SHORT, b'[{"x":[1,2]},{"x":[3,4]}]'),
        ("/double", SHORT, b"[]"),
        ("/double", SHORT, b'{"x":[[1,-2]]}'),
        ("/double", SHORT, b'{"x":[[1]]}'),
        ("/text", ARRAY, saved([1])),
        ("/text", SHORT, b'{"t":["a"]}'),
        ("/broken", ARRAY, saved([1])),
        ("/merged", ARRAY, saved([1, 2])),
        ("/merged", ARRAY, saved(1)),
        ("/merged", SHORT, b'[{"x":1},{"x":2}]'),
        ("/nope", ARRAY, saved([1])),
    ],
)
def test_all_else_is_answered_alike_on_both_ways(
    path: str, kind: dict[str, str], body: bytes, accept: str | None
) -> None:
    answers = []
    fields = kind | ({} if accept is None else {"Accept": accept})
    longer = {"Content-Type": kind["Content-Type"] + "; x=y"}
    for each in (fields, fields | longer):
        bench = Bench(methods=METHODS, cors=True).load()
        answers.append([told(ask(bench, path, body, each)) for _ in range(2)])
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "more", [{"X-Request-Timeout-Ms": "no"}, {"Content-Encoding": "br"}]
)
def test_what_else_is_wrong_with_a_head_is_told_alike(more: dict[str, str]) -> None:
    answers = []
    for kind in (ARRAY["Content-Type"], ARRAY["Content-Type"] + "; x=y"):
        bench = Bench(methods=METHODS, cors=True).load()
        fields = {"Content-Type": kind, "Accept": "application/x-npy"} | more
        answers.append(told(ask(bench, "/double", saved([[1, 2]]), fields)))
    assert answers[0] == answers[1]
    assert answers[0][0] >= 400


def test_an_answer_in_numpys_format_may_not_be_too_large() -> None:
    answers = []
    for kind in (ARRAY["Content-Type"], ARRAY["Content-Type"] + "; x=y"):
        bench = Bench(
            methods=METHODS, cors=True, limits=CallLimits(tensor_size=8)
        ).load()
        fields = {"Content-Type": kind, "Accept": "application/x-npy"}
        answers.append(told(ask(bench, "/twice", saved([[1, 2]]), fields)))
    assert answers[0] == answers[1]
    assert answers[0][0] >= 400


def test_a_plain_call_takes_the_short_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []

    class Noted(quick.QuickCall):
        def begin(self, deadline: float | None) -> None:
            taken.append(self)
            super().begin(deadline)

    monkeypatch.setattr(quick, "QuickCall", Noted)
    ask(bench, "/double", b'{"x":[[1,2]]}', SHORT)
    assert len(taken) == 1
    ask(bench, "/double", b'{"x":[[1,2]]}', LONG)
    ask(bench, "/text", b'{"t":[{"url":"http://a.example"}]}', SHORT)
    accept = {"Accept": "application/json, application/x-npy;q=0.5"}
    ask(bench, "/double", b'{"x":[[1,2]]}', SHORT | accept)
    assert len(taken) == 1
    for fields in (ARRAY, ARRAY | {"Accept": "application/x-npy"}):
        ask(bench, "/double", saved([[1, 2]]), fields)
    ask(bench, "/double", b'{"x":[[1,2]]}', SHORT | {"Accept": "application/x-npz"})
    assert len(taken) == 4
    ask(bench, "/text", b"\x89PNG", PICTURE)
    assert len(taken) == 5


def test_a_body_is_not_kept_while_its_call_waits(bench: Bench) -> None:
    body = b'{"x":[[1,2]]}'
    connection = bench.web.begin("POST", "/double", body, SHORT)
    request, site = connection.channel.current, connection.channel.site
    assert (request.body, site.held) == (b"", len(body))
    bench.threads.finish()
    assert connection.answer().value == {"y": [[2.0, 4.0]]}
    assert site.held == 0


def test_rows_run_one_by_one_where_the_call_was_read(bench: Bench) -> None:
    body = b'[{"x":1},{"x":2}]'
    connection = bench.web.begin("POST", "/merged", body, SHORT)
    # There may be another version by the time, which wants something else.
    ended = Deferred.fromCoroutine(bench.servable.end())
    bench.threads.finish()
    assert connection.answer().value == [{"y": 1.0}, {"y": 2.0}]
    assert result(ended) is None
    assert bench.model.closed == 1


def test_a_row_without_an_answer_of_its_own_does_not_run_again() -> None:
    runs = []
    for fields in (SHORT, LONG):
        bench = Bench(methods=METHODS).load()
        answer = ask(bench, "/none", b'{"x":1}', fields)
        assert (answer.status, answer.error) == (400, str(RowsMissing()))
        runs.append(len(bench.model.calls))
    assert runs[0] == runs[1]


def test_a_client_that_hangs_up_on_the_short_way_gives_up_its_call(
    bench: Bench,
) -> None:
    first = bench.web.begin("POST", "/double", b'{"x":[[1,2]]}', SHORT)
    second = bench.web.begin("POST", "/double", b'{"x":[[3,4]]}', SHORT)
    second.hang_up()
    bench.threads.finish()
    assert first.answer().value == {"y": [[2.0, 4.0]]}
    assert [len(call["x"]) for call in bench.model.calls] == [1]


# While calls are turned away

HURRY = {"X-Request-Timeout-Ms": "2000"}
WRONG = b"not JSON"


def slow_bench() -> Bench:
    """One with a method that is known to take three seconds."""
    bench = Bench(methods=METHODS, cors=True).load()
    for _ in range(3):
        before = bench.begin("/double", {"x": [[1, 2]]})
        pass_time(bench, 3)
        assert before.answer().status == 200
    return bench


def pass_time(bench: Bench, seconds: float) -> None:
    bench.clock.advance(seconds)
    bench.threads.finish()
    # The site has a clock of its own.
    bench.web.clock.advance(seconds)


@pytest.mark.parametrize("accept", ["*/*", "application/x-npy"])
def test_who_is_not_even_read_is_told_the_same(accept: str) -> None:
    bench = slow_bench()
    fields = SHORT | HURRY | {"Accept": accept}
    bodies = (b'{"x": [[1, 2]]}', b'{"x": [[3, 4]]}', WRONG)
    first, *others = [told(ask(bench, "/double", body, fields)) for body in bodies]
    assert others == [first, first]
    assert (first[0], first[2]["retry-after"]) == (503, "1")
    assert not bench.threads.started
    counts = bench.told.methods["", "double"]
    assert counts.sheds == {Shed.DEADLINE: 3}
    assert counts.statuses == {200: 3, 503: 3}
    assert counts.whole.counts[0] == 3


def test_who_has_the_time_is_read_meanwhile() -> None:
    bench = slow_bench()
    assert ask(bench, "/double", b'{"x": [[1, 2]]}', SHORT | HURRY).status == 503
    time = {"X-Request-Timeout-Ms": "4000"}
    assert ask(bench, "/double", b'{"x": [[1, 2]]}', SHORT | time).status == 200
    assert ask(bench, "/double", WRONG, SHORT | time).status == 400
    assert ask(bench, "/double", WRONG, SHORT | HURRY).status == 503


def test_calls_are_read_again_once_none_was_turned_away_for_a_while() -> None:
    bench = slow_bench()
    assert ask(bench, "/double", b'{"x": [[1, 2]]}', SHORT | HURRY).status == 503
    pass_time(bench, CROWDED)
    assert ask(bench, "/double", WRONG, SHORT | HURRY).status == 400
