"""A server whose model waits instead of computing, as for a processor of its own.

    python -m benchmarks.device --model .bench/models/tiny-1/model --port 8080

It is ``txinfer serve`` with all its options, but y = 2x + 1 whatever the model. What
a run takes is known, and other work of the machine hardly makes it more. TensorFlow
is not imported.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from zope.interface import implementer

from txinfer.interfaces import IModel
from txinfer.tap import Options, makeService
from txinfer.tensors import Signature, Tensors, TensorSpec

from . import models
from .places import environment, free_port, module
from .process import Server


class DeviceOptions(Options):
    """Those of the server, and what the model takes."""

    optParameters: ClassVar = [
        ["run_ms", None, 2.0, "Milliseconds of a run.", float],
        ["row_ms", None, 1.0, "Milliseconds of a row besides.", float],
        ["stall_ms", None, 0.0, "Milliseconds more for some rows.", float],
    ]


@implementer(IModel)
class Device:
    """A model that sleeps.

    Args:
        run_seconds: for each run.
        row_seconds: for each of its rows besides.
        stall_seconds: for a run with a row that :data:`STALLING` divides.
    """

    def __init__(
        self, run_seconds: float, row_seconds: float, stall_seconds: float = 0.0
    ) -> None:
        spec = TensorSpec("float32", np.dtype("float32"), (None,))
        self.signatures = {"serving_default": Signature({"x": spec}, {"y": spec})}
        self.stateful: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._run_seconds = run_seconds
        self._row_seconds = row_seconds
        self._stall_seconds = stall_seconds

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """Give 2x + 1 when it is time."""
        x = tensors["x"]
        stalls = bool((x % models.STALLING == 0).any())
        seconds = self._run_seconds + self._row_seconds * len(x)
        time.sleep(seconds + self._stall_seconds * stalls)
        return {"y": 2 * x + 1}

    def close(self) -> None:
        """It holds nothing."""


def serve(
    run_ms: float, row_ms: float, stall_ms: float = 0.0, options: Sequence[str] = ()
) -> Server:
    """Start a server of the model in a process."""
    port = free_port()
    command = module("benchmarks.device", f"--model={models.path('tiny')}")
    command += [f"--run_ms={run_ms}", f"--row_ms={row_ms}", f"--stall_ms={stall_ms}"]
    command += [f"--port={port}", *options]
    return Server("device", command, port, environment())


def main(arguments: Sequence[str]) -> None:
    """Serve until SIGTERM."""
    from twisted.internet import reactor as global_reactor
    from twisted.python.log import startLogging

    options = DeviceOptions()
    options.parseOptions(arguments)
    startLogging(sys.stdout)
    costs = [options[name] / 1e3 for name in ("run_ms", "row_ms", "stall_ms")]
    device = Device(*costs)
    # As :func:`txinfer.quiet.load_quietly` does it.
    gc.freeze()
    service = makeService(options, load_folder=lambda *_: device)
    service.privilegedStartService()
    service.startService()
    reactor: Any = global_reactor
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
