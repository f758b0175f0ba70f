"""Memory that the process does not use any more, given back to the system."""

from __future__ import annotations

import ctypes
from typing import Any


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
