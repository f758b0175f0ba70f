from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, eventAsText
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from tests.deferreds import reason, result
from tests.pool import SteppedThreads, TimedThreads
from tests.work import LABELS, Work, double
from txinfer.collector import Collector
from txinfer.cost import Point
from txinfer.errors import (
    CallTooLarge,
    DeadlineExceeded,
    InputRefused,
    ModelFailed,
    NoTime,
    Overloaded,
    Unavailable,
)
from txinfer.held import Held
from txinfer.interfaces import IRunnable
from txinfer.limits import QueueLimits
from txinfer.observe import Amount, Depth, IObserver, Labels, NullObserver, Run, Shed
from txinfer.policy import BatchPolicy
from txinfer.quota import INTERVAL, LINES
from txinfer.tensors import Tensors
from txinfer.trace import Trace


class Told(NullObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.events: list[str] = []

    def ran(self, run: Run) -> None:
        self.runs.append(run)

    def shed(self, labels: Labels, reason: Shed) -> None:
        self.events.append(f"{labels.method} shed: {reason.value}")

    def cancelled(self, labels: Labels) -> None:
        self.events.append(f"{labels.method} cancelled")

    def expired(self, labels: Labels) -> None:
        self.events.append(f"{labels.method} expired")


class Bench:
    """A collector with threads and a clock that tests step."""

    def __init__(
        self, slots: int = 1, max_rows: int = 32, linger: float = 0, **queue: int
    ) -> None:
        self.clock = Clock()
        self.threads = SteppedThreads(slots, self.clock)
        self.told = Told()
        policy = BatchPolicy(max_rows, QueueLimits(**queue), linger)
        self.collector = Collector(self.threads, self.clock, policy, self.told)

    def call(
        self,
        work: Work,
        *numbers: float,
        deadline: float | None = None,
        trace: Trace | None = None,
        client: str = "",
    ) -> Deferred[Tensors]:
        tensors = {"x": np.array(numbers)}
        return self.collector.submit(work, tensors, deadline, client, trace)

    def finish(self) -> int:
        runs = self.threads.finish()
        while True:
            # A run may be put off to the end of the next turn.
            self.clock.pump([0, 0])
            if not self.threads.started:
                return runs
            runs += self.threads.finish()


def answer(call: Deferred[Tensors]) -> Any:
    """The outputs of a call that must have been answered, as a list."""
    return result(call)["y"].tolist()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_the_doubles_promise() -> None:
    verifyObject(IRunnable, Work())
    verifyObject(IObserver, Told())


# Batching


def test_a_first_call_leaves_at_once(bench: Bench) -> None:
    bench.call(Work(), 1)
    assert bench.collector.in_flight == 1


def test_64_callers_get_their_own_rows_from_a_handful_of_runs(bench: Bench) -> None:
    work = Work()
    calls = [bench.call(work, n) for n in range(64)]
    bench.finish()
    assert [answer(call) for call in calls] == [[2.0 * n] for n in range(64)]
    assert work.runs == [1, 32, 31]


def test_what_waits_leaves_together_when_a_run_returns(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    for n in range(5):
        bench.call(work, n, n)
    bench.threads.step()
    bench.threads.step()
    assert work.runs == [1, 10]


def test_a_batch_never_exceeds_the_cap(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    for _ in range(5):
        bench.call(work, *range(20))
    bench.finish()
    assert work.runs == [1, 32, 32, 16, 20]


def test_a_call_larger_than_the_cap_is_split_and_rejoined_in_order() -> None:
    bench, work = Bench(max_rows=4), Work()
    big = bench.call(work, *range(10))
    small = bench.call(work, 99)
    bench.finish()
    assert answer(big) == [2.0 * n for n in range(10)]
    assert answer(small) == [198]
    # The last piece of the big call has room for the small one.
    assert work.runs == [4, 4, 3]


def test_a_call_that_is_cut_to_fill_a_run_is_rejoined_in_order() -> None:
    bench, work = Bench(max_rows=4), Work()
    bench.call(work, 0)
    calls = [bench.call(work, n, n + 1, n + 2) for n in (10, 20, 30, 40)]
    bench.finish()
    assert [answer(call) for call in calls] == [
        [2 * n, 2 * n + 2, 2 * n + 4] for n in (10, 20, 30, 40)
    ]
    assert work.runs == [1, 4, 4, 4]


def test_full_calls_of_a_client_that_is_alone_are_not_cut() -> None:
    bench, work = Bench(max_rows=4), Work()
    calls = [bench.call(work, n, n, n, n) for n in range(6)]
    bench.finish()
    assert [answer(call) for call in calls] == [[2.0 * n] * 4 for n in range(6)]
    assert [run.calls for run in bench.told.runs] == [1] * 6


def test_different_methods_never_share_a_run(bench: Bench) -> None:
    one, other = Work(), Work(lambda t: {"y": -t["x"]})
    calls = [bench.call((one, other)[n % 2], n) for n in range(8)]
    bench.finish()
    assert [answer(call) for call in calls] == [
        [2.0 * n] if n % 2 == 0 else [-float(n)] for n in range(8)
    ]
    assert sum(one.runs) == sum(other.runs) == 4


def test_alternating_shapes_are_joined_by_shape_and_oldest_goes_first(
    bench: Bench,
) -> None:
    shapes: list[tuple[int, ...]] = []

    def record(tensors: Tensors) -> Tensors:
        shapes.append(tensors["x"].shape)
        return double(tensors)

    work = Work(record)
    calls = [
        bench.collector.submit(work, {"x": np.full((1, 2 + n % 2), n)})
        for n in range(9)
    ]
    bench.finish()
    assert shapes == [(1, 2), (4, 3), (4, 2)]
    assert [answer(call)[0][0] for call in calls] == [2 * n for n in range(9)]


def test_different_dtypes_never_share_a_run(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    bench.collector.submit(work, {"x": np.array([1], np.int64)})
    bench.collector.submit(work, {"x": np.array([1], np.float32)})
    bench.finish()
    assert work.runs == [1, 1, 1]


def test_a_direct_method_runs_call_by_call(bench: Bench) -> None:
    work = Work(direct="it has no inputs")
    calls = [bench.call(work, *range(n)) for n in (1, 2, 50)]
    bench.finish()
    assert work.runs == [1, 2, 50]
    assert [len(answer(call)) for call in calls] == [1, 2, 50]


def test_as_many_runs_are_under_way_as_there_are_threads() -> None:
    bench, work = Bench(slots=2), Work()
    for n in range(6):
        bench.call(work, n)
    assert bench.collector.in_flight == 2
    bench.threads.step()
    assert work.runs == [1]
    assert bench.collector.in_flight == 2
    bench.finish()
    assert work.runs == [1, 1, 4]


def test_the_next_batch_starts_before_replies_are_made(bench: Bench) -> None:
    in_flight: list[int] = []
    work = Work()
    bench.call(work, 1).addCallback(
        lambda _: in_flight.append(bench.collector.in_flight)
    )
    bench.call(work, 2)
    bench.threads.step()
    assert in_flight == [1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 3))
def test_every_caller_gets_its_rows_whatever_the_sizes(
    sizes: list[int], slots: int
) -> None:
    bench, work = Bench(slots, max_rows=4), Work()
    calls = [bench.call(work, *([n] * size)) for n, size in enumerate(sizes)]
    bench.finish()
    assert [answer(call) for call in calls] == [
        [2.0 * n] * size for n, size in enumerate(sizes)
    ]
    assert max(work.runs) <= 4
    assert bench.collector.waiting.rows == bench.collector.waiting.size == 0
    assert bench.collector.in_flight == 0


def test_a_policy_that_lingers_waits_for_company() -> None:
    bench, work = Bench(max_rows=4, linger=0.5), Work()
    calls = [bench.call(work, n) for n in range(2)]
    assert bench.collector.in_flight == 0
    bench.clock.advance(0.5)
    bench.finish()
    assert work.runs == [2]
    assert [answer(call) for call in calls] == [[0], [2]]


def test_a_full_batch_does_not_linger() -> None:
    bench, work = Bench(max_rows=2, linger=0.5), Work()
    for n in range(3):
        bench.call(work, n)
    bench.finish()
    assert work.runs == [2]
    bench.clock.advance(0.5)
    bench.finish()
    assert work.runs == [2, 1]


# Learning


def test_a_batch_grows_no_further_than_it_pays() -> None:
    clock, work = Clock(), Work()

    def seconds(*run: Any) -> float:
        """Rows cost the same up to eight of them, and more and more beyond."""
        rows: int = sum(run[-1])
        return 0.01 + 0.001 * rows + 0.0005 * max(rows - 8, 0) ** 2

    threads = TimedThreads(1, clock, seconds)
    collector = Collector(threads, clock, BatchPolicy(max_rows=64))
    answers: list[Tensors] = []

    def ask(outputs: Tensors | None = None) -> None:
        if outputs is not None:
            answers.append(outputs)
        collector.submit(work, {"x": np.zeros(1)}).addCallback(ask)

    for _ in range(100):
        ask()
    while len(answers) < 2000:
        clock.advance(0.001)
    late = work.runs[-50:]
    assert late.count(8) > 40
    assert work.runs[1] == 64, "nothing was known then"


def test_calls_that_take_the_reactor_longer_than_a_run_leave_one_by_one() -> None:
    bench = Bench()
    work = known(bench, 0.001)
    work.cost.company.learn_call(0.01)
    first, second = bench.call(work, 1), bench.call(work, 2)
    bench.clock.advance(0.001)
    bench.threads.step()
    assert len(bench.threads.started) == 1
    assert answer(first) == [2]
    bench.threads.step()
    assert answer(second) == [4]


def test_calls_of_others_do_not_wait_for_company() -> None:
    bench = Bench()
    work, other = known(bench, 1), known(bench, 1)
    calls = [bench.call(it, 1) for it in (work, work, other)]
    bench.clock.advance(1)
    bench.threads.step()
    assert len(bench.threads.started) == 1
    bench.finish()
    assert [answer(call) for call in calls] == [[2]] * 3


class Door:
    """Reads a body, a byte in each turn of the reactor, of which each takes so long.

    Args:
        turns: after which the body is whole.
        whole: called then.
    """

    def __init__(
        self, bench: Bench, seconds: float, turns: int, whole: Callable[[], object]
    ) -> None:
        self.size = 0
        self.left = turns
        self.whole = whole
        self.seconds = seconds
        self.clock = bench.clock
        bench.collector.held.add(lambda: (0, self.size))

    def turn(self) -> None:
        self.size += 1
        self.left -= 1
        self.clock.rightNow += self.seconds
        if self.left:
            self.clock.callLater(0, self.turn)
        else:
            self.whole()


@pytest.mark.parametrize(
    ("seconds", "turns", "runs"), [(0.001, 5, [1, 2]), (0.1, 100, [1, 1, 1])]
)
def test_a_run_leaves_with_those_whose_bodies_are_read_as_long_as_it_is_worth(
    seconds: float, turns: int, runs: list[int]
) -> None:
    bench = Bench()
    work = known(bench, 1)
    bench.call(work, 1), bench.call(work, 2)
    door = Door(bench, seconds, turns, lambda: bench.call(work, 3))
    bench.clock.advance(1)
    bench.threads.step()
    door.turn()
    bench.finish()
    assert door.size == turns
    assert work.runs == runs


def test_who_comes_for_another_method_does_not_wait_for_company() -> None:
    bench = Bench()
    work, other = known(bench, 1), known(bench, 1)
    bench.call(work, 1), bench.call(work, 2)
    door = Door(bench, 0.001, 5, lambda: bench.call(work, 3))
    bench.clock.advance(1)
    bench.threads.step()
    bench.call(other, 4)
    door.turn()
    bench.finish()
    assert work.runs == [1, 1, 1]
    assert other.runs == [1]


def test_a_run_waits_when_the_next_can_have_no_more_rows() -> None:
    bench = Bench(max_rows=4)
    work = Work()
    bench.call(work, 0)
    bench.call(work, 1, 2, 3)
    assert not bench.collector.run_waits, "one runs, and only three wait"
    bench.call(work, 4)
    assert bench.collector.run_waits
    bench.finish()
    assert not bench.collector.run_waits


def test_whoever_waits_for_company_may_leave() -> None:
    bench = Bench()
    work = known(bench, 1)
    first, second = bench.call(work, 1), bench.call(work, 2)
    bench.clock.advance(1)
    bench.threads.step()
    assert not bench.threads.started
    assert answer(first) == [2]
    second.addErrback(lambda _: None)
    second.cancel()
    closed = bench.collector.close()
    assert closed.called
    assert not bench.clock.getDelayedCalls()


def test_a_call_of_many_rows_is_split_as_it_pays() -> None:
    bench, work = Bench(), Work()
    for rows, took in ((1, 0.1), (2, 0.11), (4, 0.12), (8, 0.2), (16, 1), (32, 9)):
        for _ in range(5):
            work.cost.learn(rows, took, 0.0)
    call = bench.call(work, *range(24))
    bench.finish()
    assert answer(call) == [2.0 * n for n in range(24)]
    assert work.runs == [8, 8, 8]


# Isolation


def lose(tensors: Tensors) -> Tensors:
    """Gives no row for a number below 0."""
    x = tensors["x"]
    return {"y": x[x >= 0]}


def widen(tensors: Tensors) -> Tensors:
    """Makes all rows of a run as long as its largest number says."""
    x = tensors["x"]
    return {"y": np.repeat(x[:, None], int(abs(x).max()) + 1, axis=1)}


def refuse_negative(tensors: Tensors) -> Tensors:
    if (tensors["x"] < 0).any():
        raise InputRefused("INVALID_ARGUMENT")
    return double(tensors)


@pytest.mark.parametrize("place", range(32))
def test_one_bad_row_beside_31_good_ones_fails_alone(bench: Bench, place: int) -> None:
    work = Work(refuse_negative)
    bench.call(work, 0)
    calls = [bench.call(work, -1 if n == place else n) for n in range(32)]
    bench.finish()
    assert isinstance(reason(calls.pop(place)), InputRefused)
    assert [answer(c) for c in calls] == [[2.0 * n] for n in range(32) if n != place]
    extra = len(work.runs) - 2
    assert extra <= 2 * math.log2(32) + 2


@given(st.sets(st.integers(0, 31)))
def test_just_the_guilty_calls_fail(guilty: set[int]) -> None:
    bench, work = Bench(), Work(refuse_negative)
    bench.call(work, 0)
    calls = [bench.call(work, -1 if n in guilty else n) for n in range(32)]
    bench.finish()
    for n, call in enumerate(calls):
        if n in guilty:
            assert isinstance(reason(call), InputRefused)
        else:
            assert answer(call) == [2.0 * n]


def test_a_call_split_over_several_runs_fails_as_one() -> None:
    bench, work = Bench(max_rows=4), Work(refuse_negative)
    big = bench.call(work, 1, 2, 3, 4, -1, 6, 7, 8, 9, 10, 11, 12)
    small = bench.call(work, 5)
    bench.finish()
    assert isinstance(reason(big), InputRefused)
    assert answer(small) == [10]
    # Its third piece was not run any more.
    assert work.runs == [4, 4, 1]


def test_a_bad_call_that_was_cut_fails_once_and_is_run_no_further() -> None:
    bench, work = Bench(max_rows=4), Work(refuse_negative)
    bench.call(work, 0)
    calls = [bench.call(work, *numbers) for numbers in [(1, 2, 3), (-1, 5, 6), (7, 8)]]
    bench.finish()
    assert isinstance(reason(calls.pop(1)), InputRefused)
    assert [answer(call) for call in calls] == [[2, 4, 6], [14, 16]]
    # Three rows and one of the bad call, each alone, and then what was left.
    assert work.runs == [1, 4, 3, 1, 2]


def test_both_parts_of_a_bad_call_may_fail_at_once() -> None:
    bench, work = Bench(slots=2, max_rows=4), Work(refuse_negative)
    for n in range(2):
        bench.call(work, n)
    calls = [bench.call(work, *numbers) for numbers in [(1, 2, 3), (-1, 5, -6), (7, 8)]]
    bench.threads.step()
    bench.threads.step()
    assert bench.collector.in_flight == 2
    bench.finish()
    assert isinstance(reason(calls.pop(1)), InputRefused)
    assert [answer(call) for call in calls] == [[2, 4, 6], [14, 16]]
    assert bench.collector.amount() == (0, 0)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.data())
def test_one_bad_row_is_found_in_few_runs_whatever_is_cut(
    sizes: list[int], data: st.DataObject
) -> None:
    bench, work = Bench(), Work(refuse_negative)
    bench.call(work, 0)
    guilty = data.draw(st.integers(0, len(sizes) - 1))
    rows = [[float(n)] * size for n, size in enumerate(sizes)]
    rows[guilty][data.draw(st.integers(0, sizes[guilty] - 1))] = -1
    calls = [bench.call(work, *numbers) for numbers in rows]
    bench.finish()
    assert isinstance(reason(calls.pop(guilty)), InputRefused)
    rows.pop(guilty)
    assert [answer(c) for c in calls] == [[2 * x for x in own] for own in rows]
    assert sum(run.rerun for run in bench.told.runs) <= 2 * math.log2(32) + 2


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (InputRefused("INVALID_ARGUMENT"), "the model refused this input"),
        (ValueError("\x1b[2J"), "A model failed"),
    ],
)
def test_failing_calls_do_not_fill_the_log(
    bench: Bench, raised: Exception, told: str
) -> None:
    def fail(tensors: Tensors) -> Tensors:
        raise raised

    work = Work(fail)
    with capturedLogs() as logs:
        for _ in range(LINES + 7):
            bench.call(work, 1).addErrback(lambda _: None)
            bench.finish()
        bench.clock.advance(INTERVAL)
    lines = [eventAsText(event, includeTimestamp=False) for event in logs]
    assert len(lines) == LINES + 1
    assert all(told in line for line in lines[:-1])
    assert "... and 7 more like it" in lines[-1]
    assert "\x1b" not in "".join(lines)
    assert any("Traceback" in line for line in lines) == (told == "A model failed")


