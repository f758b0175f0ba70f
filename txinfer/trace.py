"""Where one call spent its time, for whoever answers it."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class Trace:
    """What happened to a call; each floor it passes fills in its own part.

    The collector adds ``queued_seconds`` (from its submission to its first run),
    ``run_seconds`` (all its runs together), ``batch_rows`` (rows of the largest
    run it was in, its own and others'), ``runs``, and ``reruns`` (those of
    them that were made because a run before had failed). Dialects add
    ``decode_seconds``, ``fetch_seconds`` and ``encode_seconds``. What has not
    happened is 0. ``cancelled`` is whether the collector was told that nobody
    wants the answer any more.
    """

    decode_seconds: float = 0.0
    fetch_seconds: float = 0.0
    queued_seconds: float = 0.0
    run_seconds: float = 0.0
    encode_seconds: float = 0.0
    batch_rows: int = 0
    runs: int = 0
    reruns: int = 0
    cancelled: bool = False

    def add_run(self, rows: int, queued: float, seconds: float, rerun: bool) -> None:
        """Take note of a run of ``rows`` rows that left ``queued`` seconds after
        the call had come, and took ``seconds``.
        """
        if not self.runs:
            self.queued_seconds = queued
        self.run_seconds += seconds
        if rows > self.batch_rows:
            self.batch_rows = rows
        self.runs += 1
        self.reruns += rerun
