"""Telling a person now and then that something long is still going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

# A SavedModel can take a minute to load, and an archive minutes to come; silence
# that long looks like a hang.
PROGRESS_SECONDS = 5.0


@contextmanager
def told_of(tell: Callable[[], None], clock: IReactorTime) -> Iterator[None]:
    """Call a function at once, and every five seconds until the block is left."""
    progress = LoopingCall(tell)
    progress.clock = clock
    progress.start(PROGRESS_SECONDS)
    try:
        yield
    finally:
        progress.stop()
