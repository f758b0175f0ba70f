"""How many arenas threads take memory from, as glibc tells it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests import processes
from txinfer.processors import processors

SCRIPT = """
import ctypes, sys, threading
from txinfer.memory import share_arenas

share_arenas()
together = threading.Barrier(9)

def allocate() -> None:
    # As long as no other thread has ended: an arena is handed on.
    ctypes.CDLL(None).malloc(100_000)
    together.wait()
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
ctypes.CDLL(None).malloc_stats()
together.wait()
"""

glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="there is no glibc"
)


def arenas(**environment: str) -> int:
    """How many a process has with eight threads that have taken memory."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**processes.environment(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(line.startswith("Arena") for line in done.stderr.splitlines())


@glibc
def test_threads_share_them() -> None:
    assert arenas() == min(max(1, processors() // 2), 9)


@glibc
def test_there_are_as_many_as_the_operator_says() -> None:
    assert arenas(MALLOC_ARENA_MAX="3") == 3
    assert arenas(GLIBC_TUNABLES="glibc.malloc.arena_max=4") == 4
