"""Where the benchmarks keep what they make, and in what environment they run."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".bench"

#: TensorFlow says nothing but what ends the process.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def environment(**more: str) -> dict[str, str]:
    """The caller's environment with the tree first on Python's path."""
    return {**os.environ, **QUIET, "PYTHONPATH": str(ROOT), **more}


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of the tree."""
    return [sys.executable, "-m", name, *arguments]


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
