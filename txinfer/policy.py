"""How calls are gathered into batches."""

from __future__ import annotations

import attrs
from attrs.validators import ge


@attrs.frozen
class BatchPolicy:
    """How calls are gathered.

    ValueError if a value makes no sense.

    Args:
        max_rows: the largest batch, in rows; a larger call is split.
        max_queued_rows: rows that may wait; further calls are refused, and so
            is any call of more rows.
        max_queued_bytes: the same bound in bytes of tensors.
        linger: seconds a batch that is not full waits for company although a
            slot is free, and what is younger waits behind it. With 0 no timer
            is ever used.
    """

    max_rows: int = attrs.field(default=32, validator=ge(1))
    max_queued_rows: int = attrs.field(default=16384, validator=ge(1))
    max_queued_bytes: int = attrs.field(default=256 * 1024 * 1024, validator=ge(1))
    linger: float = attrs.field(default=0.0, validator=ge(0))
