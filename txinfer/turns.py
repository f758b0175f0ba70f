"""So much at once and no more; who waits is served in turn with others."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Turns:
    """Slots that clients take in turn, however much one of them asks for.

    Each client has a line of its own, oldest first, and the lines are served one
    after the other. Reactor thread only.

    Args:
        clock: serves at most one in each turn of the reactor, lest a hundred
            that begin at once keep it from all else.
        size: how many slots there are.
    """

    def __init__(self, clock: IReactorTime, size: int) -> None:
        self._clock = clock
        self._free = size
        self._lines: OrderedDict[str, OrderedDict[Deferred[None], None]] = OrderedDict()
        self._serving = False

    def take(self, client: str) -> Deferred[None]:
        """Ask for a slot.

        Returns:
            A Deferred that fires with None when the slot is the caller's, who
            must then give it back. Cancelling it leaves the line.
        """
        turn: Deferred[None] = Deferred(partial(self._leave, client))
        self._lines.setdefault(client, OrderedDict())[turn] = None
        self._serve()
        return turn

    def give_back(self) -> None:
        """Return a slot, for whoever waits."""
        self._free += 1
        self._serve()

    def _serve(self) -> None:
        if self._free and self._lines and not self._serving:
            self._serving = True
            self._clock.callLater(0, self._serve_next)

    def _serve_next(self) -> None:
        self._serving = False
        if not self._lines:
            # All have left.
            return
        client, line = self._lines.popitem(last=False)
        turn, _ = line.popitem(last=False)
        if line:
            self._lines[client] = line
        self._free -= 1
        self._serve()
        turn.callback(None)

    def _leave(self, client: str, turn: Deferred[None]) -> None:
        line = self._lines[client]
        del line[turn]
        if not line:
            del self._lines[client]
