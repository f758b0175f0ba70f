"""Batches to run again, because a run of theirs failed or was of no use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .calls import Batch, Call, Part, Piece
from .tensors import Tensors


class Again:
    """What is to run again, in order: it is older than anything that waits.

    Args:
        take_out: takes a call, or what is left of it, out of the queue.

    ``rows`` and ``size`` (bytes) count it.
    """

    def __init__(self, take_out: Callable[[Call], object]) -> None:
        self.rows = 0
        self.size = 0
        self._batches: deque[Batch] = deque()
        self._take_out = take_out

    def __bool__(self) -> bool:
        return bool(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def next(self) -> Batch | None:
        """Take out the next batch of those that somebody still waits for."""
        while self._batches:
            batch = self._batches.popleft()
            self.rows -= batch.rows
            self.size -= batch.size
            pieces = [piece for piece in batch.pieces if piece.wanted]
            if len(pieces) == len(batch.pieces):
                return batch
            if pieces:
                return batch.only(pieces)
        return None

    def halve(self, batch: Batch) -> None:
        """Plan the re-runs that find who is guilty of a failure.

        This finds one culprit among n in at most 2 * log2(n) + 2 runs more.
        """
        pieces = batch.pieces
        middle = len(pieces) // 2
        for half in (pieces[:middle], pieces[middle:]):
            self._add(batch.only(half, rerun=True))

    def separate(self, why: str, pieces: Sequence[Piece]) -> None:
        """Serve a method directly from now on, beginning with these of its calls."""
        pieces[0].call.method.serve_directly(why)
        for piece in pieces:
            if piece.wanted:
                self._add(self.whole(piece.call))

    def rejoin(self, part: Part, outputs: Tensors) -> Tensors | None:
        """The outputs of a split call, once they are all there.

        If they do not fit together the call is to run again, whole.
        """
        split = part.split
        split.outputs[part.start] = outputs
        split.back += part.rows
        if split.back < part.call.rows:
            return None
        try:
            return split.joined()
        except Exception:
            self.separate("its outputs' shapes differ from run to run", [part])
            return None

    def whole(self, call: Call) -> Batch:
        """A call of a direct method, taken off the queue, as a run of its own."""
        if call.line is not None:
            self._take_out(call)
        # Nobody wants parts of it any more.
        call.split = None
        return Batch(call.method, [call], call.rows, call.size, whole=True)

    def _add(self, batch: Batch) -> None:
        self._batches.append(batch)
        self.rows += batch.rows
        self.size += batch.size