@pytest.mark.parametrize(
    "raised",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        MemoryError(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(),
        BaseException("anything"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_no_call_is_left_unanswered_whatever_the_model_raises(
    bench: Bench, raised: BaseException
) -> None:
    def break_down(tensors: Tensors) -> Tensors:
        if 13.0 in tensors["x"]:
            raise raised
        return double(tensors)

    work = Work(break_down)
    calls = [bench.call(work, n) for n in range(20)]
    bench.finish()
    failed = reason(calls.pop(13))
    assert isinstance(failed, ModelFailed)
    assert failed.__cause__ is raised
    assert [answer(c) for c in calls] == [[2.0 * n] for n in range(20) if n != 13]


def test_lost_rows_make_the_method_direct(bench: Bench) -> None:
    def positive(tensors: Tensors) -> Tensors:
        x = tensors["x"]
        return {"y": x[x > 0]}

    work = Work(positive)
    calls = [bench.call(work, *numbers) for numbers in [(1,), (2, -2), (-3,), (4,)]]
    bench.finish()
    assert [answer(c) for c in calls] == [[1], [2], [], [4]]
    assert work.direct == "output 'y' had not one row for each row put in"
    late = bench.call(work, -1, 5)
    bench.finish()
    assert answer(late) == [5]


def test_lost_rows_are_found_in_a_call_that_ran_alone(bench: Bench) -> None:
    work = Work(lambda t: {"y": t["x"].sum()})
    call = bench.call(work, 1, 2)
    bench.finish()
    assert answer(call) == 3.0
    assert work.direct is not None


def test_lost_rows_of_a_split_call_are_run_again_as_one_call() -> None:
    bench = Bench(slots=2, max_rows=2)
    work = Work(lambda t: {"y": t["x"][:1]})
    big = bench.call(work, 1, 2, 3, 4, 5)
    other = bench.call(work, 6)
    bench.finish()
    assert answer(big) == [1]
    assert answer(other) == [6]
    assert bench.collector.waiting.rows == 0


def test_a_call_of_which_a_part_ran_is_run_whole_once_its_method_is_direct() -> None:
    bench, work = Bench(max_rows=4), Work(lose)
    bench.call(work, 0)
    calls = [bench.call(work, *numbers) for numbers in [(1, 2, 3), (4, -5, 6), (-7, 8)]]
    bench.finish()
    # All was well until the second part of the call that was cut.
    assert [answer(call) for call in calls] == [[1, 2, 3], [4, 6], [8]]
    assert work.runs == [1, 4, 4, 3, 2]
    assert work.direct == "output 'y' had not one row for each row put in"
    assert bench.collector.amount() == (0, 0)


def test_parts_of_a_small_call_that_do_not_fit_together_are_run_again_whole() -> None:
    bench, work = Bench(max_rows=4), Work(widen)
    bench.call(work, 0)
    calls = [bench.call(work, *numbers) for numbers in [(1, 1, 1), (0, 2, 2), (1, 1)]]
    bench.finish()
    assert answer(calls[1]) == [[0] * 3, [2] * 3, [2] * 3]
    assert [len(answer(call)) for call in (calls[0], calls[2])] == [3, 2]
    assert work.direct == "its outputs' shapes differ from run to run"
    assert work.runs == [1, 4, 4, 3]


# Leaving early


def test_a_cancelled_call_leaves_the_queue(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    calls = [bench.call(work, n) for n in range(4)]
    calls[1].cancel()
    assert isinstance(reason(calls.pop(1)), CancelledError)
    assert bench.collector.waiting.rows == 3
    bench.finish()
    assert work.runs == [1, 3]
    assert [answer(call) for call in calls] == [[0], [4], [6]]


def test_cancelling_in_flight_drops_only_that_answer(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    calls = [bench.call(work, n) for n in range(3)]
    bench.threads.step()
    calls[0].cancel()
    assert isinstance(reason(calls[0]), CancelledError)
    assert bench.collector.in_flight == 1
    bench.finish()
    assert [answer(call) for call in calls[1:]] == [[2], [4]]
    assert bench.collector.in_flight == 0


def test_a_cancelled_call_is_not_run_again_when_its_batch_failed(bench: Bench) -> None:
    work = Work(refuse_negative)
    bench.call(work, 0)
    calls = [bench.call(work, n) for n in (-1, 2)]
    bench.threads.step()
    calls[0].cancel()
    assert isinstance(reason(calls[0]), CancelledError)
    bench.finish()
    assert answer(calls[1]) == [4]
    assert work.runs == [1, 2, 1]


def cut(bench: Bench, work: Work, deadline: float | None = None) -> Deferred[Tensors]:
    """A call of which a part runs, beside others: one that runs and one that waits."""
    bench.call(work, 0)
    bench.call(work, 1, 2, 3)
    call = bench.call(work, 4, 5, 6, deadline=deadline)
    bench.call(work, 7, 8)
    bench.threads.step()
    assert bench.collector.in_flight == 1
    assert bench.collector.waiting.rows == 4
    return call


def test_a_call_that_runs_in_part_can_be_cancelled() -> None:
    bench, work = Bench(max_rows=4), Work()
    call = cut(bench, work)
    call.cancel()
    assert isinstance(reason(call), CancelledError)
    assert bench.collector.amount() == (4 + 2, 48)
    bench.finish()
    assert work.runs == [1, 4, 2]
    assert bench.collector.amount() == (0, 0)


def test_a_call_can_be_cancelled_while_the_last_of_it_runs() -> None:
    bench, work = Bench(max_rows=4), Work()
    call = cut(bench, work)
    bench.threads.step()
    assert bench.collector.in_flight == 1
    call.cancel()
    assert isinstance(reason(call), CancelledError)
    bench.finish()
    assert work.runs == [1, 4, 4]
    assert bench.collector.amount() == (0, 0)


def test_a_call_that_runs_in_part_can_expire() -> None:
    bench, work = Bench(max_rows=4), Work()
    call = cut(bench, work, deadline=5)
    bench.clock.advance(5)
    assert isinstance(reason(call), DeadlineExceeded)
    assert bench.collector.waiting.rows == 2
    bench.finish()
    assert work.runs == [1, 4, 2]
    assert bench.told.events == ["work expired"]
    assert bench.collector.amount() == (0, 0)


def test_what_is_left_of_a_call_never_runs_after_its_deadline() -> None:
    bench, work = Bench(max_rows=4), Work()
    call = cut(bench, work, deadline=5)
    # The reactor was busy.
    bench.clock.rightNow = 6
    bench.threads.step()
    assert isinstance(reason(call), DeadlineExceeded)
    bench.finish()
    assert work.runs == [1, 4, 2]
    assert bench.collector.amount() == (0, 0)


def test_cancelling_all_in_a_failed_batch_leaves_nothing_behind(bench: Bench) -> None:
    work = Work(refuse_negative)
    calls = [bench.call(work, -1, -2), bench.call(work, 3)]
    for call in calls:
        call.cancel()
        assert isinstance(reason(call), CancelledError)
    bench.finish()
    assert work.runs == [2]
    assert bench.collector.drained().called


def test_an_expired_call_never_enters_a_batch(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    late = bench.call(work, 1, deadline=bench.clock.seconds() + 1)
    kept = bench.call(work, 2, deadline=bench.clock.seconds() + 9)
    bench.clock.advance(1)
    assert isinstance(reason(late), DeadlineExceeded)
    bench.finish()
    assert work.runs == [1, 1]
    assert answer(kept) == [4]
    bench.collector.close()
    assert not bench.clock.getDelayedCalls()


def test_a_deadline_is_kept_while_the_run_goes_on(bench: Bench) -> None:
    work = Work()
    call = bench.call(work, 1, deadline=bench.clock.seconds() + 1)
    bench.clock.advance(1)
    assert isinstance(reason(call), DeadlineExceeded)
    assert bench.collector.in_flight == 1
    bench.finish()
    assert bench.collector.in_flight == 0


def test_a_deadline_in_the_past_is_refused_at_once(bench: Bench) -> None:
    work = Work()
    call = bench.call(work, 1, deadline=bench.clock.seconds())
    assert isinstance(reason(call), DeadlineExceeded)
    assert not bench.finish()


def test_an_expired_call_never_enters_a_batch_though_its_timer_is_late(
    bench: Bench,
) -> None:
    work = Work()
    bench.call(work, 0)
    late = [bench.call(work, n, deadline=1) for n in range(1, 3)]
    kept = bench.call(work, 3, deadline=9)
    # The reactor was busy.
    bench.clock.rightNow = 1.5
    bench.threads.step()
    for call in late:
        assert isinstance(reason(call), DeadlineExceeded)
    bench.finish()
    assert work.runs == [1, 1]
    assert answer(kept) == [6]


def test_expired_calls_alone_make_no_run(bench: Bench) -> None:
    work, direct = Work(), Work(direct="it has no inputs")
    bench.call(work, 0)
    late = [bench.call(which, 1, deadline=1) for which in (work, direct, work)]
    bench.clock.rightNow = 1.5
    bench.threads.step()
    assert all(isinstance(reason(call), DeadlineExceeded) for call in late)
    assert not bench.threads.started
    assert bench.collector.amount() == (0, 0)


def test_an_expired_call_is_not_run_again_when_its_batch_failed(bench: Bench) -> None:
    work = Work(refuse_negative)
    bench.call(work, 0)
    late = bench.call(work, -1, deadline=1)
    kept = bench.call(work, 2)
    bench.threads.step()
    bench.clock.rightNow = 1.5
    bench.threads.step()
    assert isinstance(reason(late), DeadlineExceeded)
    bench.finish()
    assert work.runs == [1, 2, 1]
    assert answer(kept) == [4]


# Time


def known(bench: Bench, seconds: float, rows: int = 1) -> Work:
    """A method whose runs have taken so long."""
    work = Work()
    for _ in range(5):
        call = bench.call(work, *range(rows))
        while not call.called:
            bench.clock.advance(seconds)
            bench.threads.step()
    work.runs.clear()
    bench.clock.rightNow = 0.0
    work.cost.updated = 0.0
    return work


def test_a_call_that_takes_too_long_by_itself_is_refused_at_once(bench: Bench) -> None:
    work = known(bench, seconds=2)
    refused = reason(bench.call(work, 1, deadline=1.5))
    assert isinstance(refused, NoTime)
    assert refused.retry_after == 1
    kept = bench.call(work, 1, deadline=2.5)
    bench.finish()
    assert answer(kept) == [2]
    assert bench.told.events == ["work shed: deadline"]


def test_what_runs_and_waits_is_reckoned_with(bench: Bench) -> None:
    work = known(bench, seconds=2)
    kept = [bench.call(work, 1), bench.call(work, 2)]
    bench.clock.advance(1)
    bench.collector.waiting.reckon()
    # One more second of the first, two of the second, and two of its own.
    refused = reason(bench.call(work, 3, deadline=1 + 4.5))
    assert isinstance(refused, NoTime)
    kept.append(bench.call(work, 3, deadline=1 + 5.5))
    bench.finish()
    assert [answer(call) for call in kept] == [[2], [4], [6]]


def test_what_others_may_not_take_is_not_reckoned_with() -> None:
    bench = Bench(max_rows=2)
    work = known(bench, seconds=0.2, rows=2)
    job = bench.collector.submit(work, {"x": np.zeros(1000)}, client="job")
    bench.collector.waiting.reckon()
    single = bench.collector.submit(work, {"x": np.zeros(1)}, 1.0, "single")
    refused = bench.collector.submit(work, {"x": np.zeros(1)}, 1.0, "job")
    assert isinstance(reason(refused), NoTime)
    bench.finish()
    assert len(answer(single)) == 1
    assert len(answer(job)) == 1000


def test_a_method_of_which_nothing_is_known_is_tried(bench: Bench) -> None:
    call = bench.call(Work(), 1, deadline=0.001)
    bench.finish()
    assert answer(call) == [2]


def test_one_slow_run_is_no_reason_to_refuse(bench: Bench) -> None:
    work = Work()
    first = bench.call(work, 1)
    bench.clock.advance(9)
    bench.finish()
    assert answer(first) == [2]
    call = bench.call(work, 1, deadline=10)
    bench.finish()
    assert answer(call) == [2]


def test_what_was_learned_long_ago_is_tried_again(bench: Bench) -> None:
    work = known(bench, seconds=9)
    bench.clock.advance(6)
    tried = bench.call(work, 1, deadline=7)
    assert isinstance(reason(bench.call(work, 1, deadline=7)), NoTime)
    bench.clock.advance(0.5)
    bench.finish()
    assert answer(tried) == [2]
    for _ in range(40):
        work.cost.learn(1, 0.1, bench.clock.seconds())
    kept = bench.call(work, 1, deadline=7)
    bench.finish()
    assert answer(kept) == [2]


def test_a_call_of_any_size_can_be_turned_away_unread(bench: Bench) -> None:
    work = known(bench, seconds=2)
    assert bench.collector.refuse_unread(work, 1.5, "") == 1
    assert bench.told.events == ["work shed: deadline"]
    assert bench.collector.refuse_unread(work, 2.5, "") is None
    assert len(bench.told.events) == 1


@pytest.mark.parametrize("max_rows", [1, 4])
def test_unread_calls_are_turned_away_as_those_of_a_row_are(max_rows: int) -> None:
    bench = Bench(max_rows=max_rows)
    work = known(bench, seconds=2, rows=max_rows)
    for number in range(5):
        bench.call(work, number)
    bench.collector.waiting.reckon()
    outcomes = set()
    for deadline in range(1, 20):
        unread = bench.collector.refuse_unread(work, deadline, "")
        call = bench.call(work, 1, deadline=deadline)
        if call.called:
            refused = reason(call)
            assert isinstance(refused, NoTime)
            assert unread == refused.retry_after
        else:
            assert unread is None
            call.addErrback(lambda _: None)
            call.cancel()
        outcomes.add(unread)
    assert len(outcomes) > 3
    bench.finish()


def test_the_call_that_is_tried_all_the_same_is_read(bench: Bench) -> None:
    work = known(bench, seconds=9)
    bench.clock.advance(6)
    assert bench.collector.refuse_unread(work, 7, "") is None
    tried = bench.call(work, 1, deadline=7)
    assert bench.collector.refuse_unread(work, 7, "") is not None
    bench.clock.advance(0.5)
    bench.finish()
    assert answer(tried) == [2]


def test_what_is_known_better_when_it_is_read_is_not_said_before(bench: Bench) -> None:
    work = known(bench, seconds=2)
    # That it is too late, and that the server stops.
    assert bench.collector.refuse_unread(work, 0, "") is None
    bench.collector.close()
    assert bench.collector.refuse_unread(work, 1.5, "") is None
    assert not bench.told.events


def test_what_would_expire_in_its_run_does_not_go_along(bench: Bench) -> None:
    work = known(bench, seconds=2)
    bench.call(work, 0)
    late = bench.call(work, 1, deadline=4.9)
    # That run was held up.
    bench.clock.advance(3)
    kept = bench.call(work, 2)
    bench.threads.step()
    assert isinstance(reason(late), NoTime)
    assert bench.collector.amount() == (1, 8)
    bench.finish()
    assert answer(kept) == [4]
    assert work.runs == [1, 1]
    assert bench.told.events == ["work shed: deadline"]


def test_what_would_expire_in_its_run_leaves_its_room_to_others() -> None:
    bench = Bench(max_rows=2)
    work = known(bench, seconds=2, rows=2)
    bench.call(work, 0, 0)
    late = [bench.call(work, n, deadline=9, client=str(n)) for n in range(4)]
    bench.clock.advance(7.5)
    kept = [bench.call(work, n, client="kept") for n in range(2)]
    bench.threads.step()
    assert all(isinstance(reason(call), NoTime) for call in late)
    bench.finish()
    assert [answer(call) for call in kept] == [[0], [2]]
    assert work.runs == [2, 2]


def test_nothing_may_be_left_once_what_would_expire_is_out(bench: Bench) -> None:
    work = known(bench, seconds=2)
    bench.call(work, 0)
    late = bench.call(work, 1, deadline=4.9)
    bench.clock.advance(3)
    drained = bench.collector.drained()
    bench.threads.step()
    bench.clock.pump([0, 0])
    assert isinstance(reason(late), NoTime)
    assert drained.called
    assert bench.collector.amount() == (0, 0)
    assert not bench.threads.started


def test_what_may_be_over_in_time_is_run(bench: Bench) -> None:
    work, other = known(bench, seconds=2), Work()
    for took in (2, 2, 1, 2):
        work.cost.learn(1, took, 0.0)
    bench.call(other, 0)
    call = bench.call(work, 1, deadline=4.5)
    bench.clock.advance(3)
    # Most runs take longer than it has left, but not all did lately.
    bench.threads.step()
    bench.clock.advance(1)
    bench.finish()
    assert answer(call) == [2]


def test_no_call_is_late_by_what_was_learned_long_ago(bench: Bench) -> None:
    work, other = known(bench, seconds=9), Work()
    bench.clock.advance(6)
    bench.call(other, 0)
    tried = bench.call(work, 1, deadline=8)
    assert isinstance(reason(bench.call(work, 1, deadline=8)), NoTime)
    bench.clock.advance(1)
    bench.finish()
    assert answer(tried) == [2]


def test_no_call_is_late_by_what_larger_runs_take(bench: Bench) -> None:
    work, other = Work(), Work()
    for _ in range(5):
        work.cost.learn(2, 2.0, 0.0)
    bench.call(other, 0)
    call = bench.call(work, 1, deadline=4.5)
    bench.clock.advance(3)
    bench.finish()
    assert answer(call) == [2]


def test_a_call_that_could_not_wait_for_its_second_part_is_not_cut() -> None:
    bench = Bench(max_rows=4)
    work, traces = known(bench, seconds=1, rows=4), [Trace() for _ in range(3)]
    bench.call(work, 0)
    calls = [
        bench.call(work, 1, 2, 3, client="a", trace=traces[0]),
        bench.call(work, 4, 5, 6, client="b", trace=traces[1], deadline=3.5),
        bench.call(work, 7, 8, 9, client="c", trace=traces[2]),
    ]
    bench.clock.advance(2)
    bench.finish()
    assert [len(answer(call)) for call in calls] == [3, 3, 3]
    assert work.runs[:2] == [1, 4]
    # The last one was cut in its place.
    assert [trace.runs for trace in traces] == [1, 1, 3]


# Bounds


def test_what_runs_is_held_like_what_waits() -> None:
    bench, work = Bench(queue_rows=2), Work()
    kept = bench.call(work, 1, 2)
    assert bench.collector.amount() == (2, 16)
    assert isinstance(reason(bench.call(work, 3)), Overloaded)
    bench.finish()
    assert answer(kept) == [2, 4]
    assert bench.collector.amount() == (0, 0)


def test_a_full_queue_refuses_by_rows() -> None:
    bench, work = Bench(queue_rows=4), Work()
    kept = [bench.call(work, n) for n in range(4)]
    refused = bench.call(work, 9)
    failed = reason(refused)
    assert isinstance(failed, Overloaded)
    assert failed.retry_after >= 1
    bench.finish()
    assert [answer(call) for call in kept] == [[0], [2], [4], [6]]


def test_a_full_queue_refuses_by_bytes() -> None:
    bench, work = Bench(queue_bytes=24), Work()
    kept = [bench.call(work, n) for n in range(3)]
    assert isinstance(reason(bench.call(work, 9)), Overloaded)
    bench.finish()
    assert all(answer(call) for call in kept)
    kept = [bench.call(work, n) for n in range(3)]
    bench.finish()
    assert all(answer(call) for call in kept)


def test_what_others_hold_leaves_less_room() -> None:
    held, work = Held(100, 24), Work()
    others = Amount(0, 0)
    held.add(lambda: others)
    bench = Bench()
    collector = Collector(bench.threads, bench.clock, BatchPolicy(), held=held)
    tensors = {"x": np.array([1.0])}
    calls = [collector.submit(work, tensors)]
    others = Amount(0, 16)
    assert isinstance(reason(collector.submit(work, tensors)), Overloaded)
    others = Amount(0, 8)
    calls.append(collector.submit(work, tensors))
    bench.finish()
    assert [answer(call) for call in calls] == [[2], [2]]


def is_right(work: Work, numbers: list[int], told: Tensors | Failure) -> bool:
    """Whether a call of one of the functions above may be answered so."""
    if isinstance(told, Failure):
        if told.check(InputRefused):
            return work.function is refuse_negative and min(numbers) < 0
        return told.check(CancelledError, DeadlineExceeded, NoTime) is not None
    rows = told["y"].tolist()
    if work.function is lose:
        return bool(rows == [n for n in numbers if n >= 0])
    if work.function is widen:
        return [row[0] for row in rows] == numbers and len({*map(len, rows)}) == 1
    return bool(rows == [2 * n for n in numbers])


@attrs.frozen
class Asked:
    """A call that was made up, and what it was told."""

    work: Work
    numbers: list[int]
    call: Deferred[None]
    told: list[Tensors | Failure]


@given(st.data())
def test_each_call_is_answered_once_with_its_rows_and_then_nothing_is_held(
    data: st.DataObject,
) -> None:
    draw = data.draw
    bench = Bench(slots=draw(st.integers(1, 2)), max_rows=5)
    functions = st.sampled_from([double, refuse_negative, lose, widen])
    kinds = [Work(draw(functions)) for _ in range(draw(st.integers(1, 2)))]
    steps = st.sampled_from([*["call"] * 5, "cancel", "run", "run"])
    rows = st.lists(st.integers(-1, 9), min_size=1, max_size=8)
    asked: list[Asked] = []
    for _ in range(draw(st.integers(1, 40))):
        step = draw(steps)
        if step == "call":
            work, numbers = draw(st.sampled_from(kinds)), draw(rows)
            deadline = draw(st.sampled_from([None, None, 5.0, 50.0]))
            client = draw(st.sampled_from("abc"))
            call = bench.call(work, *numbers, deadline=deadline, client=client)
            told: list[Tensors | Failure] = []
            asked.append(Asked(work, numbers, call.addBoth(told.append), told))
        elif step == "cancel" and asked:
            draw(st.sampled_from(asked)).call.cancel()
        elif bench.threads.started:
            bench.clock.advance(draw(st.sampled_from([0.0, 1.0])))
            bench.threads.step()
        assert bench.collector.amount() >= (0, 0)
    closed = bench.collector.close()
    bench.finish()
    assert closed.called
    assert bench.collector.amount() == (0, 0)
    assert not bench.clock.getDelayedCalls()
    for it in asked:
        assert len(it.told) == 1
        assert is_right(it.work, it.numbers, it.told[0])


def test_a_call_that_the_queue_could_never_hold_is_refused_as_too_large() -> None:
    bench, work = Bench(queue_rows=3), Work()
    assert isinstance(reason(bench.call(work, *range(4))), CallTooLarge)
    kept = bench.call(work, *range(3))
    bench.finish()
    assert len(answer(kept)) == 3
    small = Bench(queue_bytes=31)
    assert isinstance(reason(small.call(work, *range(4))), CallTooLarge)


def test_retry_after_follows_the_measured_rate() -> None:
    bench, work = Bench(max_rows=10), Work()
    bench.call(work, *range(10))
    for _ in range(5):
        bench.call(work, *range(10))
    assert bench.collector.held.retry_after() == 1, "nothing is known yet"
    bench.clock.advance(2)
    bench.threads.step()
    # Ten rows took two seconds, and forty still wait.
    assert bench.collector.held.retry_after() == 8


def test_retry_after_has_a_bound() -> None:
    bench, work = Bench(max_rows=1), Work()
    for n in range(10):
        bench.call(work, n)
    bench.clock.advance(1000)
    bench.threads.step()
    assert bench.collector.held.retry_after() == 60


# Draining


def test_drained_fires_after_the_last_answer(bench: Bench) -> None:
    order: list[str] = []
    work = Work()
    for n in range(3):
        bench.call(work, n).addCallback(lambda _: order.append("answer"))
    bench.collector.drained().addCallback(lambda _: order.append("drained"))
    bench.finish()
    assert order == ["answer"] * 3 + ["drained"]


def test_drained_fires_at_once_when_idle(bench: Bench) -> None:
    assert bench.collector.drained().called


def test_drained_fires_when_the_last_waiting_call_is_cancelled() -> None:
    bench, work = Bench(linger=9.0), Work()
    call = bench.call(work, 1)
    drained = bench.collector.drained()
    call.cancel()
    assert isinstance(reason(call), CancelledError)
    assert drained.called


def test_a_method_is_drained_whatever_others_do() -> None:
    bench, one, other = Bench(), Work(), Work()
    calls = [bench.call(one, 1), bench.call(one, 2)]
    bench.call(other, 1)
    drained = bench.collector.drained([one])
    bench.threads.step()
    assert not drained.called
    bench.threads.step()
    assert drained.called
    assert all(call.called for call in calls)
    assert bench.collector.in_flight == 1
    assert bench.collector.drained([one]).called
    assert not bench.collector.drained([other]).called
    bench.finish()


def test_a_method_is_not_drained_while_a_run_goes_on_that_nobody_waits_for(
    bench: Bench,
) -> None:
    work = Work()
    call = bench.call(work, 1)
    call.cancel()
    assert isinstance(reason(call), CancelledError)
    drained = bench.collector.drained([work])
    assert not drained.called
    bench.finish()
    assert drained.called


def test_a_split_call_whose_parts_do_not_fit_together_is_run_again_whole() -> None:
    bench, work = Bench(max_rows=2), Work(widen)
    big = bench.call(work, 0, 1, 2)
    mates = [bench.call(work, 2), bench.call(work, 1)]
    drained = bench.collector.drained()
    bench.finish()
    assert answer(big) == [[0] * 3, [1] * 3, [2] * 3]
    assert all(answer(mate) for mate in mates)
    assert work.direct == "its outputs' shapes differ from run to run"
    assert drained.called


def test_a_closed_collector_answers_what_it_has_and_takes_no_more() -> None:
    bench, work = Bench(), Work()
    taken = [bench.call(work, n) for n in range(3)]
    closed = bench.collector.close()
    assert isinstance(reason(bench.call(work, 1)), Unavailable)
    bench.finish()
    assert [answer(call) for call in taken] == [[0], [2], [4]]
    assert closed.called


def test_calls_that_wait_for_a_method_that_becomes_direct_keep_their_place() -> None:
    bench = Bench(queue_rows=6)
    lost, other = Work(lambda t: {"y": t["x"][:1]}), Work()
    calls = [bench.call(lost, n, n) for n in range(2)]
    others = [bench.call(other, n) for n in range(2)]
    bench.threads.step()
    assert bench.collector.waiting.rows == 4
    assert isinstance(reason(bench.call(lost, 9)), Overloaded)
    bench.finish()
    assert [answer(call) for call in calls] == [[0], [1]]
    assert [answer(call) for call in others] == [[0], [2]]


def test_a_policy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows"):
        BatchPolicy(0)
    with pytest.raises(ValueError, match="linger"):
        BatchPolicy(linger=-1)
    with pytest.raises(ValueError, match="queue_rows"):
        QueueLimits(queue_rows=-1)


def test_the_queue_suits_the_batch_unless_told_otherwise() -> None:
    assert BatchPolicy(8).queue_rows == 8 * 512
    assert BatchPolicy(8, QueueLimits(queue_rows=9)).queue_rows == 9


# Telling


def test_an_observer_is_told_of_each_run_once(bench: Bench) -> None:
    work = Work()
    bench.call(work, 0)
    bench.clock.advance(1)
    bench.call(work, 1, 2)
    bench.clock.advance(2)
    bench.call(work, 3)
    bench.clock.advance(4)
    bench.threads.step()
    bench.clock.advance(8)
    bench.threads.step()
    assert bench.told.runs == [
        Run(work.labels, rows=1, calls=1, waited=0, seconds=7),
        Run(work.labels, rows=3, calls=2, waited=6, seconds=8),
    ]


def test_an_observer_is_told_which_runs_failed_and_which_were_repeated(
    bench: Bench,
) -> None:
    work = Work(refuse_negative)
    calls = [bench.call(work, n) for n in (0, 1, -1)]
    bench.finish()
    assert isinstance(reason(calls[2]), InputRefused)
    told = [(run.rows, run.failed, run.rerun) for run in bench.told.runs]
    assert told == [
        (1, False, False),
        (2, True, False),
        (1, False, True),
        (1, True, True),
    ]


def test_an_observer_is_told_of_calls_that_are_not_answered() -> None:
    bench, work = Bench(queue_rows=3, queue_bytes=24), Work()
    bench.call(work, 0)
    cancelled = bench.call(work, 1, deadline=9)
    cancelled.cancel()
    late = bench.call(work, 2, deadline=1)
    bench.clock.advance(1)
    bench.call(work, 3, 4)
    refused = [bench.call(work, 5), bench.call(work, 6, 7, 8, 9)]
    bench.collector.close()
    refused.append(bench.call(work, 9))
    for call in [cancelled, late, *refused]:
        assert reason(call)
    assert bench.told.events == [
        "work cancelled",
        "work expired",
        "work shed: queue_rows",
        "work shed: too_large",
        "work shed: closing",
    ]


def test_a_trace_tells_a_caller_where_the_time_went(bench: Bench) -> None:
    work, trace = Work(refuse_negative), Trace()
    bench.call(work, 0)
    calls = [bench.call(work, 1, 2, trace=trace), bench.call(work, -1)]
    bench.clock.advance(1)
    bench.threads.step()
    for seconds in (2, 4, 8):
        bench.clock.advance(seconds)
        bench.threads.step()
    assert answer(calls[0]) == [2, 4]
    assert isinstance(reason(calls[1]), InputRefused)
    expected = Trace(queued_seconds=1, run_seconds=6, batch_rows=3, runs=2, reruns=1)
    assert attrs.asdict(trace) == attrs.asdict(expected)


def test_a_trace_of_a_split_call_counts_all_its_runs() -> None:
    bench, trace = Bench(max_rows=2), Trace()
    call = bench.call(Work(), *range(5), trace=trace)
    bench.finish()
    assert len(answer(call)) == 5
    assert (trace.runs, trace.batch_rows, trace.reruns) == (3, 2, 0)


def test_a_run_has_as_large_a_share_as_few_may_be_under_way_at_once() -> None:
    bench = Bench(slots=2)
    alone, many = Work(), Work(labels=LABELS._replace(method="many"))
    alone.cost.overlap.forbid()
    bench.call(many, 0)
    assert bench.collector.load().shares == (0.5,)
    bench.call(alone, 1)
    assert bench.collector.load().shares == (0.5, 1.0)
    bench.call(alone, 2)
    assert bench.collector.load().shares == (0.5, 1.0)
    bench.finish()
    assert [run.share for run in bench.told.runs] == [0.5, 1.0, 1.0]


def test_the_load_tells_what_waits_and_what_runs() -> None:
    bench = Bench(max_rows=2, queue_rows=8)
    quick, slow = Work(), Work(labels=LABELS._replace(method="slow"))
    assert bench.collector.load().depths == {}
    bench.clock.advance(1)
    bench.call(quick, 0, 1)
    bench.call(quick, 2)
    bench.call(slow, 3, 4, 5)
    load = bench.collector.load()
    assert (load.slots, load.lost, load.running_since) == (1, 0, (1.0,))
    assert load.depths == {
        quick.labels: Depth(queued_rows=1, queued_bytes=8, running_rows=2),
        slow.labels: Depth(queued_rows=3, queued_bytes=24),
    }
    assert (load.wait, load.most.rows) == (0.0, 8)
    bench.clock.advance(1)
    bench.threads.step()
    # Two rows a second were seen, and nothing of the slow method.
    load = bench.collector.load()
    assert (load.running_since, load.wait) == ((2.0,), 0.5)
    assert load.costs == {quick.labels: [Point(most=2, rows=2, seconds=1, runs=1)]}
    bench.finish()
    assert bench.collector.load().depths == {}
    assert bench.collector.load().running_since == ()
