"""What a run costs in a process, by the ways in which a model can be run.

    python -m benchmarks.sessions                  # tiny, mlp and tensor
    python -m benchmarks.sessions -w image -n 1,8 --no-onednn

The ways take turns. *Wall* is the shortest run, which other processes disturb
least; *CPU* the mean of all. Variables or constants, and in whose thread ops
run, is what the server chooses between (``txinfer/tune.py``).
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from .arguments import among, described, numbers
from .models import cases, path
from .places import QUIET
from .run import PACKAGES
from .table import circumstances, table

MODELS = ("tiny", "mlp", "image", "tensor")
HEADS = ("model", "way", "rows", "wall µs", "CPU µs", "rows/s")

# Seconds that a way runs before the next has its turn.
TURN = 0.1


@attrs.define
class Spent:
    """What the runs of one way took so far, in seconds."""

    runs: int = 0
    shortest: float = float("inf")
    cpu: float = 0.0

    def take_turn(self, run: Callable[[Any], object], rows: Any) -> None:
        """Run for a while."""
        cpu, end = _cpu_seconds(), time.perf_counter() + TURN
        while (began := time.perf_counter()) < end:
            run(rows)
            self.shortest = min(self.shortest, time.perf_counter() - began)
            self.runs += 1
        self.cpu += _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def ways(name: str, intra_threads: int) -> dict[str, Callable[[Any], object]]:
    """What runs an array of rows, by what it is."""
    import tensorflow as tf

    from txinfer.frozen import from_checkpoint
    from txinfer.session import session_config
    from txinfer.tune import SessionPolicy

    loaded = tf.saved_model.load(path(name))
    function = loaded.signatures["serving_default"]
    found: dict[str, Callable[[Any], object]] = {
        "TensorFlow's function": lambda rows: function(x=tf.constant(rows))["y"].numpy()
    }
    policy = SessionPolicy(intra_threads)
    for what, most in (("variables", 0), ("constants", policy.most_frozen)):
        opened = from_checkpoint(path(name), ["serve"], session_config(policy), most)
        found[f"{what}, pool"] = opened.runner("serving_default", False)
        found[f"{what}, caller"] = opened.runner("serving_default", True)
    return found


def measure(name: str, chosen: argparse.Namespace) -> list[list[str]]:
    """The lines of the table for a model."""
    inputs: list[Any] = [x for x, _ in cases(name)]
    if inputs[0].dtype == np.uint8:
        inputs = [x.tobytes() for x in inputs]
    dtype = object if isinstance(inputs[0], bytes) else None
    candidates = ways(name, chosen.intra_threads)
    lines = []
    for size in chosen.rows:
        rows = np.array([inputs[i % len(inputs)] for i in range(size)], dtype)
        spent = {way: Spent() for way in candidates}
        for run in candidates.values():
            # The first run of a size prepares memory, or more.
            run(rows)
        for way in [*candidates] * chosen.turns:
            spent[way].take_turn(candidates[way], rows)
        lines += [_line(name, way, size, it) for way, it in spent.items()]
    return lines


def _line(name: str, way: str, size: int, spent: Spent) -> list[str]:
    return [
        name,
        way,
        str(size),
        f"{spent.shortest * 1e6:,.0f}",
        f"{spent.cpu / spent.runs * 1e6:,.0f}",
        f"{size / spent.shortest:,.0f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line says, and print it."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-w", "--models", type=among(MODELS), default=["tiny", "mlp", "tensor"])
    add("-n", "--rows", type=numbers, default=[1, 8, 32])
    add("-t", "--turns", type=int, default=6, help="of each way, a tenth of a second")
    add("--intra-threads", type=int, default=0, help="within an op; 0 for all")
    add("--no-onednn", action="store_true", help="with TensorFlow's own kernels")
    chosen = parser.parse_args(arguments)
    # Both are read by the import of TensorFlow.
    os.environ.update(QUIET, TF_ENABLE_ONEDNN_OPTS=str(int(not chosen.no_onednn)))
    lines = [line for name in chosen.models for line in measure(name, chosen)]
    kernels = "its own kernels" if chosen.no_onednn else "oneDNN"
    print(f"{circumstances(PACKAGES)}, {kernels}\n\n{table(HEADS, lines)}")


if __name__ == "__main__":
    main()
