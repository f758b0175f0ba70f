"""A call on its way through the collector, in pieces that fit into a batch."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from .interfaces import IRunnable
from .tensors import Tensors, byte_count, row_count, split, stack
from .trace import Trace


@attrs.define(eq=False)
class Call:
    """One caller's tensors; answered once.

    ``pending`` holds the pieces whose rows are not back yet. It is empty once
    the call is answered, expired or cancelled. ``parts`` has the outputs of
    each piece, by its position.
    """

    method: IRunnable
    tensors: Tensors
    answer: Deferred[Tensors]
    trace: Trace | None = None
    pending: set[Piece] = attrs.field(factory=set)
    parts: list[Tensors] = attrs.field(factory=list)
    timer: IDelayedCall | None = None

    def wait_for(self, pieces: Sequence[Piece]) -> None:
        """Expect these pieces, and no others any more."""
        self.pending = set(pieces)
        self.parts = [{}] * len(pieces)

    def forget(self) -> None:
        """Expect nothing any more."""
        self.wait_for(())
        if self.timer is not None and self.timer.active():
            self.timer.cancel()


@attrs.define(eq=False)
class Piece:
    """At most a batch full of one call's rows.

    Pieces with equal keys may share a run. The key of a direct call is the call
    itself: nothing is ever joined to it.
    """

    call: Call
    key: Hashable
    position: int
    tensors: Tensors
    rows: int
    bytes: int
    arrived: float

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for these rows."""
        return self in self.call.pending

    @property
    def is_direct(self) -> bool:
        """Whether this is a whole call that must not share its run."""
        return self.key is self.call


Batch = list[Piece]


class RowsLost(Exception):
    """A run gave back another number of rows than went in; the text says where."""


def cut(call: Call, max_rows: int, now: float) -> Iterator[Piece]:
    """A call as pieces of at most ``max_rows`` rows; a direct call is one piece.

    The join key is the method and each input's dtype and inner shape.
    """
    tensors = call.tensors
    if call.method.direct is not None:
        yield Piece(call, call, 0, tensors, 1, byte_count(tensors), now)
        return
    inner = ((name, array.dtype, array.shape[1:]) for name, array in tensors.items())
    key = (call.method, *inner)
    total = row_count(tensors)
    rows = [min(max_rows, total - start) for start in range(0, total, max_rows)]
    parts = [tensors] if len(rows) == 1 else split(tensors, rows)
    for position, part in enumerate(parts):
        yield Piece(call, key, position, part, rows[position], byte_count(part), now)


def run_directly(method: IRunnable, tensors: Tensors) -> list[Tensors]:
    """Run one call as it is. Blocks, in a model thread."""
    return [method.run(tensors)]


def run_batch(
    method: IRunnable, calls: Sequence[Tensors], rows: Sequence[int]
) -> list[Tensors]:
    """Stack, run once, cut apart. Blocks, in a model thread.

    Raises:
        RowsLost: the outputs cannot be cut apart.
        BaseException: whatever the model raises.
    """
    outputs = method.run(stack(calls))
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != total:
            raise RowsLost(f"output '{name}' had not one row for each row put in")
    return split(outputs, rows)
