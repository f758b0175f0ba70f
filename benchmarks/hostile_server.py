"""A server for hostile bodies: a model of numpy, a ticker, a process of its own.

    PYTHONPATH=. python benchmarks/hostile_server.py [--tensorflow]

It prints its port and that of its ticker, which tells how long the reactor was
kept from its next turn since it was last asked. With ``--tensorflow`` the method
``texts`` decodes images; without, it counts bytes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from twisted.internet import reactor as global_reactor
from twisted.web.resource import Resource
from zope.interface import implementer

from tests.hostile.beside import serve_beside
from txinfer import InferenceService
from txinfer.interfaces import IModel
from txinfer.server import Server
from txinfer.tensors import Shape, Signature, Tensors, TensorSpec

reactor: Any = global_reactor

# Seconds between two ticks.
TICK = 0.01


def spec(type: str, shape: Shape | None) -> TensorSpec:
    """A tensor spec by the name of its dtype."""
    dtypes = {"string": np.dtype(object), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
    return TensorSpec(type, dtypes.get(type) or np.dtype(type), shape)


def echoing(type: str, shape: Shape | None) -> Signature:
    """X -> y, of the same type and shape."""
    return Signature({"x": spec(type, shape)}, {"y": spec(type, shape)})


@implementer(IModel)
class NumpyModel:
    """Methods of every kind, all of which answer what they are sent.

    Strings would come back as large as they went in: their lengths are answered.
    """

    refused: Mapping[str, str] = {}

    def __init__(self) -> None:
        lengths = spec("int64", (None,))
        self.signatures: dict[str, Signature] = {
            "numbers": echoing("float32", (None,)),
            "triples": echoing("float32", (None, 3)),
            "whole": echoing("float32", None),
            "ints": echoing("int32", None),
            "halves": echoing("bfloat16", None),
            "flags": echoing("bool", None),
            "direct": echoing("float32", (None,)),
            "texts": Signature({"x": spec("string", (None,))}, {"y": lengths}),
            "words": Signature({"x": spec("string", None)}, {"y": spec("int64", None)}),
        }
        self.stateful = {"direct": "it is to be called one by one"}

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """See :class:`~txinfer.interfaces.IModel`."""
        x = tensors["x"]
        if x.dtype != object:
            return {"y": x}
        lengths = np.fromiter(map(len, x.flat), np.int64, x.size)
        return {"y": lengths.reshape(x.shape)}

    def close(self) -> None:
        """Nothing is held."""


class DecodingModel(NumpyModel):
    """The same, but TensorFlow decodes what ``texts`` is sent, as users' models do."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        import tensorflow as tf

        from txinfer import savedmodel

        def brightness(data: Any) -> Any:
            image = tf.io.decode_image(data, 3, expand_animations=False)
            return tf.reduce_mean(tf.image.resize(image, (32, 32)))

        def texts(x: Any) -> Any:
            return {"y": tf.map_fn(brightness, x, fn_output_signature=tf.float32)}

        signature = tf.TensorSpec([None], tf.string, "x")
        function = tf.function(texts, input_signature=[signature])
        module = tf.Module()
        tf.saved_model.save(module, folder, signatures={"texts": function})
        self._images = savedmodel.load(folder, ("serve",))
        self.signatures["texts"] = self._images.signatures["texts"]

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """See :class:`~txinfer.interfaces.IModel`."""
        if name == "texts":
            return self._images.run(name, tensors)
        return super().run(name, tensors)


class Ticker(Resource):
    """How long the reactor was kept from its next turn, and the CPU time in that."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.stall = self.cpu = 0.0
        self._due = time.perf_counter()
        self._used = time.thread_time()
        self.tick()

    def tick(self) -> None:
        """Be called again and again."""
        now, used = time.perf_counter(), time.thread_time()
        self.stall = max(self.stall, now - self._due)
        self.cpu = max(self.cpu, used - self._used)
        self._due, self._used = now + TICK, used
        reactor.callLater(TICK, self.tick)

    def render(self, request: Any) -> bytes:
        """Tell, and begin anew."""
        told = json.dumps({"stall": self.stall, "cpu": self.cpu}).encode()
        self.stall = self.cpu = 0.0
        return told


def main() -> None:
    """Serve until the process is ended."""
    folder = tempfile.mkdtemp()

    def load() -> NumpyModel:
        return DecodingModel(folder) if "--tensorflow" in sys.argv else NumpyModel()

    service = InferenceService("memory", load=load, fetch=None, reactor=reactor)
    server = Server(service, ["tcp:0:interface=127.0.0.1"], reactor)
    serve_beside(server, Ticker())


if __name__ == "__main__":
    main()
