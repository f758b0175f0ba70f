"""What is told of each call over HTTP: to its client, and to operators."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.test_native import COLUMNS, UPPER, Bench, Shelf
from tests.web_client import Answer, Connection, SlowWire, request
from txinfer.gone import GONE
from txinfer.tensors import Tensors

# What is seen of a phase of no length on a clock that does not move.
NOTHING = {"fetch": 0.0, "queue": 0.0, "run": 0.0, "rows": 0.0}


def timing(answer: Answer) -> dict[str, float]:
    """What an answer's Server-Timing says: milliseconds, and rows."""
    header = answer["Server-Timing"] or ""
    match = re.fullmatch(
        r"fetch;dur=([\d.]+), queue;dur=([\d.]+), run;dur=([\d.]+), "
        r'batch;desc="(\d+) rows"',
        header,
    )
    assert match, header
    return dict(zip(NOTHING, map(float, match.groups()), strict=True))


def total(answer: Answer) -> float:
    """What it says of what is no call: milliseconds from the first byte."""
    match = re.fullmatch(r"total;dur=(\d+\.\d{3})", answer["Server-Timing"] or "")
    assert match, answer["Server-Timing"]
    return float(match[1])


def counted(bench: Bench, method: str) -> dict[int, int]:
    """How many calls of a method were answered, by status."""
    counts = bench.told.methods.get(("", method))
    return dict(counts.statuses) if counts else {}


@pytest.fixture
def bench() -> Bench:
    return Bench().load()


def test_an_answer_tells_where_its_time_went(bench: Bench) -> None:
    first = bench.begin("/upper", {"text": ["a"]})
    second = bench.begin("/upper", {"text": ["b", "c"]})
    bench.clock.advance(0.25)
    bench.threads.step()
    bench.clock.advance(0.5)
    bench.threads.step()
    assert timing(first.answer()) == {**NOTHING, "run": 250, "rows": 1}
    assert timing(second.answer()) == {"fetch": 0, "queue": 250, "run": 500, "rows": 2}


def test_the_time_of_fetching_is_told_apart() -> None:
    shelf = Shelf({"http://a/": None})
    bench = Bench(fetcher=shelf).load()
    call = bench.begin("/upper", {"text": [{"url": "http://a/"}]})
    bench.clock.advance(2)
    shelf.coming[0].callback([b"a"])
    bench.threads.finish()
    assert timing(call.answer()) == {**NOTHING, "fetch": 2000, "rows": 1}
    phases = bench.told.methods["", "upper"].phases
    assert phases["fetch"].sum == 2
    assert phases["decode"].sum == 0


def test_calls_without_urls_are_not_said_to_fetch(bench: Bench) -> None:
    bench.post("/upper", {"text": ["a"]})
    assert not any(bench.told.methods["", "upper"].phases["fetch"].counts)


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        ("/upper", {"text": ["a"]}, 200),
        ("/upper", {"text": [1]}, 400),
        ("/upper", b"{", 400),
        ("/serving_default", COLUMNS, 200),
        ("/", COLUMNS, 200),
    ],
)
def test_every_call_is_counted_and_timed(
    bench: Bench, path: str, value: object, status: int
) -> None:
    answer = bench.post(path, value)
    assert answer.status == status
    assert counted(bench, path[1:] or "serving_default") == {status: 1}
    assert timing(answer)["rows"] == (status == 200) * (2 if path != "/upper" else 1)


def test_calls_of_methods_that_there_are_not_are_counted_as_nobodys(
    bench: Bench,
) -> None:
    for path in ("/nope", "/nope2"):
        assert total(bench.post(path, {})) == 0
    assert counted(bench, "") == {404: 2}
    assert set(bench.told.methods) == {("", "")}


def test_calls_while_the_model_loads_are_counted() -> None:
    bench = Bench()
    assert bench.post("/upper", {"text": ["a"]}).status == 503
    assert counted(bench, "") == {503: 1}


def test_rows_of_one_request_are_one_answer(bench: Bench) -> None:
    answer = bench.post("/scalar", [{"x": 1}, {"x": 2}, {"x": 3}])
    assert answer.status == 200
    assert counted(bench, "scalar") == {200: 1}


def in_flight(bench: Bench) -> dict[str, int]:
    """How many requests to our own site are under way, by method."""
    site: Any = bench.web.site
    return {labels.method: count for labels, count in site.in_flight().items()}


# Clients that hang up


def long_text(tensors: Tensors) -> Tensors:
    """More than is packed at a turn of the reactor, or than sockets hold."""
    return {"out": np.array([b"a" * 600_000 for _ in tensors["text"]], object)}


def gone(bench: Bench, method: str) -> tuple[int, int]:
    """How many requests were given up, as is counted in two places."""
    counts = bench.told.methods["", method]
    return counts.statuses[GONE], counts.cancelled


@pytest.mark.parametrize("way", [{}, {"Content-Encoding": "identity"}])
def test_a_client_that_hangs_up_is_counted_as_gone(
    bench: Bench, way: dict[str, str]
) -> None:
    bench.begin("/upper", {"text": ["a"]})
    for _ in range(2):
        call = bench.web.begin("POST", "/upper", b'{"text": ["b"]}', way)
        call.hang_up()
    bench.threads.finish()
    assert counted(bench, "upper") == {200: 1, GONE: 2}
    assert gone(bench, "upper") == (2, 2)
    assert sum(bench.told.methods["", "upper"].whole.counts) == 1


