"""Models that wait to be let through, for tests of what happens meanwhile."""

from __future__ import annotations

import threading

from tests.memory import affine
from txinfer.tensors import Tensors

# Only a broken test waits this long, in seconds.
PATIENCE = 10.0


class Gate:
    """A function for a :class:`~tests.memory.MemoryModel` that can be held up."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.entered = threading.Event()

    def close(self) -> None:
        """Hold up the next runs."""
        self.entered.clear()
        self._open.clear()

    def open(self) -> None:
        """Let through what is held up, and all that follows."""
        self._open.set()

    def __call__(self, tensors: Tensors) -> Tensors:
        """y = 2x + 1, once the gate is open."""
        self.entered.set()
        assert self._open.wait(PATIENCE), "nobody opened the gate"
        return affine(tensors)
