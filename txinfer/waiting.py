"""What waits for a free session slot: bounded, oldest first, joined by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Iterator

from .calls import Batch, Piece
from .interfaces import IRunnable


class Waiting:
    """Pieces in order of arrival, and the same pieces by join key.

    Adding and taking out cost the same however many wait. ``rows`` and
    ``bytes`` count what does.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._all: OrderedDict[Piece, None] = OrderedDict()
        self._by_key: dict[Hashable, OrderedDict[Piece, None]] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, pieces: Iterable[Piece]) -> None:
        """Put pieces at the end."""
        for piece in pieces:
            self._all[piece] = None
            self._by_key.setdefault(piece.key, OrderedDict())[piece] = None
            self.rows += piece.rows
            self.bytes += piece.bytes

    def discard(self, pieces: Iterable[Piece]) -> None:
        """Take out those of the pieces that wait."""
        for piece in pieces:
            if piece in self._all:
                self._remove(piece)

    def has(self, methods: Collection[IRunnable]) -> bool:
        """Whether calls of one of the methods wait."""
        return any(piece.call.method in methods for piece in self._all)

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._all)

    def gather(self, max_rows: int) -> Batch:
        """The oldest piece and those that can join it, oldest first; all stay.

        Of one key the oldest leave first, so nothing that waits is overtaken
        for ever, whatever keys the others have.
        """
        oldest = next(iter(self._all))
        batch: Batch = []
        rows = 0
        for piece in self._by_key[oldest.key]:
            rows += piece.rows
            if batch and rows > max_rows:
                break
            batch.append(piece)
        return batch

    def _remove(self, piece: Piece) -> None:
        del self._all[piece]
        queue = self._by_key[piece.key]
        del queue[piece]
        if not queue:
            del self._by_key[piece.key]
        self.rows -= piece.rows
        self.bytes -= piece.bytes
