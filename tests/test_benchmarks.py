"""The yardstick's parts. How fast anything is, is not tested."""

from __future__ import annotations

import io
import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import models, ours, run
from benchmarks.drive import Reading, drive
from benchmarks.limit import Alone, Choice, Limit, best, highest
from benchmarks.process import NotServing
from benchmarks.table import HEADS, circumstances, ratio, row, table
from benchmarks.workloads import FILE, JSON, MSGPACK, NPY, RAW, WORKLOADS, Request


def reading(rate: float, rows: float | None = None) -> Reading:
    return Reading(rate, 1.0, 2.0, 100.0, 500.0, rows, 3, 0)


class TestModels:
    def test_a_case_is_what_tensorflow_gives_for_one_row(self) -> None:
        found = models.cases("tiny")
        assert [(float(x), float(y)) for x, y in found] == [
            (i, i / 2 + 2) for i in range(models.CASES)
        ]
        assert Path(models.path("tiny"), "saved_model.pb").exists()


class TestRequests:
    x = np.array([[0.1, 2], [3, 4]], np.float32)

    def test_json_has_the_shortest_texts_of_float32(self) -> None:
        assert JSON.encode(self.x) == b'{"x":[[[0.1,2.0],[3.0,4.0]]]}'

    def test_a_file_is_in_base64(self) -> None:
        file = np.frombuffer(b"abc", np.uint8)
        assert json.loads(FILE.encode(file)) == {"x": [{"b64": "YWJj"}]}

    def test_a_raw_file_is_sent_as_it_is_and_answered_in_json(self) -> None:
        file = np.frombuffer(b"abc", np.uint8)
        request = Request(RAW, RAW.encode(file), self.x)
        assert request.body == b"abc"
        assert request.headers() == {
            "Content-Type": "image/jpeg",
            "Accept": "application/json",
        }

    def test_npy_is_numpy_s(self) -> None:
        assert np.load(io.BytesIO(NPY.encode(self.x))).tolist() == [self.x.tolist()]

    def test_msgpack_holds_the_bytes(self) -> None:
        body = MSGPACK.encode(self.x)
        assert body[:4] == b"\x81\xa1x\xc6"
        assert struct.unpack(">I", body[4:8]) == (16,)
        answer = b"\x81\xa1y\xc4\x10" + body[8:]
        assert MSGPACK.decode(answer).tolist() == [np.float32(0.1), 2, 3, 4]

    @pytest.mark.parametrize(
        ("status", "answer", "why"),
        [
            (200, {"y": [[1, 2]]}, None),
            (200, {"y": [[1, 2.00001]]}, None),
            (200, {"y": [[1, 3]]}, "off by 5.0e-01 of the largest"),
            (200, {"y": [[1]]}, "shape (1,), not (2,)"),
            (503, {}, "503: b'{}'"),
        ],
    )
    def test_a_wrong_answer_is_told_of(
        self, status: int, answer: Any, why: str | None
    ) -> None:
        request = Request(JSON, b"", np.array([1, 2], np.float32))
        assert request.why_wrong(status, json.dumps(answer).encode()) == why

    def test_nobody_else_s_answer_passes_for_a_row_s_own(self) -> None:
        first, *others = WORKLOADS["tiny"].requests()
        for other in others:
            answer = json.dumps({"y": [float(other.expected)]}).encode()
            assert other.why_wrong(200, answer) is None
            assert first.why_wrong(200, answer) is not None


class TestTable:
    def test_a_line_has_a_cell_for_each_head(self) -> None:
        readings = [reading(1000, 2.0), reading(2000, 4.0)]
        line = row("tiny", "ours", 8, readings, [2000, 4000])
        assert dict(zip(HEADS, line, strict=True)) == {
            "workload": "tiny",
            "server": "ours",
            "conn.": "8",
            "req/s": "1,500",
            "p50 ms": "1.00",
            "p99 ms": "2.00",
            "CPU µs/req": "100",
            "MiB": "500",
            "rows/batch": "3.0",
            "of the limit": "0.5",
            "checked": "6",
            "failed": "0",
        }

    def test_what_is_unknown_is_left_open(self) -> None:
        line = row("tiny", "ours", 8, [reading(1000)], [])
        assert line[-4:-2] == ["-", "-"]

    def test_columns_are_as_wide_as_their_cells(self) -> None:
        assert table(["a", "bb"], [["ccc", "d"]]) == (
            "| a   | bb |\n| --- | -- |\n| ccc | d  |"
        )

    def test_ratios_are_of_neighbours(self) -> None:
        assert ratio([reading(10), reading(40)], [reading(5), reading(5)]) == 4

    def test_there_is_no_ratio_to_a_peer_that_answers_nothing(self) -> None:
        assert math.isnan(ratio([reading(10)], [reading(0)]))

    def test_a_server_that_answers_nothing_has_no_share(self) -> None:
        assert ratio([reading(0), reading(9)], [reading(5), reading(5)]) == 0
        assert row("tiny", "ours", 8, [reading(0)], [2000])[-3] == "0"

    def test_circumstances_name_the_versions(self) -> None:
        assert f"numpy {np.__version__}" in circumstances(["numpy"])


