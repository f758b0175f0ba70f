"""The models that are served, built once and kept.

``python -m benchmarks.models NAME`` builds one, with some inputs and the outputs
that TensorFlow itself gives for them (``cases.npz``), so that the answers of a
server can be checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .places import CACHE, environment, module

#: Rows with answers, of which each has another.
CASES = 8

#: To be raised when a builder changes: what is kept is built anew then.
EDITION = "1"

SIDE = 160

#: Rows that this divides are those that some of the models take long for.
STALLING = 50

# Values of an answer: with as many digits as float32 has they are 10 MB of JSON.
LONG = 1_100_000

Case = tuple[Any, Any]


def folder(name: str) -> Path:
    """Where a model is kept: ``model`` and ``cases.npz`` are in it."""
    return CACHE / "models" / f"{name}-{EDITION}"


def path(name: str) -> str:
    """The SavedModel of that name, built if it is not there."""
    kept = folder(name)
    if not (kept / "cases.npz").exists():
        print(f"building the model {name}", file=sys.stderr)
        command = module("benchmarks.models", name)
        done = subprocess.run(command, capture_output=True, env=environment())
        if done.returncode:
            raise SystemExit(done.stderr.decode("utf-8", "replace"))
    return str(kept / "model")


def cases(name: str) -> list[Case]:
    """Inputs of one row (without the row's dimension), and what they give.

    An image is an array of the bytes of its file.
    """
    path(name)
    with np.load(folder(name) / "cases.npz") as kept:
        return [(kept[f"x{i}"], kept[f"y{i}"]) for i in range(CASES)]


def _tiny(tf: Any) -> tuple[Any, Any, list[Any]]:
    module = tf.Module()
    module.scale, module.bias = tf.Variable(0.5), tf.Variable(2.0)
    spec = tf.TensorSpec([None], tf.float32, "x")
    run = tf.function(lambda x: {"y": x * module.scale + module.bias}, [spec])
    return module, run, [np.float32(i) for i in range(CASES)]


def _affine(tf: Any) -> tuple[Any, Any, list[Any]]:
    """2x + 1, at once."""
    spec = tf.TensorSpec([None], tf.float32, "x")
    run = tf.function(lambda x: {"y": 2 * x + 1}, [spec])
    return tf.Module(), run, [np.float32(i) for i in range(CASES)]


def _busy(tf: Any) -> tuple[Any, Any, list[Any]]:
    """2x + 1 by one processor in some 16 ms, and 4 ms more for each row."""
    sorts = 4 * _sorts_a_ms(tf)
    return _slow_affine(tf, lambda x: sorts * (4 + tf.shape(x)[0]))


def _stalling(tf: Any) -> tuple[Any, Any, list[Any]]:
    """2x + 1 in some 10 ms, and in 300 ms if one of the rows is as it must not be."""
    sorts = 10 * _sorts_a_ms(tf)

    def stalls(x: Any) -> Any:
        return tf.reduce_any(tf.equal(x % STALLING, 0))

    return _slow_affine(tf, lambda x: tf.where(stalls(x), 30 * sorts, sorts))


def _slow_affine(tf: Any, sorts: Callable[[Any], Any]) -> tuple[Any, Any, list[Any]]:
    def run(x: Any) -> Any:
        return {"y": 2 * x + _one(tf, sorts(x))}

    spec = tf.TensorSpec([None], tf.float32, "x")
    inputs = [np.float32(i) for i in range(CASES)]
    return tf.Module(), tf.function(run, [spec]), inputs


def _one(tf: Any, sorts: Any) -> Any:
    """1.0, the hard way: in one op, for the threads that share several do not rest."""
    numbers = np.random.default_rng(4).random((1, 2048), dtype="float32")
    numbers[0, 0] = 1
    return tf.reduce_max(tf.sort(tf.tile(tf.constant(numbers), [sorts, 1])))


def _sorts_a_ms(tf: Any) -> int:
    """How many rows of numbers one processor of this machine sorts in a millisecond."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    run = tf.function(lambda sorts: _one(tf, sorts), [tf.TensorSpec([], tf.int32)])
    run(100)
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        run(100)
        taken.append(time.perf_counter() - began)
    # Whatever else goes on makes it longer.
    return max(1, int(100 / (min(taken) * 1e3)))


def _mlp(tf: Any) -> tuple[Any, Any, list[Any]]:
    return _dense(tf, 784, 512, 256, 10)


def _large(tf: Any) -> tuple[Any, Any, list[Any]]:
    """100 MiB of weights, for what they take in memory."""
    return _dense(tf, 2560, 2560, 2560, 2560, 2560)


def _dense(tf: Any, *sizes: int) -> tuple[Any, Any, list[Any]]:
    random = np.random.default_rng(1)
    module = tf.Module()
    module.layers = [
        (
            tf.Variable(random.normal(0, n**-0.5, (n, m)).astype("float32")),
            tf.Variable(tf.zeros(m)),
        )
        for n, m in pairwise(sizes)
    ]

    def run(x: Any) -> Any:
        for kernel, bias in module.layers[:-1]:
            x = tf.nn.relu(x @ kernel + bias)
        kernel, bias = module.layers[-1]
        return {"y": x @ kernel + bias}

    spec = tf.TensorSpec([None, sizes[0]], tf.float32, "x")
    inputs = [random.random(sizes[0], dtype="float32") for _ in range(CASES)]
    return module, tf.function(run, [spec]), inputs


def _pixels(count: int) -> Any:
    """Smooth colour pictures with some noise, float32 from 0 to 255."""
    random = np.random.default_rng(2)
    across = np.linspace(0, 6, SIDE, dtype="float32")
    waves = random.uniform(0.3, 3, (count, 3, 2)).astype("float32")
    rows = np.sin(waves[..., :1] * across)[:, :, :, None]
    columns = np.cos(waves[..., 1:] * across)[:, :, None, :]
    pictures = np.moveaxis(rows * columns, 1, -1) * 110 + 128
    noise = random.normal(0, 6, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype("float32")


def _mobilenet() -> Any:
    """MobileNetV2 with random weights whose answers differ from row to row.

    A fresh one's normalizations let its signal die away; they learn the scale of
    what they see here.
    """
    import keras

    keras.utils.set_random_seed(3)
    net = keras.applications.MobileNetV2(
        (SIDE, SIDE, 3), weights=None, classifier_activation=None
    )
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    net(_pixels(32) / 127.5 - 1, training=True)
    return net


def _tensor(tf: Any) -> tuple[Any, Any, list[Any]]:
    module = tf.Module()
    module.net = _mobilenet()
    spec = tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "x")
    run = tf.function(lambda x: {"y": module.net(x * 2 - 1)}, [spec])
    return module, run, list(_pixels(CASES) / np.float32(255))


def _image(tf: Any) -> tuple[Any, Any, list[Any]]:
    module = tf.Module()
    module.net = _mobilenet()

    def decode(file: Any) -> Any:
        picture = tf.io.decode_jpeg(file, channels=3)
        return tf.image.resize(picture, [SIDE, SIDE])

    def run(x: Any) -> Any:
        pictures = tf.map_fn(decode, x, fn_output_signature=tf.float32)
        return {"y": module.net(pictures / 127.5 - 1)}

    spec = tf.TensorSpec([None], tf.string, "x")
    files = [
        tf.io.encode_jpeg(tf.image.resize(picture, [240, 320]).numpy().astype("uint8"))
        for picture in _pixels(CASES)
    ]
    return module, tf.function(run, [spec]), [file.numpy() for file in files]


def _long(tf: Any) -> tuple[Any, Any, list[Any]]:
    """A number to a million, which are ten megabytes of JSON."""
    module = tf.Module()
    module.steps = tf.Variable(tf.range(LONG, dtype=tf.float32) / 7)
    spec = tf.TensorSpec([None], tf.float32, "x")
    run = tf.function(lambda x: {"y": x[:, None] + module.steps}, [spec])
    return module, run, [np.float32(i) for i in range(CASES)]


BUILDERS: dict[str, Callable[[Any], tuple[Any, Any, list[Any]]]] = {
    "tiny": _tiny,
    "affine": _affine,
    "busy": _busy,
    "stalling": _stalling,
    "mlp": _mlp,
    "image": _image,
    "tensor": _tensor,
    "two": _tiny,
    "many": _tiny,
    "long": _long,
    "large": _large,
}

#: Signatures besides the default one, which do the same.
OTHERS = {"two": 1, "many": 199}


def other(number: int) -> str:
    """The name of one of them."""
    return f"method_{number}"


def build(name: str, kept: Path) -> None:
    """Write a model and its cases into a folder."""
    import tensorflow as tf

    owner, run, inputs = BUILDERS[name](tf)
    owner.run = run
    function = run.get_concrete_function()
    signatures = {"serving_default": function}
    signatures |= {other(number): function for number in range(OTHERS.get(name, 0))}
    tf.saved_model.save(owner, str(kept / "model"), signatures=signatures)
    arrays: dict[str, Any] = {}
    for i, value in enumerate(inputs):
        is_file = isinstance(value, bytes)
        arrays[f"x{i}"] = np.frombuffer(value, np.uint8) if is_file else value
        arrays[f"y{i}"] = run(tf.constant([value]))["y"].numpy()[0]
    # Whole or not at all: it is what tells that the model is there.
    np.savez(kept / "part.npz", **arrays)
    os.replace(kept / "part.npz", kept / "cases.npz")


if __name__ == "__main__":
    for chosen in sys.argv[1:]:
        build(chosen, folder(chosen))
