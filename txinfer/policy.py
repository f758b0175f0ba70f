"""How calls are gathered into batches."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge

from .limits import QueueLimits, RunLimits

# Batches that may be held if nobody says how many rows: some seconds' work of a fast
# model, and with the usual batch a job of ten thousand rows.
BATCHES = 512


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
    """

    max_rows: int = attrs.field(default=32, validator=ge(1))
    queue: QueueLimits = attrs.field(factory=QueueLimits)
    linger: float = attrs.field(default=0.0, validator=ge(0))
    runs: RunLimits = attrs.field(factory=RunLimits)

    @property
    def queue_rows(self) -> int:
        """The most rows that wait and run at once."""
        return self.queue.queue_rows or BATCHES * self.max_rows


def bounded(policy: BatchPolicy, pads: Sequence[int]) -> BatchPolicy:
    """A policy without batches that are larger than all sizes they are filled up to.

    Raises:
        ValueError: a size makes no sense.
    """
    if not pads:
        return policy
    if min(pads) < 1:
        raise ValueError("batches are filled up to at least one row")
    return attrs.evolve(policy, max_rows=min(policy.max_rows, max(pads)))
