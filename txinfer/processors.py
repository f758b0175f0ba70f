"""How many processors there are for this process."""

from __future__ import annotations

import os

# Runs at once, where nobody says how many: each has the numbers between the layers of
# its model in memory.
MOST_AT_ONCE = 8


def processors() -> int:
    """Those that the process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def runs_at_once() -> int:
    """How many runs may be under way at once, if that pays: one for each processor."""
    return min(processors(), MOST_AT_ONCE)
