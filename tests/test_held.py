from __future__ import annotations

import pytest

from txinfer.errors import CallTooLarge, Overloaded
from txinfer.held import Held, Refusal
from txinfer.observe import Amount, Shed


class Bench:
    """An account of ten rows and a hundred bytes, and two who hold something."""

    def __init__(self) -> None:
        self.held = Held(10, 100)
        self.one = self.other = Amount(0, 0)
        self.held.add(lambda: self.one)
        self.held.add(lambda: self.other)

    def refused(self, rows: int, size: int) -> Refusal:
        refusal = self.held.refusal(rows, size)
        assert refusal is not None
        return refusal


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_all_hold_together_counts(bench: Bench) -> None:
    bench.one, bench.other = Amount(3, 40), Amount(5, 50)
    assert bench.held.amount() == (8, 90)
    assert bench.held.refusal(2, 10) is None
    assert bench.refused(3, 10).reason is Shed.ROWS
    assert bench.refused(2, 11).reason is Shed.BYTES


def test_who_is_refused_is_told_when_to_come_again(bench: Bench) -> None:
    bench.one = Amount(10, 0)
    refusal = bench.refused(1, 0)
    assert isinstance(refusal.error, Overloaded)
    assert refusal.error.retry_after == 1
    bench.held.retry_after = lambda: 7
    assert bench.refused(1, 0).error.retry_after == 7


@pytest.mark.parametrize(("rows", "size"), [(11, 1), (1, 101)])
def test_what_never_fits_is_told_so(bench: Bench, rows: int, size: int) -> None:
    refusal = bench.refused(rows, size)
    assert refusal.reason is Shed.TOO_LARGE
    assert isinstance(refusal.error, CallTooLarge)


def test_who_is_gone_is_asked_no_longer(bench: Bench) -> None:
    def gone() -> Amount:
        return Amount(9, 99)

    bench.held.add(gone)
    assert bench.held.amount() == (9, 99)
    bench.held.discard(gone)
    assert bench.held.amount() == (0, 0)
