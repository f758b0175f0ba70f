from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from tests.deferreds import reason
from txinfer.turns import Turns


class Line:
    """Turns, and who had one, in order."""

    def __init__(self, size: int) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock, size)
        self.served: list[str] = []

    def ask(self, client: str) -> Deferred[None]:
        turn = self.turns.take(client)
        turn.addCallback(lambda _: self.served.append(client))
        return turn

    def first(self, client: str) -> None:
        self.ask(client)
        self.clock.advance(0)

    def give_back(self, count: int) -> None:
        for _ in range(count):
            self.turns.give_back()
            self.clock.advance(0)


def test_no_more_have_a_slot_than_there_are() -> None:
    line = Line(2)
    for client in "abc":
        line.ask(client)
    line.clock.advance(0)
    assert line.served == ["a", "b"]
    line.give_back(1)
    assert line.served == ["a", "b", "c"]
    assert not line.clock.getDelayedCalls()


def test_one_is_served_in_each_turn_of_the_reactor() -> None:
    line = Line(9)
    waiting = []
    for client in "abc":
        line.ask(client).addCallback(
            lambda _: waiting.append(len(line.clock.getDelayedCalls()))
        )
    assert line.served == []
    line.clock.advance(0)
    assert line.served == ["a", "b", "c"]
    # Each but the last had left the next to another turn.
    assert waiting == [1, 1, 0]


def test_who_asks_for_much_is_served_in_turn_with_others() -> None:
    line = Line(1)
    line.first("a")
    for client in "aaaabbc":
        line.ask(client)
    line.give_back(7)
    assert line.served == ["a", *"abcabaa"]


def test_who_leaves_the_line_is_not_served() -> None:
    line = Line(1)
    line.first("a")
    gone = line.ask("b")
    alone = line.ask("c")
    line.ask("b")
    gone.cancel()
    alone.cancel()
    assert isinstance(reason(gone), CancelledError)
    assert isinstance(reason(alone), CancelledError)
    line.give_back(1)
    assert line.served == ["a", "b"]


def test_a_slot_that_nobody_takes_is_free_again() -> None:
    line = Line(1)
    line.first("a")
    gone = line.ask("b")
    line.turns.give_back()
    # While the slot is on its way to the next in line,
    gone.addErrback(lambda _: None)
    gone.cancel()
    line.clock.advance(0)
    line.first("c")
    assert line.served == ["a", "c"]
