"""The bodies that one request has sent for."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from .errors import BodiesTooLarge, FetchFailed


class Errand:
    """Bodies as they come in, until all are there or one is not to be had.

    Args:
        count: how many are sent for.
        most: how many bytes they may have together.

    ``answer`` fires with the bodies, in the order in which they were asked for.
    Cancelling it stops the ``fetches``. ``held`` counts the bytes kept here.
    ``failure`` is, of what has failed so far, the first in order: the first in
    time would tell which of them failed faster.
    """

    def __init__(self, count: int, most: int) -> None:
        self.answer: Deferred[list[bytes]] = Deferred(self._cancelled)
        self.fetches: list[Deferred[None]] = []
        self.held = 0
        self._bodies: dict[int, bytes] = {}
        self._count = count
        self._most = most
        self.failure: FetchFailed | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has been answered."""
        return bool(self.answer.called)

    def put(self, position: int, body: bytes) -> None:
        """Take one body in, if it is still of use, unless that is too much."""
        if self.is_over or self.failure is not None:
            return
        self._bodies[position] = body
        self.held += len(body)
        if self.held > self._most:
            self.fail(BodiesTooLarge(self._most))
        elif len(self._bodies) == self._count:
            self.answer.callback([self._bodies[n] for n in range(self._count)])

    def spoil(self, why: FetchFailed) -> None:
        """One body is not to be had, so the others need not be kept."""
        self._drop()
        if self.failure is None or why.position < self.failure.position:
            self.failure = why

    def fail(self, why: Failure | Exception) -> None:
        """Answer with an error, unless it has been answered, and stop the rest."""
        if self.is_over:
            return
        self._drop()
        self.answer.errback(why)
        for fetch in self.fetches:
            fetch.cancel()

    def _drop(self) -> None:
        self._bodies.clear()
        self.held = 0

    def _cancelled(self, _: object) -> None:
        self.fail(CancelledError())
