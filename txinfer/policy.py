"""How calls are gathered into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from attrs.validators import ge

from .limits import QueueLimits, RunLimits

# Batches that may be held if nobody says how many rows: some seconds' work of a fast
# model, and with the usual batch a job of ten thousand rows.
BATCHES = 512

# The largest batch if nobody says; and the largest of runs that take so few seconds
# that nobody could tell: what one costs around the model is shared by more calls then.
USUAL_ROWS = 32
SHORT_ROWS = 128
SHORT_SECONDS = 0.004


@attrs.frozen
class BatchPolicy:
    """How calls are gathered.

    ValueError if a value makes no sense.

    Args:
        max_rows: the largest batch, in rows; a larger call is split.
        queue: what may wait and run; further calls are refused, and so is any
            call that is larger than that.
        linger: seconds a batch that is not full waits for company although a
            slot is free, and what is younger waits behind it. With 0 no timer
            is ever used.
        runs: how long runs are waited for.
        short_rows: the largest batch where a run of it takes less than 4 ms, if that
            is more.
    """

    max_rows: int = attrs.field(default=USUAL_ROWS, validator=ge(1))
    queue: QueueLimits = attrs.field(factory=QueueLimits)
    linger: float = attrs.field(default=0.0, validator=ge(0))
    runs: RunLimits = attrs.field(factory=RunLimits)
    short_rows: int = attrs.field(default=0, validator=ge(0))

    @property
    def queue_rows(self) -> int:
        """The most rows that wait and run at once."""
        return self.queue.queue_rows or BATCHES * self.max_rows

    @property
    def largest(self) -> int:
        """The most rows that any run may have."""
        return max(self.short_rows, self.max_rows)

    def most(self, at_most: Callable[[int], float]) -> int:
        """How many rows may run together.

        Args:
            at_most: the seconds that a run of so many rows takes, rather more than
                less; infinite if nothing is known.
        """
        is_short = at_most(self.largest) < SHORT_SECONDS
        return self.largest if is_short else self.max_rows


def sized(batch_size: int = 0, **rest: Any) -> BatchPolicy:
    """A policy whose batches have at most so many rows; with 0, as many as suit.

    Args:
        batch_size: the largest batch, in rows.
        rest: what else there is to say of a :class:`BatchPolicy`.
    """
    if batch_size:
        return BatchPolicy(batch_size, **rest)
    return BatchPolicy(USUAL_ROWS, short_rows=SHORT_ROWS, **rest)


def bounded(policy: BatchPolicy, pads: Sequence[int]) -> BatchPolicy:
    """A policy without batches that are larger than all sizes they are filled up to.

    Raises:
        ValueError: a size makes no sense.
    """
    if not pads:
        return policy
    if min(pads) < 1:
        raise ValueError("batches are filled up to at least one row")
    largest = min(policy.max_rows, max(pads))
    return attrs.evolve(policy, max_rows=largest, short_rows=0)
