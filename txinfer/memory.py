"""What glibc's allocator keeps for itself, and how to have it keep less."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from .processors import processors

# ``malloc.h``
M_ARENA_MAX = -8

# What the operator may have said of it, in one way or another (mallopt(3)).
SETTINGS = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")


def share_arenas() -> None:
    """Have threads take memory from one arena for two processors.

    By default there are eight for each, so that threads hardly ever wait for one. But
    what a thread frees only threads with the same arena take again, and those that
    import TensorFlow and load a model free much. To be called before threads are
    started; an arena that is there stays. Elsewhere nothing happens.
    """
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt is not None and not any(name in os.environ for name in SETTINGS):
        mallopt(M_ARENA_MAX, max(1, processors() // 2))


def give_back() -> None:
    """Have the allocator return what is free. Takes some milliseconds.

    glibc keeps freed blocks of less than 32 MiB for itself once larger ones were
    freed (mallopt(3), ``M_MMAP_THRESHOLD``), and loading a model frees several
    times its size. Elsewhere nothing happens.
    """
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _libc() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
