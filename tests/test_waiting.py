from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.work import Work
from txinfer.calls import Call, Part
from txinfer.waiting import Waiting


class Bench:
    """Calls that wait, by client."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self.work = Work()
        self.now = 0.0

    def add(self, client: str, rows: int = 1, width: int = 1) -> Call:
        tensors = {"x": np.zeros((rows, width), np.uint8)}
        key = self.work.key(tensors)
        self.now += 1
        call = Call(
            self.work, key, tensors, rows, rows * width, client, self.now, 1e9, None
        )
        call.answer = Deferred()
        self.waiting.add(call)
        return call

    def take(self, max_rows: int = 4) -> list[tuple[str, int]]:
        """The next batch, as client and rows of each of its calls."""
        picked = self.waiting.take(self.waiting.lead(), max_rows, self.now, 0)
        assert picked.rows == sum(piece.rows for piece in picked.pieces)
        assert picked.size == sum(piece.size for piece in picked.pieces)
        return [(piece.call.client, piece.rows) for piece in picked.pieces]

    def empty(self, max_rows: int = 4) -> list[list[tuple[str, int]]]:
        batches = []
        while self.waiting:
            batches.append(self.take(max_rows))
        return batches


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_of_one_client_the_oldest_goes_first(bench: Bench) -> None:
    calls = [bench.add("a", width=width) for width in (1, 2, 1, 2, 3)]
    order = []
    while bench.waiting:
        order += bench.waiting.take(bench.waiting.lead(), 4, 0, 0).pieces
    assert order == [calls[n] for n in (0, 2, 1, 3, 4)]


def test_a_batch_is_filled_from_everybody(bench: Bench) -> None:
    for client in "aaaaaaab":
        bench.add(client)
    assert bench.take() == [("a", 1), ("a", 1), ("b", 1), ("a", 1)]


def test_a_single_row_does_not_wait_for_a_flood(bench: Bench) -> None:
    for _ in range(1000):
        bench.add("flood")
    bench.take()
    bench.add("single")
    assert bench.take()[0] == ("single", 1)


def test_a_single_row_does_not_wait_for_a_large_job(bench: Bench) -> None:
    job = bench.add("job", 10_000)
    assert bench.take() == [("job", 4)]
    bench.add("single")
    assert bench.take() == [("single", 1), ("job", 3)]
    assert bench.take() == [("job", 4)]
    assert job.rows_left == bench.waiting.rows == 10_000 - 11


def test_clients_that_always_wait_get_the_same_number_of_rows(bench: Bench) -> None:
    had = {"singles": 0, "fours": 0, "job": 0}
    bench.add("job", 10_000)
    for _ in range(8):
        bench.add("singles")
        bench.add("fours", 4)
    for _ in range(300):
        for client, rows in bench.take(8):
            had[client] += rows
            if client != "job":
                bench.add(client, rows)
    assert min(had.values()) > 0.9 * max(had.values())


def test_nobody_is_overtaken_for_ever_by_new_clients(bench: Bench) -> None:
    for _ in range(100):
        bench.add("old")
    bench.take(32)
    # It has had much, and each of the others has had nothing.
    for turn in range(40):
        for number in range(4):
            bench.add(f"new {turn} {number}")
        if any(client == "old" for client, _ in bench.take()):
            break
    else:
        pytest.fail("the old client was never served again")


def test_staying_away_saves_up_no_turns(bench: Bench) -> None:
    for _ in range(200):
        bench.add("busy")
    for _ in range(20):
        bench.take()
    for _ in range(200):
        bench.add("late")
    had = {"busy": 0, "late": 0}
    for _ in range(10):
        for client, rows in bench.take():
            had[client] += rows
    assert abs(had["busy"] - had["late"]) <= 4


def test_a_call_too_large_for_what_is_left_goes_first_in_the_next(bench: Bench) -> None:
    bench.add("a", 2)
    bench.add("b", 3)
    bench.add("c", 1)
    assert bench.empty() == [[("a", 2), ("c", 1)], [("b", 3)]]


def test_a_call_of_one_batch_or_less_goes_whole(bench: Bench) -> None:
    for client in "abc":
        bench.add(client, 4)
    assert bench.empty() == [[("a", 4)], [("b", 4)], [("c", 4)]]


def learned(bench: Bench, **seconds: float) -> None:
    """Have runs of ``r1`` to ``r4`` rows known to take so long."""
    for rows, took in seconds.items():
        for _ in range(5):
            bench.work.cost.learn(int(rows[1:]), took, 0.0)


def test_a_call_is_cut_to_fill_a_run_if_the_next_cannot_take_all_that_is_left(
    bench: Bench,
) -> None:
    for client in "abc":
        bench.add(client, 3)
    assert bench.empty() == [[("a", 3), ("b", 1)], [("c", 3)], [("b", 2)]]


def test_a_client_that_is_alone_fills_its_runs_while_there_is_more_than_one(
    bench: Bench,
) -> None:
    for _ in range(4):
        bench.add("a", 3)
    rows = [sum(rows for _, rows in batch) for batch in bench.empty()]
    assert rows == [4, 4, 4]


def test_a_call_is_not_cut_if_the_next_run_can_take_it_whole(bench: Bench) -> None:
    bench.add("a", 3)
    bench.add("b", 4)
    assert bench.empty() == [[("a", 3)], [("b", 4)]]


def test_calls_that_fill_a_run_whole_are_not_cut_however_many_wait(
    bench: Bench,
) -> None:
    for _ in range(6):
        bench.add("a", 4)
        bench.add("b", 2)
    for batch in bench.empty():
        assert batch in ([("a", 4)], [("b", 2), ("b", 2)])


def test_a_call_is_cut_for_who_may_come_if_a_full_run_takes_hardly_longer(
    bench: Bench,
) -> None:
    learned(bench, r2=1.0, r4=1.4)
    bench.add("a", 2)
    bench.add("b", 4)
    assert bench.take() == [("a", 2), ("b", 2)]
    bench.add("c", 2)
    assert bench.take() == [("c", 2), ("b", 2)]


def test_a_call_is_not_cut_for_who_may_come_if_a_full_run_takes_far_longer(
    bench: Bench,
) -> None:
    learned(bench, r2=1.0, r4=1.6)
    bench.add("a", 2)
    bench.add("b", 4)
    assert bench.empty() == [[("a", 2)], [("b", 4)]]


def test_no_call_is_cut_while_others_fit_whole(bench: Bench) -> None:
    bench.add("a", 3)
    bench.add("b", 4)
    bench.add("c", 1)
    bench.add("d", 4)
    assert bench.take() == [("a", 3), ("c", 1)]


def test_of_those_that_do_not_fit_who_has_had_the_least_is_cut(bench: Bench) -> None:
    for client, rows in (("a", 4), ("a", 4), ("b", 3), ("b", 4), ("c", 4)):
        bench.add(client, rows)
    assert bench.take() == [("a", 4)]
    # Now they have had 4, 3 and no rows.
    assert bench.take() == [("b", 3), ("c", 1)]
    # 4, 3 and 1.
    assert bench.take() == [("c", 3), ("b", 1)]


def test_what_is_left_of_a_cut_call_leads_for_its_client(bench: Bench) -> None:
    for client in "abbb":
        bench.add(client, 3)
    cut = bench.waiting.lead().oldest
    assert cut.client == "a"
    assert bench.take() == [("a", 3), ("b", 1)]
    lead = bench.waiting.lead().oldest
    assert (lead.client, lead.rows_left) == ("b", 2)
    assert bench.take() == [("b", 2), ("b", 2)]


def test_what_is_left_of_a_cut_call_is_not_cut_row_by_row(bench: Bench) -> None:
    bench.add("threes", 3)
    bench.add("cut", 4)
    bench.add("other", 4)
    assert bench.take() == [("threes", 3), ("cut", 1)]
    for client in "defgh":
        for _ in range(8):
            bench.add(client)
    parts: list[int] = []
    while not parts:
        parts = [rows for client, rows in bench.take() if client == "cut"]
    assert parts == [3], "although each client's share of a run is a row"


def test_who_is_cut_has_had_just_the_rows_that_left(bench: Bench) -> None:
    kinds = {"fours": 4, "threes": 3, "singles": 1}
    for client, rows in kinds.items():
        for _ in range(1200 // rows):
            bench.add(client, rows)
    had = dict.fromkeys(kinds, 0)
    for _ in range(600):
        for client, rows in bench.take(4):
            had[client] += rows
    assert sum(had.values()) == 2400, "each run was full"
    assert max(had.values()) - min(had.values()) <= 4


def test_late_calls_are_taken_out_and_nobody_pays_for_them(bench: Bench) -> None:
    late = [bench.add("a", 2, width=3) for _ in range(3)]
    for call in late:
        call.deadline = 5.0
    kept = [bench.add(client, 1, width=3) for client in "abab"]
    picked = bench.waiting.take(bench.waiting.lead(), 2, 3.0, 2.0)
    assert picked.late == late
    assert picked.pieces == kept[:2]
    assert all(call.line is None for call in late)
    assert (bench.waiting.rows, bench.waiting.size) == (2, 6)
    assert bench.take() == [("a", 1), ("b", 1)]


def test_if_all_are_late_nothing_goes_and_nothing_is_left(bench: Bench) -> None:
    calls = [bench.add(client, 3) for client in "abb"]
    for call in calls:
        call.deadline = 5.0
    picked = bench.waiting.take(bench.waiting.lead(), 4, 5.0, 0.0)
    assert (picked.late, picked.pieces, picked.rows) == (calls, [], 0)
    assert not bench.waiting
    assert (bench.waiting.rows, bench.waiting.size) == (0, 0)


def test_a_large_call_goes_in_parts_one_a_batch(bench: Bench) -> None:
    bench.add("a", 6)
    bench.add("b", 6)
    assert bench.empty() == [[("a", 2), ("b", 2)]] * 3


def test_parts_have_each_row_and_byte_once(bench: Bench) -> None:
    call = bench.add("a", 10, width=3)
    parts = []
    while bench.waiting:
        parts += bench.waiting.take(bench.waiting.lead(), 4, 0, 0).pieces
    assert all(isinstance(part, Part) for part in parts)
    assert sum(part.size for part in parts) == call.size
    rows = np.concatenate([part.tensors["x"] for part in parts])
    assert rows.shape == (10, 3)


def test_what_is_left_of_a_call_can_be_taken_out(bench: Bench) -> None:
    call, other = bench.add("a", 6), bench.add("b")
    bench.take(4)
    bench.waiting.remove(call)
    bench.waiting.remove(other) if other.line is not None else None
    assert (bench.waiting.rows, bench.waiting.size) == (0, 0)
    assert not bench.waiting
    assert call.line is None


def test_what_is_left_of_a_call_that_was_cut_can_be_taken_out(bench: Bench) -> None:
    bench.add("a", 3, width=5)
    cut, other = bench.add("b", 3, width=5), bench.add("c", 4, width=5)
    assert bench.take() == [("a", 3), ("b", 1)]
    assert (bench.waiting.rows, bench.waiting.size) == (6, 30)
    bench.waiting.remove(cut)
    assert (bench.waiting.rows, bench.waiting.size) == (4, 20)
    bench.waiting.remove(other)
    assert not bench.waiting


def test_clients_are_forgotten_with_their_last_call(bench: Bench) -> None:
    for number in range(50):
        bench.add(f"client {number}", width=number + 1)
    line = weakref.ref(bench.waiting.lead())
    for call in [bench.add("x") for _ in range(5)]:
        bench.waiting.remove(call)
    bench.empty()
    gc.collect()
    assert line() is None
    assert not list(bench.waiting)


def test_calls_that_come_and_go_unserved_leave_nothing_behind(bench: Bench) -> None:
    kept = bench.add("kept")
    for number in range(2000):
        call = bench.add(f"client {number}", width=1 + number % 7)
        gone = weakref.ref(call)
        bench.waiting.remove(call)
    del call
    bench.add("last")
    gc.collect()
    assert gone() is None
    assert bench.empty() == [[("kept", 1), ("last", 1)]]
    assert kept.line is None


def test_no_key_of_a_client_that_has_many_is_passed_over_for_ever(
    bench: Bench,
) -> None:
    for width in range(1, 200):
        bench.add("a", width=width)
    late = bench.add("a", width=999)
    for _ in range(1000):
        picked = bench.waiting.take(bench.waiting.lead(), 4, 0, 0)
        if late.line is None:
            break
        for piece in picked.pieces:
            bench.add("a", width=piece.tensors["x"].shape[1])
    else:
        pytest.fail("it was never served")


def test_what_leaves_before_others_have_had_as_much_is_known(bench: Bench) -> None:
    assert bench.waiting.ahead("a", 1) == 0
    for _ in range(100):
        bench.add("flood")
    assert bench.waiting.ahead("single", 1) == 1
    assert bench.waiting.ahead("flood", 1) == 100
    bench.add("single", 3)
    assert bench.waiting.ahead("single", 1) == 3 + 4
    assert bench.waiting.ahead("third", 2) == 2 * 2
    assert bench.waiting.ahead("third", 200) == 103


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.integers(1, 2)),
        max_size=40,
    ),
    st.integers(1, 12),
    st.sets(st.integers(0, 39)),
    st.sets(st.integers(0, 39)),
)
def test_every_row_leaves_once_and_batches_are_in_bounds(
    calls: list[tuple[str, int, int]],
    max_rows: int,
    removed: set[int],
    late: set[int],
) -> None:
    bench = Bench()
    added = [bench.add(*call) for call in calls]
    left: dict[Call, int] = {}
    for number, call in enumerate(added):
        if number in removed:
            bench.waiting.remove(call)
            continue
        left[call] = call.rows
        if number in late:
            call.deadline = 5.0
    while bench.waiting:
        picked = bench.waiting.take(bench.waiting.lead(), max_rows, 4.0, 1.0)
        assert picked.rows <= max_rows
        assert bool(picked.pieces) == bool(picked.rows)
        assert picked.pieces or picked.late
        assert len({piece.call.key for piece in picked.pieces}) <= 1
        assert len({piece.call for piece in picked.pieces}) == len(picked.pieces)
        for piece in picked.pieces:
            left[piece.call] -= piece.rows
            assert piece.call.deadline > 5
        for call in picked.late:
            assert left.pop(call) == call.rows
            assert call.deadline == 5
    assert not any(left.values())
    assert (bench.waiting.rows, bench.waiting.size) == (0, 0)
