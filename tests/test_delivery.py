from __future__ import annotations

from twisted.internet.task import Clock

from txinfer.delivery import SLICE, Delivery


class Bench:
    """Deliveries that take as long as each number says, in seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.done: list[str] = []
        self.finished = 0
        self.delivery = Delivery(self.clock, self.deliver, self.finish)

    def deliver(self, name: str, seconds: float) -> None:
        self.done.append(name)
        self.clock.rightNow += seconds

    def finish(self) -> None:
        self.finished += 1


def test_what_is_quick_is_done_at_once() -> None:
    bench = Bench()
    bench.delivery.add([("a", 0), ("b", 0)])
    assert bench.done == ["a", "b"]
    assert bench.finished == 1
    assert not bench.delivery.going
    assert not bench.clock.getDelayedCalls()


def test_what_takes_long_lets_the_reactor_work_in_between() -> None:
    bench = Bench()
    bench.delivery.add([("a", SLICE * 2), ("b", SLICE * 2), ("c", 0)])
    assert (bench.done, bench.finished) == (["a"], 0)
    assert bench.delivery.going
    bench.clock.callLater(0, bench.done.append, "other work")
    bench.clock.advance(0)
    bench.clock.advance(0)
    assert bench.done == ["a", "b", "other work", "c"]
    assert bench.finished == 1


def test_what_comes_later_is_done_later() -> None:
    bench = Bench()
    bench.delivery.add([("a", 1), ("b", 1)])
    bench.delivery.add([("c", 0)])
    assert bench.done == ["a"]
    bench.clock.pump([0, 0])
    assert bench.done == ["a", "b", "c"]
    assert bench.finished == 1


def test_the_last_one_is_not_waited_after() -> None:
    bench = Bench()
    bench.delivery.add([("a", 1)])
    assert bench.finished == 1
    assert not bench.clock.getDelayedCalls()
