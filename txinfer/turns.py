"""So much at once and no more; who waits is served in turn with others."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime


class Turns:
    """Slots that clients take in turn, however much one of them asks for.

    Each client has a line of its own, oldest first, and the lines are served one
    after the other. Reactor thread only.

    Args:
        clock: serves whoever waits in a turn of the reactor's own, lest a
            thousand that fail at once do so inside each other.
        size: how many slots there are.
    """

    def __init__(self, clock: IReactorTime, size: int) -> None:
        self._clock = clock
        self._free = size
        self._lines: OrderedDict[str, OrderedDict[Deferred[None], None]] = OrderedDict()

    def take(self, client: str) -> Deferred[None]:
        """Ask for a slot.

        Returns:
            A Deferred that fires with None when the slot is the caller's, who
            must then give it back. Cancelling it leaves the line.
        """
        if self._free:
            self._free -= 1
            return succeed(None)
        turn: Deferred[None] = Deferred(partial(self._leave, client))
        self._lines.setdefault(client, OrderedDict())[turn] = None
        return turn

    def give_back(self) -> None:
        """Return a slot, for whoever waits."""
        if self._lines:
            self._clock.callLater(0, self._hand_on)
        else:
            self._free += 1

    def _hand_on(self) -> None:
        if not self._lines:
            self._free += 1
            return
        client, line = self._lines.popitem(last=False)
        turn, _ = line.popitem(last=False)
        if line:
            self._lines[client] = line
        turn.callback(None)

    def _leave(self, client: str, turn: Deferred[None]) -> None:
        line = self._lines[client]
        del line[turn]
        if not line:
            del self._lines[client]
