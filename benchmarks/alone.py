"""A process that runs a model without any server, as often as it is told to.

``python -m benchmarks.alone NAME WAY`` loads a model in one of the ways below. For each
line with a number of rows and one of seconds it runs as many rows as it can meanwhile,
so many of them under way at once, and prints how many that is a second.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .models import cases, path

Run = Callable[[Any], Any]


def _plain(tf: Any, folder: str) -> Run:
    kept = tf.saved_model.load(folder)

    def run(rows: Any) -> Any:
        return kept.signatures["serving_default"](x=tf.constant(rows))["y"].numpy()

    return run


def _frozen(tf: Any, folder: str, intra: int, inter: int) -> Run:
    """Variables as constants, in a session with so many threads; 0: TensorFlow's own
    choice, -1: none, all in the thread that calls.
    """
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2_as_graph as freeze,
    )

    kept = tf.saved_model.load(folder)
    function, graph_def = freeze(kept.signatures["serving_default"])
    feed, fetch = function.inputs[0].name, function.outputs[0].name
    options = config_pb2.CallableOptions(feed=[feed], fetch=[fetch])
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter
        )
        session = tf.compat.v1.Session(graph=graph, config=config)
    run: Run = session._make_callable_from_options(options)
    return run


#: As everybody calls a SavedModel, and three ways that may be better: ops among
#: threads, ops one after the other, and a run of its own on each processor.
WAYS: dict[str, Callable[[Any, str], Run]] = {
    "plain": _plain,
    "frozen": lambda tf, folder: _frozen(tf, folder, 0, 0),
    "inline": lambda tf, folder: _frozen(tf, folder, 0, -1),
    "apart": lambda tf, folder: _frozen(tf, folder, 1, -1),
}


class Runner:
    """Measures how many rows a second a model gets through.

    Args:
        run: takes an array of rows.
        inputs: a row each.
        most: how many runs may be under way at once.
    """

    def __init__(self, run: Run, inputs: list[Any], most: int) -> None:
        self._run = run
        self._inputs = inputs
        self._most = most
        # What kernels keep for a thread is there when it is measured again.
        self._threads = ThreadPoolExecutor(most)

    def rate(self, rows: int, seconds: float) -> float:
        """Rows per second, with so many under way at once."""
        runs = min(self._most, rows)
        inputs = self._inputs
        chosen = [inputs[i % len(inputs)] for i in range(rows // runs)]
        batch = np.array(chosen, object if isinstance(chosen[0], bytes) else None)

        def count(until: float) -> int:
            done = 0
            while time.perf_counter() < until:
                self._run(batch)
                done += 1
            return done

        # Half as long before it counts, for what the first runs prepare.
        for share in (0.5, 1):
            start = time.perf_counter()
            counts = list(self._threads.map(count, [start + share * seconds] * runs))
        return sum(counts) * len(batch) / (time.perf_counter() - start)


def main() -> None:
    """Do what is asked for on standard input."""
    name, way = sys.argv[1:]
    import tensorflow as tf

    inputs = [x for x, _ in cases(name)]
    if inputs[0].dtype == np.uint8:
        inputs = [x.tobytes() for x in inputs]
    most = len(os.sched_getaffinity(0)) if way == "apart" else 1
    runner = Runner(WAYS[way](tf, path(name)), inputs, most)
    print("ready", flush=True)
    for line in sys.stdin:
        rows, seconds = line.split()
        print(runner.rate(int(rows), float(seconds)), flush=True)


if __name__ == "__main__":
    main()
