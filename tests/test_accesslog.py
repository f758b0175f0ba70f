"""The access log: what its lines say, and when they are written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.deferreds import result
from tests.pool import SteppedThreads
from tests.test_guard import KEY, KEYS
from tests.web_client import LIMIT, Connection, WebClient, request
from txinfer.accesslines import Record, json_line, text_line
from txinfer.accesslog import BATCH, LONGEST_WAIT, MOST_WAITING, AccessLog, LogFile
from txinfer.guard import Guard
from txinfer.limits import ClientLimits
from txinfer.proxies import Proxies
from txinfer.threads import ModelThreads
from txinfer.trace import Trace
from txinfer.web import ErrorResource, Root

# Monday, 4 May 2026, 10:34:56.789 in Greenwich.
NOW = 1777890896.789


@pytest.fixture(autouse=True)
def in_greenwich(monkeypatch: pytest.MonkeyPatch) -> Any:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Memory(LogFile):
    """A file that keeps the batches that are written to it, and may fail."""

    def __init__(self) -> None:
        super().__init__("memory")
        self.batches: list[list[bytes]] = []
        self.error: OSError | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        assert data.endswith(b"\n")
        self.batches.append(data.splitlines())

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch]


class Never(Resource):
    """Never answers."""

    isLeaf = True

    def render(self, request: object) -> int:
        return NOT_DONE_YET


class Bench:
    """A site whose requests are logged to memory, by a thread that is stepped."""

    def __init__(
        self,
        guard: Guard | None = None,
        most: int = MOST_WAITING,
        api: Resource | None = None,
    ) -> None:
        self.file = Memory()
        self.threads = SteppedThreads()
        root = Root(api or ErrorResource(418, "the api"), guard=guard)
        self.web = WebClient(root)
        self.clock = self.web.clock
        self.clock.advance(NOW)
        threads = cast(ModelThreads, self.threads)
        self.log = AccessLog(self.file, json_line, threads, self.clock, most)
        self.log.start()
        self.web.site.on_answer = self.log.answered  # type: ignore[attr-defined]
        self.web.site.on_refusal = self.log.refused  # type: ignore[attr-defined]

    def settle(self) -> list[dict[str, Any]]:
        """Let all be written; returns the lines."""
        self.clock.advance(LONGEST_WAIT)
        self.threads.finish()
        return [json.loads(line) for line in self.file.lines]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# What is said


def test_an_answered_request_is_a_line(bench: Bench) -> None:
    bench.web.get("/a?b=c", User_Agent="me", X_Request_Id="mine")
    assert bench.settle() == [
        {
            "time": "2026-05-04T10:34:56.789+00:00",
            "peer": "192.168.1.1",
            "status": 418,
            "method": "GET",
            "target": "/a?b=c",
            "bytes": len(b'{"error":"the api"}'),
            "ms": 0.0,
            "request_id": "mine",
            "agent": "me",
        }
    ]


def test_the_time_of_a_request_runs_from_its_first_byte(bench: Bench) -> None:
    connection = Connection(bench.web.site)
    whole = request("POST", "/", b"1234")
    connection.send(whole[:5])
    bench.clock.advance(0.25)
    connection.send(whole[5:])
    assert [line["ms"] for line in bench.settle()] == [250.0]


def test_a_refused_request_is_a_line(bench: Bench) -> None:
    Connection(bench.web.site).send(b"nonsense\r\n\r\n")
    answer = bench.web.ask("POST", "/", b"x" * (LIMIT + 1), {"X-Request-Id": "mine"})
    lines = bench.settle()
    assert [line["status"] for line in lines] == [400, 413]
    assert [line.get("target") for line in lines] == [None, "/"]
    assert lines[1]["request_id"] == answer["X-Request-Id"] == "mine"


def test_a_client_that_hangs_up_is_a_line(bench: Bench) -> None:
    whole = request("POST", "/a", b"1234", {"X-Request-Id": "mine"})
    for sent in (whole[:5], whole[:-1]):
        connection = Connection(bench.web.site)
        connection.send(sent)
        bench.clock.advance(0.25)
        connection.hang_up()
    lines = bench.settle()
    assert [line["status"] for line in lines] == [499, 499]
    assert [line.get("target") for line in lines] == [None, "/a"]
    assert (lines[1]["request_id"], lines[1]["ms"]) == ("mine", 250.0)


def test_a_client_that_does_not_wait_for_its_answer_is_a_line() -> None:
    bench = Bench(api=Never())
    connection = bench.web.begin("GET", "/a")
    bench.clock.advance(0.25)
    assert bench.settle() == []
    connection.hang_up()
    [line] = bench.settle()
    told = {name: line[name] for name in ("status", "target", "bytes")}
    assert told == {"status": 499, "target": "/a", "bytes": 0}


def test_a_client_that_is_turned_away_before_its_body_is_named() -> None:
    guard = Guard(Clock(), KEYS, ClientLimits(rate_limit=0.001, rate_burst=1))
    bench = Bench(guard)
    for _ in range(2):
        bench.web.ask("POST", "/a", b"x", {"X-API-Key": KEY})
    told = [(it["status"], it["target"], it["client"]) for it in bench.settle()]
    assert told == [(418, "/a", "alice"), (429, "/a", "alice")]


def test_a_client_with_a_key_is_named() -> None:
    bench = Bench(Guard(Clock(), KEYS, ClientLimits()))
    bench.web.get("/", X_API_Key=KEY)
    bench.web.get("/")
    lines = bench.settle()
    assert [line.get("client") for line in lines] == ["alice", None]
    assert KEY not in str(lines)


def test_a_client_behind_a_proxy_is_shown() -> None:
    proxies = Proxies(["192.168.1.1"])
    bench = Bench(Guard(Clock(), None, ClientLimits(), proxies=proxies))
    bench.web.get("/", X_Forwarded_For="2001:db8::1")
    bench.web.get("/")
    assert [line["peer"] for line in bench.settle()] == ["2001:db8::1", "192.168.1.1"]


def test_a_call_tells_where_its_time_went() -> None:
    trace = Trace(1, 0.5, 0.25, 2, 3, batch_rows=7)
    record = Record(NOW, "::1", 200, request=b"r", trace=trace)
    told = json.loads(json_line(record))
    assert told["fetch_ms"] == 500
    assert told["queue_ms"] == 250
    assert told["run_ms"] == 2000
    assert told["batch_rows"] == 7


def test_the_text_form_is_the_combined_one() -> None:
    record = Record(
        *(NOW, "192.0.2.7", 200, "alice", b"POST", b"/names", b"HTTP/1.1", 58, 0.01),
        *(b"r", b"https://a.example/", b"curl/8.9.1"),
    )
    assert text_line(record) == (
        b'192.0.2.7 - alice [04/May/2026:10:34:56 +0000] "POST /names HTTP/1.1" '
        b'200 58 "https://a.example/" "curl/8.9.1"\n'
    )
    assert text_line(Record(NOW, "", 400)) == (
        b'- - - [04/May/2026:10:34:56 +0000] "- - -" 400 - "-" "-"\n'
    )


COMBINED = re.compile(
    rb'\S+ - \S+ \[[^]]+\] "[^"]*" \d{3} (\d+|-) "[^"]*" "[^"]*"\n', re.DOTALL
)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_no_client_can_make_up_lines_or_words(
    target: bytes, referrer: bytes, agent: bytes
) -> None:
    record = Record(
        *(NOW, "::1", 200, "", b"GET", target, b"HTTP/1.1", 1, 0.0, b"r"),
        *(referrer, agent),
    )
    text = text_line(record)
    assert COMBINED.fullmatch(text)
    assert re.fullmatch(rb"[ -~]*\n", text)
    line = json_line(record)
    assert line.count(b"\n") == 1
    assert not re.search(rb"[\x00-\x09\x0b-\x1f]", line)
    assert json.loads(line)["target"] == target.decode("latin-1")


def test_long_words_are_cut(bench: Bench) -> None:
    bench.web.get("/" + "x" * 3000, User_Agent="y" * 3000)
    [line] = bench.settle()
    assert len(line["target"]) == len(line["agent"]) == 1024


# When it is written


def test_lines_wait_for_each_other_and_not_for_long(bench: Bench) -> None:
    for _ in range(3):
        bench.web.get("/")
    assert not bench.threads.started
    bench.settle()
    assert [len(batch) for batch in bench.file.batches] == [3]
    bench.clock.advance(100)
    assert not bench.threads.started


def test_many_lines_do_not_wait(bench: Bench) -> None:
    for _ in range(BATCH + 5):
        bench.web.get("/")
    bench.threads.step()
    assert [len(batch) for batch in bench.file.batches] == [BATCH]
    bench.settle()
    assert [len(batch) for batch in bench.file.batches] == [BATCH, 5]


def test_one_batch_is_written_at_a_time(bench: Bench) -> None:
    for _ in range(3 * BATCH):
        bench.web.get("/")
    bench.clock.advance(LONGEST_WAIT)
    assert len(bench.threads.started) == 1
    assert bench.threads.finish() == 3


def test_a_slow_disk_costs_lines_and_no_memory() -> None:
    bench = Bench(most=2 * BATCH)
    for _ in range(4 * BATCH):
        bench.web.get("/")
    with capturedLogs() as events:
        bench.settle()
    assert len(bench.file.lines) == 3 * BATCH
    assert [event["count"] for event in events if "count" in event] == [BATCH]


def test_a_full_disk_is_told_once(bench: Bench) -> None:
    with capturedLogs() as events:
        for error in (OSError(28, "no space"), OSError(28, "no space"), None):
            bench.file.error = error
            bench.web.get("/")
            bench.settle()
    assert [event["why"] for event in events] == ["[Errno 28] no space"]
    assert len(bench.file.lines) == 1


# The end


def test_the_end_waits_for_what_is_left(bench: Bench) -> None:
    for _ in range(2 * BATCH + 1):
        bench.web.get("/")
    closed = bench.log.close()
    assert not closed.called
    assert bench.threads.finish() == 3
    assert result(closed) is None
    assert bench.file.closed
    assert len(bench.file.lines) == 2 * BATCH + 1


def test_the_end_is_at_once_if_nothing_is_left(bench: Bench) -> None:
    bench.web.get("/")
    bench.settle()
    assert result(bench.log.close()) is None


def test_the_end_does_not_wait_for_ever(bench: Bench) -> None:
    bench.web.get("/")
    closed = bench.log.close()
    bench.threads.started.clear()
    with capturedLogs() as events:
        bench.clock.advance(5)
    assert result(closed) is None
    assert len(events) == 1
    assert not bench.file.closed


def test_it_can_be_started_again(bench: Bench) -> None:
    result(bench.log.close())
    bench.log.start()
    bench.web.get("/")
    assert len(bench.settle()) == 1


# The file


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    file = LogFile(str(path))
    file.write(b"a\n")
    file.write(b"b\n")
    assert path.read_bytes() == b"before\na\nb\n"
    file.close()
    file.write(b"c\n")
    assert path.read_bytes().endswith(b"b\nc\n")
    file.close()


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    file = LogFile(str(path))
    file.write(b"a\n")
    os.rename(path, moved)
    file.write(b"b\n")
    assert (moved.read_bytes(), path.read_bytes()) == (b"a\n", b"b\n")
    path.unlink()
    file.write(b"c\n")
    assert path.read_bytes() == b"c\n"
    file.close()


def test_a_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    LogFile("-").write(b"a\n")
    assert capfd.readouterr().out == "a\n"


def test_others_do_not_read_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path))
    file.write(b"a\n")
    assert path.stat().st_mode & 0o007 == 0
    file.close()


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        LogFile(str(tmp_path)).write(b"a\n")
