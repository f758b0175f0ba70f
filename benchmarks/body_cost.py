"""What calls with large bodies cost the reactor thread, over real connections.

    python -m benchmarks.body_cost

A server in this process, whose model answers at once, and clients in another that
send an array of 307 KB each, over and over. Only what the reactor thread does is
measured, the kernel's part of it too. The figures are in microseconds of one call,
of the cheapest of some stretches; other work of the machine makes them more.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from txinfer.interfaces import IModel
from txinfer.npy import write_npy
from txinfer.readers import gather
from txinfer.service import InferenceService
from txinfer.site import BoundedSite
from txinfer.tensors import Signature, Tensors, TensorSpec

from .places import module

CLIENTS = 4

# Stretches that are measured, and seconds of each; the first is to warm up.
STRETCHES = 8
SECONDS = 0.4

reactor: Any = global_reactor


class Kind(NamedTuple):
    """What is sent.

    Args:
        shape: of the array.
        type: what its head says that it is.
        more: what else a head says, by the number of the call.
    """

    shape: tuple[int, ...] = (160, 160, 3)
    type: str = "application/x-npy"
    more: Callable[[int], str] = lambda number: ""


KINDS = {
    "one number": Kind((1, 1, 1)),
    "an array": Kind(),
    "heads of their own": Kind(more=lambda number: f"X-Number: {number:08}\r\n"),
    # Which only the long way understands.
    "other words for it": Kind(type="application/x-npy; charset=binary"),
}


@implementer(IModel)
class Same:
    """A model that gives the same for each row."""

    def __init__(self) -> None:
        dtype = np.dtype("float32")
        x = TensorSpec("float32", dtype, (None, None, None, None))
        y = TensorSpec("float32", dtype, (None, 10))
        self.signatures = {"serving_default": Signature({"x": x}, {"y": y})}
        self.stateful: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """Answer at once."""
        return {"y": np.ones((len(tensors["x"]), 10), np.float32)}

    def close(self) -> None:
        """It holds nothing."""


def requests(kind: str) -> Iterator[bytes]:
    """One request after the other."""
    shape, media_type, more = KINDS[kind]
    body = write_npy(np.ones(shape, np.float32))
    for number in count():
        head = (
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
            f"Accept: application/x-npy\r\n{more(number)}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


def ask(port: int, kind: str) -> None:
    """Be a client until the server is gone."""
    with socket.create_connection(("127.0.0.1", port)) as wire:
        for request in requests(kind):
            wire.sendall(request)
            # Answers are small: they come as a whole.
            if not wire.recv(65536).startswith(b"HTTP/1.1 200"):
                return


async def measure(site: BoundedSite, port: int, kind: str) -> float:
    """Microseconds of the reactor thread a call."""
    command = module("benchmarks.body_cost", str(port), kind)
    with subprocess.Popen(command) as clients:
        costs = []
        for _ in range(STRETCHES):
            before, began = site.requests, time.thread_time()
            await _later(SECONDS)
            spent = time.thread_time() - began
            costs.append(spent / max(1, site.requests - before))
        clients.terminate()
    return min(costs[1:]) * 1e6


async def compare(site: BoundedSite, port: int) -> None:
    """Print the table."""
    print("calls with          us")
    for kind in KINDS:
        print(f"{kind:18} {await measure(site, port, kind):4.0f}")


def _later(seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting


def main(arguments: list[str]) -> None:
    """Measure, or be the clients."""
    if arguments:
        port, kind = arguments
        for _ in range(CLIENTS):
            threading.Thread(target=ask, args=(int(port), kind)).start()
        return
    service = InferenceService("same", load=Same, reactor=reactor)
    service.startService()
    site = BoundedSite(service.resource(), reactor=reactor)
    listening = reactor.listenTCP(0, site, interface="127.0.0.1")
    gather(listening, reactor)

    async def run() -> None:
        await service.when_ready()
        await compare(site, listening.getHost().port)
        await service.stopService()

    done = Deferred.fromCoroutine(run())
    done.addErrback(lambda failure: failure.printTraceback())
    done.addBoth(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
