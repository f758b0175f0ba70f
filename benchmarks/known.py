"""Servers of a model, 2x + 1, of known cost: so much a run, and so much a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np

from . import device, ours
from .process import Server
from .workloads import AFFINE, BUSY, JSON, STALLING, Request

# The other one is for whoever asks.
ONE_PROCESSOR = ("--intra_threads=1",)

Starter = Callable[[Sequence[str]], Server]

FIRST = Request(JSON, b'{"x":[1]}', np.array(3, np.float32))


def affine(options: Sequence[str] = ()) -> Server:
    """Start a server whose model takes next to nothing, in TensorFlow."""
    return ours.serve(AFFINE, options)


def busy(options: Sequence[str] = ()) -> Server:
    """Start a server whose model keeps a processor busy, in TensorFlow.

    It takes long enough for the other one to do what four times as many requests
    cost; see :mod:`.models` for how long.
    """
    return ours.serve(BUSY, [*ONE_PROCESSOR, *options])


def stalling(options: Sequence[str] = ()) -> Server:
    """Start a server some of whose runs keep a processor for 300 ms, in TensorFlow."""
    return ours.serve(STALLING, [*ONE_PROCESSOR, *options])


def sleepy(run_ms: float, row_ms: float, stall_ms: float = 0.0) -> Starter:
    """What starts a server whose model leaves the processors to others."""
    return partial(device.serve, run_ms, row_ms, stall_ms)


#: Models for which full batches are best by more than readings differ.
KINDS: dict[str, Starter] = {"device": sleepy(4, 1), "busy": busy}


@contextmanager
def serving(start: Starter, options: Sequence[str] = ()) -> Iterator[Server]:
    """A server that answers, for the length of a block."""
    server = start(options)
    try:
        server.wait(FIRST)
        yield server
    finally:
        server.close()