class TestLimit:
    def test_runs_larger_than_the_connections_do_not_count(self) -> None:
        rates = {Choice(way, rows): 0.0 for way in ("a", "b") for rows in (1, 8, 64)}
        rates |= {Choice("a", 1): 10.0, Choice("b", 8): 50.0, Choice("a", 64): 30.0}
        assert best(rates, 1) == [Choice("a", 1), Choice("b", 1)]
        assert best(rates, 8) == [Choice("b", 8), Choice("a", 1)]
        assert best(rates, 64) == [Choice("b", 8), Choice("a", 64)]

    def test_what_is_best_in_all_rounds_counts(self) -> None:
        a, b = Choice("a", 1), Choice("b", 8)
        assert highest([{a: 9, b: 5}, {a: 9, b: 6}, {a: 9, b: 20}]) == [5, 6, 20]
        assert highest([]) == []

    def test_a_model_alone_is_read_in_the_best_way(self) -> None:
        limit = Limit("tiny", ["inline"], [1, 8])
        try:
            assert limit.rates.keys() == {Choice("inline", 1), Choice("inline", 8)}
            assert limit.read(8, 0.1).keys() == limit.rates.keys()
            assert min(limit.read(8, 0.1).values()) > 0
        finally:
            limit.close()

    def test_a_process_that_ends_is_told_of(self) -> None:
        with pytest.raises(RuntimeError, match="KeyError: 'sideways'"):
            Alone("tiny", "sideways")

    def test_the_others_end_if_one_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = []
        monkeypatch.setattr(Alone, "close", lambda alone: closed.append(alone))
        monkeypatch.setattr(Alone, "__init__", lambda alone, name, way: None)
        monkeypatch.setattr(Alone, "rate", lambda alone, rows, seconds: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Limit("tiny", ["plain", "inline"])
        assert len(closed) == 2

    def test_a_process_that_was_killed_is_told_of(self) -> None:
        alone = Alone("tiny", "inline")
        try:
            alone._process.kill()
            alone._process.wait()
            with pytest.raises(RuntimeError, match="ended"):
                alone.rate(1, 0.1)
        finally:
            alone.close()


class TestCommandLine:
    def test_everything_is_measured_by_default(self) -> None:
        assert run.parse([]).workloads == list(WORKLOADS)

    def test_unknown_names_are_refused(self, capsys: Any) -> None:
        with pytest.raises(SystemExit):
            run.parse(["-w", "tiny,huge"])
        assert "huge: not among tiny, mlp" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
class TestDrive:
    def test_a_real_server_is_read(self) -> None:
        workload = WORKLOADS["tiny"]
        requests = workload.requests()
        server = ours.serve(workload)
        try:
            server.wait(requests[0])
            found = drive(server, requests, connections=2, seconds=1)
            assert found.failures == 0
            assert found.rate > 0
            assert 0 < found.p50 <= found.p99
            assert found.cpu > 0
            assert found.memory > 100
            wrong = [Request(JSON, it.body, it.expected + 1) for it in requests]
            with pytest.raises(NotServing, match="answered wrongly: off by"):
                drive(server, wrong, connections=1, seconds=1)
        finally:
            server.close()

    def test_a_server_that_ends_is_told_of(self) -> None:
        workload = WORKLOADS["tiny"]
        server = ours.serve(workload, ["--batch_size", "none"])
        try:
            with pytest.raises(NotServing, match="--batch_size none"):
                server.wait(workload.requests()[0])
        finally:
            server.close()
