"""The clients of the benchmarks of overload. How fast anything is, is not tested."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import attrs
import pytest

from benchmarks import deadlines, fairness, known, load, overload, sigterm
from benchmarks.exchange import Answer, Exchange, Question, answer_in
from benchmarks.overload import Round
from benchmarks.sigterm import Life
from benchmarks.tally import (
    EARLY,
    LATE,
    LOST,
    OVERDUE,
    SILENT,
    WRONG,
    Report,
    Tally,
    Times,
    outcome_of,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n"
BODY = b'{"y":[3.0]}'


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True


class Talk:
    """An exchange, without a network, that has asked for one row."""

    def __init__(self, **options: Any) -> None:
        self.settled: list[Answer | None] = []
        self.wire: Any = Wire()
        self.exchange = Exchange(lambda it: self.settled.append(it.answer))
        self.exchange.connection_made(cast("Any", self.wire))
        self.exchange.ask(Question(1, **options))


class TestExchange:
    def test_a_question_is_a_whole_request(self) -> None:
        headers = {"X-API-Key": "k"}
        head, _, body = Question(4, 2, headers, 0.25).wire.partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"POST / HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Content-Type: application/json",
            b"X-API-Key: k",
            b"X-Request-Timeout-Ms: 250",
            b"Content-Length: 11",
        ]
        assert body == b'{"x":[4,5]}'

    def test_only_its_own_rows_answer_a_question(self) -> None:
        question = Question(1)
        for body, right in ((BODY, True), (b'{"y":[5.0]}', False), (BODY, True)):
            assert question.is_right(body) is right

    def test_an_answer_may_come_in_pieces(self) -> None:
        talk = Talk()
        for byte in HEAD + BODY:
            assert talk.settled == []
            talk.exchange.data_received(bytes([byte]))
        assert talk.settled == [Answer(200, HEAD, BODY)]
        assert not talk.wire.closed

    def test_the_last_byte_of_a_question_may_drip(self) -> None:
        async def drip(hang_up: bool) -> bytes:
            wire: Any = Wire()
            exchange = Exchange(lambda _: None, 0.001)
            exchange.connection_made(wire)
            exchange.ask(Question(1))
            assert wire.written == Question(1).wire[:-1]
            if hang_up:
                exchange.close()
            done = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.002, done.set_result, None)
            await done
            return bytes(wire.written)

        assert asyncio.run(drip(False)) == Question(1).wire
        assert asyncio.run(drip(True)) == Question(1).wire[:-1]

    def test_a_connection_that_the_server_closes_is_closed(self) -> None:
        talk = Talk()
        head = HEAD[:-2] + b"Connection: close\r\n\r\n"
        talk.exchange.data_received(head + BODY)
        talk.exchange.connection_lost(None)
        assert talk.settled == [Answer(200, head, BODY)]
        assert talk.wire.closed

    def test_the_end_of_a_connection_settles_its_question(self) -> None:
        talk = Talk()
        error = ConnectionResetError()
        talk.exchange.connection_lost(error)
        assert talk.settled == [None]
        assert talk.exchange.error is error

    @pytest.mark.parametrize("data", [HEAD + BODY + b"H", b"HTTP/1.1 200 OK\r\n\r\n"])
    def test_what_is_no_single_answer_is_an_error(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="answer"):
            answer_in(data)


class TestTally:
    @pytest.mark.parametrize(
        ("status", "head", "body", "overdue", "outcome"),
        [
            (200, b"", BODY, None, "200"),
            (200, b"", b'{"y":[4]}', None, WRONG),
            (200, b"", BODY, 0.04, "200"),
            (200, b"", BODY, 0.06, LATE),
            (503, b"\r\nRetry-After: 1\r\n", b"", None, "503"),
            (503, b"", b"", None, SILENT),
            (504, b"", b"", 0.01, "504"),
            (504, b"", b"", -0.01, EARLY),
        ],
    )
    def test_what_becomes_of_a_question_has_a_name(
        self, status: int, head: bytes, body: bytes, overdue: float, outcome: str
    ) -> None:
        exchange = Talk().exchange
        exchange.answer = Answer(status, head, body)
        assert outcome_of(exchange, overdue) == outcome

    def test_no_answer_is_a_loss(self) -> None:
        assert outcome_of(Talk().exchange) == LOST

    def test_right_answers_count_for_the_rate_in_its_time(self) -> None:
        tally = Tally(begin=10, end=14)
        for ended in (9.9, 10, 13, 14):
            tally.add("200", 9, ended)
        tally.add("503", 11, 12)
        report = tally.report(cpu=0.5, lag=0.001)
        assert report.rate == 0.5
        assert report["200"] == Times(4, 4000, 5000, 5000)
        assert report["504"].count == 0
        assert Report.read(attrs.asdict(report)) == report

    def test_a_504_is_timed_from_its_deadline(self) -> None:
        tally = Tally(0, 1)
        exchange = Talk(deadline=0.2).exchange
        exchange.began -= 0.3
        exchange.answer = Answer(504, b"", b"")
        assert tally.settle(exchange) == "504"
        report = tally.report(0, 0)
        assert report["504"].p50 - report[OVERDUE].p50 == pytest.approx(200)


def seen(**counts: int) -> Report:
    outcomes = {name.strip("_"): Times(n, 10, 20, 30) for name, n in counts.items()}
    return Report(outcomes, rate=960, cpu=0.1, lag=1)


class TestVerdicts:
    def test_goodput_is_compared_with_the_peaks_around_it(self) -> None:
        good = Round(1000, 4000, seen(_200=9, _503=9, _504=1, late=1), 1000, 0.5)
        assert list(overload.wrongs("it", [good])) == []
        poor = attrs.evolve(good, after=1100)
        assert list(overload.wrongs("it", [poor])) == [
            "it: goodput is 0.914 of the peak"
        ]

    def test_nothing_may_be_left_unanswered(self) -> None:
        bad = Round(900, 4000, seen(_200=9, _503=9, unanswered=2), 900, 0.5)
        assert list(overload.wrongs("it", [bad])) == ["it: {'unanswered': 2}"]

    def test_what_was_not_overloaded_shows_nothing(self) -> None:
        idle = Round(900, 4000, seen(_200=9), 900, 0.5)
        assert list(overload.wrongs("it", [idle])) == ["it: it was not overloaded"]

    def test_a_server_has_to_end_well_and_in_time(self) -> None:
        good = Life(9, 9, [], 0.6, 0, [])
        lives = [
            good,
            attrs.evolve(good, lost=["503"] * 2),
            attrs.evolve(good, seconds=9.0),
            attrs.evolve(good, seconds=None, status=None),
            attrs.evolve(good, status=1),
            attrs.evolve(good, said=["Traceback"]),
        ]
        assert list(sigterm.wrongs("it", lives)) == [
            "it, server 1: lost 2 × 503",
            "it, server 2: it took 9.0 s to end",
            "it, server 3: it took None s to end",
            "it, server 4: it ended with status 1",
            "it, server 5: its log has ['Traceback']",
        ]

    def test_a_late_504_and_a_late_answer_are_told_of(self) -> None:
        late = Report({OVERDUE: Times(3, 20, 70, 90)}, 1, 0, 0)
        found = Report(
            {**seen(_200=1, _504=3, late=1).outcomes, **late.outcomes}, 1, 0, 0
        )
        assert list(deadlines.wrongs("it", [found])) == [
            "it: the p99 of 504 is 70.0 ms after the deadline",
            "it: {'late': 1}",
        ]

    def test_p99_may_not_double_and_rows_may_not_be_lost(self) -> None:
        def at(p99: float, rate: float) -> fairness.Stretch:
            return fairness.Stretch(Report({"200": Times(9, 1, p99, 9)}, 1, 0, 0), rate)

        found = fairness.Round(at(10, 1), at(0, 100), at(20, 90), at(1, 1), at(9, 1))
        assert list(fairness.wrongs("it", [found])) == [
            "it: the callers' p99 grows 2.00 times",
            "it: only 0.90 times the rows are run in all",
        ]


class TestClients:
    def test_both_loops_ask_a_real_server(self) -> None:
        with known.serving(known.sleepy(1, 0)) as server:
            for more in (["--rate=200"], ["--think=1"]):
                arguments = [str(server.port), "--seconds=0.5", "--warm_up=0"]
                chosen = load.parse([*arguments, "--connections=4", *more])
                report = asyncio.run(load.run(chosen))
                assert set(report.outcomes) == {"200"}
                assert report.rate > 0

    def test_a_server_that_is_told_to_end_answers_all_that_it_accepted(self) -> None:
        with known.serving(known.sleepy(5, 0.5)) as server:
            life = asyncio.run(sigterm.live(server, 0.2))
        assert life.lost == []
        assert life.status == 0
        assert 0 < life.after < life.answered
