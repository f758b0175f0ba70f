"""What the model alone can do in a process, without any server.

``python -m benchmarks.limit PATH`` prints rows per second, by how many rows are under
way at once, as JSON. ``--best`` measures what may be better than TensorFlow's defaults:
variables as constants, in one run on all processors; and ``--apart`` a run of its own
on each processor, whose ops have no threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .models import cases, path
from .places import environment, module

Rates = dict[int, float]

ROWS = (1, 8, 64)


def best(name: str, seconds: float, rows: tuple[int, ...] = ROWS) -> Rates:
    """The most rows per second of a model, by the rows that are under way.

    The best of TensorFlow's defaults and of what is known to help, each
    measured in a process of its own, as some of it is settled by the import.
    """
    found: Rates = {}
    for option in ([], ["--best"], ["--apart"]):
        command = module("benchmarks.limit", name, *option, f"--seconds={seconds}")
        command.append("--rows=" + ",".join(map(str, rows)))
        # The environment may not decide: the option does.
        settings = environment(TF_ENABLE_ONEDNN_OPTS="1") if option else environment()
        said = subprocess.run(command, env=settings, capture_output=True, check=True)
        for size, rate in json.loads(said.stdout).items():
            found[int(size)] = max(rate, found.get(int(size), 0.0))
    return found


def attainable(rates: Rates, connections: int) -> float:
    """The best rate with no more rows under way than there are connections."""
    return max(rate for rows, rate in rates.items() if rows <= max(connections, 1))


def _plain(tf: Any, folder: str) -> Iterator[Callable[[Any], Any]]:
    """As everybody calls a SavedModel."""
    kept = tf.saved_model.load(folder)

    def run(rows: Any) -> Any:
        return kept.signatures["serving_default"](x=tf.constant(rows))["y"].numpy()

    yield run


def _frozen(tf: Any, folder: str) -> Iterator[Callable[[Any], Any]]:
    """Variables as constants, in sessions with and without threads of their own."""
    yield from _sessions(tf, folder, 0, (0, -1))


def _apart(tf: Any, folder: str) -> Iterator[Callable[[Any], Any]]:
    """Variables as constants, in a session without any threads."""
    yield from _sessions(tf, folder, 1, (-1,))


def _sessions(
    tf: Any, folder: str, intra: int, inter: Sequence[int]
) -> Iterator[Callable[[Any], Any]]:
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph as freeze,
    )

    kept = tf.saved_model.load(folder)
    function, graph_def = freeze(kept.signatures["serving_default"])
    feed, fetch = function.inputs[0].name, function.outputs[0].name
    for threads in inter:
        options = config_pb2.CallableOptions(feed=[feed], fetch=[fetch])
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            config = tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=intra,
                inter_op_parallelism_threads=threads,
            )
            session = tf.compat.v1.Session(graph=graph, config=config)
        yield session._make_callable_from_options(options)


def _rate(run: Callable[[Any], Any], rows: Any, runs: int, seconds: float) -> float:
    """Rows per second with so many runs of these rows at once."""

    def count(seconds: float) -> int:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            run(rows)
            done += 1
        return done

    with ThreadPoolExecutor(runs) as threads:
        # Once each for what a first run prepares.
        for _ in range(2):
            start = time.perf_counter()
            counts = list(threads.map(count, [seconds] * runs))
        return sum(counts) * len(rows) / (time.perf_counter() - start)


def _measure(
    name: str, variants: Any, sizes: list[int], runs: int, seconds: float
) -> Rates:
    import tensorflow as tf

    inputs = [x for x, _ in cases(name)]
    if inputs[0].dtype == np.uint8:
        inputs = [x.tobytes() for x in inputs]
    found: Rates = {}
    for run in variants(tf, path(name)):
        for size in sizes:
            at_once = min(runs, size)
            chosen = [inputs[i % len(inputs)] for i in range(size // at_once)]
            rows = np.array(chosen, object if isinstance(chosen[0], bytes) else None)
            rate = _rate(run, rows, at_once, seconds)
            found[size] = max(found.get(size, 0.0), rate)
    return found


def main() -> None:
    """Measure in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--best", action="store_true")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    parser.add_argument("--seconds", type=float, default=1.0)
    chosen = parser.parse_args()
    sizes = [int(text) for text in chosen.rows.split(",")]
    variants = _apart if chosen.apart else _frozen if chosen.best else _plain
    runs = len(os.sched_getaffinity(0)) if chosen.apart else 1
    found = _measure(chosen.model, variants, sizes, runs, chosen.seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
