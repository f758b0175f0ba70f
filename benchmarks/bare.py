"""A bare process: TensorFlow imported, one SavedModel loaded, and run.

``python -m benchmarks.bare MODEL [ROWS]`` prints a line when it has answered its
first run of one row, then runs batches of so many rows, and prints a line of JSON
with what it holds: ``loaded`` is the resident memory, in MiB, once the model is
loaded, ``run`` after the batches.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from .models import cases, path
from .process import resident_mib

# Enough for the allocator to have seen it all.
BATCHES = 10


def main(name: str, rows: int = 32) -> None:
    """Do so in this process."""
    import tensorflow as tf

    model = tf.saved_model.load(path(name))
    loaded = resident_mib([os.getpid()])
    run = model.signatures["serving_default"]
    inputs: list[Any] = [x for x, _ in cases(name)]
    if inputs[0].dtype == np.uint8:
        inputs = [x.tobytes() for x in inputs]
    run(x=tf.constant(inputs[:1]))["y"].numpy()
    print("answered", flush=True)
    batch = tf.constant([inputs[i % len(inputs)] for i in range(rows)])
    for _ in range(BATCHES):
        run(x=batch)["y"].numpy()
    print(json.dumps({"loaded": loaded, "run": resident_mib([os.getpid()])}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
