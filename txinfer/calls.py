"""A call on its way through the collector, and the runs that it becomes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from .interfaces import IRunnable
from .tensors import Tensors, split, stack
from .trace import Trace


@attrs.define(eq=False)
class Call:
    """One caller's tensors, answered once.

    ``rows`` and ``size`` (bytes) are what it counts for; ``key`` is what calls
    must agree in to share a run. ``answer`` is None once it is answered,
    expired or cancelled: then nobody wants its rows. ``line`` is where it
    waits, ``slot`` has it while it can expire, ``split`` tells of its rows if
    they do not all run together.
    """

    method: IRunnable
    key: Hashable
    tensors: Tensors
    rows: int
    size: int
    client: str
    arrived: float
    deadline: float
    trace: Trace | None
    answer: Deferred[Tensors] | None = None
    line: Any = None
    slot: set[Call] | None = None
    split: Split | None = None

    @property
    def call(self) -> Call:
        """The call itself, as a piece of itself."""
        return self

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for these rows."""
        return self.answer is not None

    @property
    def rows_left(self) -> int:
        """The rows that have not left in a run."""
        return self.rows if self.split is None else self.rows - self.split.taken

    @property
    def size_left(self) -> int:
        """The bytes of these rows."""
        if self.split is None:
            return self.size
        return self.size - self.size * self.split.taken // self.rows

    def part(self) -> Part:
        """A piece of the call that has none of its rows yet."""
        if self.split is None:
            self.split = Split()
        return Part(self, self.split, self.split.taken)


@attrs.define(eq=False)
class Split:
    """The rows of a call that run apart: how many have left, and what came back."""

    taken: int = 0
    outputs: dict[int, Tensors] = attrs.field(factory=dict)
    back: int = 0

    def joined(self) -> Tensors:
        """The outputs of all rows, in order; raises if they do not fit together."""
        return stack([self.outputs[start] for start in sorted(self.outputs)])


@attrs.define(eq=False)
class Part:
    """Some rows of one call that leave in one run."""

    call: Call
    split: Split
    start: int
    rows: int = 0
    size: int = 0

    def extend(self, rows: int) -> None:
        """Take so many of the call's next rows along."""
        call, split = self.call, self.split
        before = call.size * split.taken // call.rows
        split.taken += rows
        self.rows += rows
        self.size += call.size * split.taken // call.rows - before

    @property
    def tensors(self) -> Tensors:
        """The rows; views of the call's."""
        end = self.start + self.rows
        return {name: a[self.start : end] for name, a in self.call.tensors.items()}

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for these rows, and for them alone."""
        return self.call.answer is not None and self.call.split is self.split

    @property
    def arrived(self) -> float:
        """When the call came."""
        return self.call.arrived

    @property
    def deadline(self) -> float:
        """When nobody wants its answer any more."""
        return self.call.deadline

    @property
    def trace(self) -> Trace | None:
        """What is told of its runs."""
        return self.call.trace


Piece = Call | Part


@attrs.define(eq=False)
class Batch:
    """Pieces that run together: rows of calls of one key, or one whole call.

    ``whole`` says that it is one call that must not share its run nor be cut,
    ``rerun`` that it failed before among others, ``left`` when its run began, and
    ``share`` how much of all that may be under way at once it is; ``slot`` has it
    while it may come to be taken for lost.
    """

    method: IRunnable
    pieces: Sequence[Piece]
    rows: int
    size: int
    whole: bool = False
    rerun: bool = False
    left: float = 0.0
    share: float = 1.0
    slot: set[Batch] = attrs.field(factory=set)

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for some of it."""
        return any(piece.wanted for piece in self.pieces)

    @property
    def arrived(self) -> float:
        """When the oldest of its calls came."""
        return min([piece.arrived for piece in self.pieces])

    def only(self, pieces: Sequence[Piece], rerun: bool | None = None) -> Batch:
        """Some of the pieces, perhaps now to run again."""
        rows = sum([piece.rows for piece in pieces])
        size = sum([piece.size for piece in pieces])
        again = self.rerun if rerun is None else rerun
        return Batch(self.method, pieces, rows, size, self.whole, again)


class RowsLost(Exception):
    """A run gave back another number of rows than went in; the text says where."""


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
    return [outputs] if len(rows) == 1 else split(outputs, rows)


def work_of(batch: Batch) -> tuple[Any, ...]:
    """What a model thread is to call for a batch: a function and its arguments."""
    tensors = [piece.tensors for piece in batch.pieces]
    if batch.whole:
        return run_directly, batch.method, tensors[0]
    return run_batch, batch.method, tensors, [piece.rows for piece in batch.pieces]