def test_a_client_may_hang_up_while_urls_are_fetched() -> None:
    shelf = Shelf({"http://a/": None})
    bench = Bench(fetcher=shelf).load()
    bench.begin("/upper", {"text": [{"url": "http://a/"}]}).hang_up()
    assert shelf.cancelled == ["http://a/"]
    assert gone(bench, "upper") == (1, 1)


@pytest.mark.parametrize("way", [{}, {"Content-Encoding": "identity"}])
def test_a_client_may_hang_up_while_its_answer_is_packed(
    way: dict[str, str],
) -> None:
    bench = Bench(methods={"long": (UPPER, long_text)}).load()
    fields = {"Accept-Encoding": "gzip", **way}
    call = bench.web.begin("POST", "/long", b'{"text": ["a"]}', fields)
    bench.threads.finish()
    assert not call.received
    call.hang_up()
    bench.clock.advance(1)
    assert counted(bench, "long") == {GONE: 1}
    assert gone(bench, "long") == (1, 1)


def test_a_client_may_hang_up_before_its_request_is_whole(bench: Bench) -> None:
    whole = request("POST", "/upper", b"{}")
    for size in (5, len(whole) - 1):
        connection = Connection(bench.web.site)
        connection.send(whole[:size])
        connection.hang_up()
    assert counted(bench, "") == {GONE: 2}
    assert gone(bench, "") == (2, 2)


def test_requests_in_advance_are_given_up_together(bench: Bench) -> None:
    call = request("POST", "/upper", b'{"text": ["a"]}')
    connection = Connection(bench.web.site)
    connection.send(call + request("GET", "/upper") + call[:-1])
    connection.hang_up()
    assert counted(bench, "upper") == {GONE: 1}
    assert gone(bench, "") == (2, 2)


def test_who_had_an_answer_is_not_said_to_have_given_up(bench: Bench) -> None:
    connection = bench.web.begin("GET", "/upper")
    connection.send(b"nonsense\r\n\r\n")
    assert [answer.status for answer in connection.answers()] == [200, 400]
    connection.hang_up()
    Connection(bench.web.site).hang_up()
    assert counted(bench, "") == {200: 1, 400: 1}
    assert gone(bench, "") == (0, 0)


def test_who_does_not_read_to_the_end_had_an_answer() -> None:
    bench = Bench(methods={"long": (UPPER, long_text)}).load()
    connection = Connection(bench.web.site, SlowWire())
    connection.send(request("POST", "/long", b'{"text": ["a"]}'))
    bench.threads.finish()
    assert connection.channel.current is not None
    assert in_flight(bench) == {}
    connection.hang_up()
    assert counted(bench, "long") == {200: 1}
    assert gone(bench, "long") == (0, 0)


# What is under way


def test_requests_are_in_flight_until_they_are_answered() -> None:
    shelf = Shelf({"http://a/": None})
    bench = Bench(fetcher=shelf).load()
    assert in_flight(bench) == {}
    reading = Connection(bench.web.site)
    reading.send(request("POST", "/upper", b"{}")[:-1])
    fetching = bench.begin("/upper", {"text": [{"url": "http://a/"}]})
    queued = [bench.begin("/upper", {"text": ["a"]}) for _ in range(3)]
    assert in_flight(bench) == {"": 1, "upper": 4}
    shelf.coming[0].callback([b"a"])
    assert in_flight(bench) == {"": 1, "upper": 4}
    bench.threads.finish()
    assert [call.answer().status for call in (fetching, *queued)] == [200] * 4
    assert in_flight(bench) == {"": 1}
    reading.send(b"}")
    assert in_flight(bench) == {}


def test_listings_are_no_calls(bench: Bench) -> None:
    assert total(bench.get("/")) == 0
    assert total(bench.get("/upper")) == 0
    assert counted(bench, "") == {200: 2}
    assert set(bench.told.methods) == {("", "")}
    assert not any(bench.told.methods["", ""].whole.counts)


def test_what_is_no_call_is_timed_from_its_first_byte(bench: Bench) -> None:
    whole = request("GET", "/upper")
    for rest in (whole[9:], b" nonsense\r\n\r\n"):
        connection = Connection(bench.web.site)
        connection.send(whole[:9])
        bench.web.clock.advance(0.25)
        connection.send(rest)
        assert total(connection.answer("GET")) == 250


# The name of a request


@pytest.mark.parametrize("path", ["/", "/upper", "/nope", "//", "/%ff"])
@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "OPTIONS"])
def test_every_answer_has_the_name_that_was_given(
    bench: Bench, verb: str, path: str
) -> None:
    for name in ("mine-1", "mine-2"):
        connection = bench.web.begin(verb, path, b"{}", {"X-Request-Id": name})
        bench.threads.finish()
        assert connection.answer(verb)["X-Request-Id"] == name


def test_an_answer_has_a_name_of_its_own_otherwise(bench: Bench) -> None:
    names = {bench.get("/upper")["X-Request-Id"] for _ in range(5)}
    assert len(names) == 5
    assert None not in names
