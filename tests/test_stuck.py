"""Runs that do not come back, and what goes on all the same."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from tests.deferreds import reason
from tests.test_collector import Bench, answer
from tests.work import LABELS, Work
from txinfer.collector import Collector
from txinfer.errors import DeadlineExceeded, Unavailable
from txinfer.limits import RunLimits
from txinfer.policy import BatchPolicy
from txinfer.slots import SPARES, WATCH_GRAIN
from txinfer.tensors import Tensors

# Seconds after which a run of these tests is taken to hang, and hangs for certain.
LIMIT = 10.0
AFTER = LIMIT + WATCH_GRAIN


class StuckBench(Bench):
    """A collector whose runs hang after ten seconds."""

    def __init__(self, slots: int = 1) -> None:
        super().__init__(slots)
        policy = BatchPolicy(runs=RunLimits(stuck_seconds=LIMIT))
        self.collector = Collector(self.threads, self.clock, policy, self.told)
        self.stuck, self.other = Work(labels=LABELS), Work()

    def lose(self, slots: int = 1) -> list[Deferred[Tensors]]:
        """Have the next runs hang; their callers."""
        calls = []
        for _ in range(slots):
            calls.append(self.call(self.stuck, 1))
            self.clock.advance(AFTER)
        return calls


@pytest.fixture
def bench() -> StuckBench:
    return StuckBench()


def test_a_run_is_not_lost_before_its_time(bench: StuckBench) -> None:
    bench.call(bench.stuck, 1)
    waiting = bench.call(bench.other, 2)
    bench.clock.advance(LIMIT - 0.1)
    assert bench.collector.load().lost == 0
    assert len(bench.threads.started) == 1
    bench.finish()
    assert answer(waiting) == [4]


def test_other_methods_go_on_when_a_run_hangs(bench: StuckBench) -> None:
    bench.call(bench.stuck, 1)
    waiting = bench.call(bench.other, 2)
    bench.clock.advance(AFTER)
    load = bench.collector.load()
    assert (load.slots, load.lost) == (2, 1)
    bench.threads.step(1)
    assert answer(waiting) == [4]
    later = bench.call(bench.other, 3)
    bench.threads.step(1)
    assert answer(later) == [6]


def test_callers_of_a_run_that_hangs_get_their_504(bench: StuckBench) -> None:
    call = bench.call(bench.stuck, 1, deadline=20)
    bench.clock.advance(AFTER)
    assert not call.called
    bench.clock.advance(20 - AFTER)
    assert isinstance(reason(call), DeadlineExceeded)


def test_a_run_that_comes_back_after_all_gives_its_slot_back(bench: StuckBench) -> None:
    (late,) = bench.lose()
    assert bench.threads.size == 2
    bench.threads.step()
    assert answer(late) == [2]
    load = bench.collector.load()
    assert (bench.threads.size, load.slots, load.lost) == (1, 1, 0)
    kept = [bench.call(bench.other, n) for n in range(3)]
    assert len(bench.threads.started) == 1
    bench.finish()
    assert [answer(call) for call in kept] == [[0], [2], [4]]


def test_a_run_may_come_back_while_a_spare_thread_works(bench: StuckBench) -> None:
    bench.lose()
    calls = [bench.call(bench.other, n) for n in range(2)]
    bench.threads.step()
    assert bench.threads.size == 1
    assert len(bench.threads.started) == 1
    bench.finish()
    assert [answer(call) for call in calls] == [[0], [2]]


def test_spare_threads_are_bounded(bench: StuckBench) -> None:
    bench.lose(SPARES + 1)
    load = bench.collector.load()
    assert load.slots == load.lost == SPARES + 1
    assert bench.threads.size == SPARES + 1


def test_without_a_slot_nobody_is_left_to_wait(bench: StuckBench) -> None:
    bench.lose(SPARES)
    hanging = bench.call(bench.stuck, 1)
    waiting = [bench.call(bench.other, n) for n in range(3)]
    bench.clock.advance(AFTER)
    for call in [*waiting, bench.call(bench.other, 9)]:
        assert "no session slot is left" in str(reason(call))
    assert bench.told.events == ["work shed: stuck"]
    assert not hanging.called
    bench.threads.step()
    kept = bench.call(bench.other, 4)
    bench.threads.step(len(bench.threads.started) - 1)
    assert answer(kept) == [8]


def test_of_two_slots_one_may_be_lost_without_the_other() -> None:
    bench = StuckBench(slots=2)
    bench.lose()
    calls = [bench.call(bench.other, n) for n in range(4)]
    assert len(bench.threads.started) == 3
    bench.threads.step(1)
    bench.threads.step(1)
    bench.threads.step(1)
    assert [answer(call) for call in calls] == [[0], [2], [4], [6]]


def test_what_hangs_is_still_held(bench: StuckBench) -> None:
    call = bench.call(bench.stuck, 1, 2)
    call.cancel()
    assert reason(call)
    bench.clock.advance(AFTER)
    assert bench.collector.amount() == (2, 16)
    bench.threads.step()
    assert bench.collector.amount() == (0, 0)


def test_a_method_whose_run_hangs_is_drained_when_nobody_waits(
    bench: StuckBench,
) -> None:
    call = bench.call(bench.stuck, 1, deadline=20)
    drained = bench.collector.drained([bench.stuck])
    bench.clock.advance(AFTER)
    assert not drained.called, "its caller may be answered yet"
    bench.clock.advance(20 - AFTER)
    assert reason(call)
    assert drained.called
    assert bench.collector.hangs([bench.stuck])
    assert not bench.collector.hangs([bench.other])
    bench.threads.step()
    assert not bench.collector.hangs()


# Giving up


def test_giving_up_answers_everybody(bench: StuckBench) -> None:
    running = bench.call(bench.stuck, 1)
    waiting = [bench.call(bench.other, n) for n in range(3)]
    closed = bench.collector.close()
    assert not closed.called
    bench.collector.give_up()
    for call in [running, *waiting]:
        assert isinstance(reason(call), Unavailable)
    assert closed.called
    assert bench.collector.hangs()
    assert not bench.clock.getDelayedCalls()


def test_what_comes_back_after_giving_up_harms_nothing(bench: StuckBench) -> None:
    running = bench.call(bench.stuck, 1)
    bench.collector.give_up()
    assert isinstance(reason(running), Unavailable)
    assert isinstance(reason(bench.call(bench.other, 1)), Unavailable)
    bench.threads.step()
    assert not bench.threads.started
    assert not bench.collector.hangs()
    assert bench.collector.amount() == (0, 0)
    assert bench.collector.drained().called


def test_giving_up_with_nothing_to_do_is_nothing(bench: StuckBench) -> None:
    bench.collector.give_up()
    assert bench.collector.close().called
    assert not bench.collector.hangs()


def test_a_batch_that_was_to_run_again_is_given_up_too(bench: StuckBench) -> None:
    def broken(tensors: Tensors) -> Tensors:
        raise ValueError("broken")

    work = Work(broken)
    bench.call(bench.other, 0)
    calls = [bench.call(work, n) for n in range(4)]
    bench.threads.step()
    bench.threads.step()
    bench.collector.give_up()
    for call in calls:
        assert isinstance(reason(call), Unavailable)
    bench.finish()
    assert work.runs == [4, 2]
