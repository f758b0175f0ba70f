"""A server to be attacked: a model in memory, real sockets, a process of its own.

It prints a line with its port, and serves its gauges at a second one, which is
not attacked.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.web.resource import Resource

from tests.hostile.beside import serve_beside
from tests.hostile.calls import CALLS
from tests.hostile.cases import LIMITS, REQUEST_SIZE
from tests.memory import MemoryModel
from txinfer import CallLimits, InferenceService
from txinfer.limits import DoorLimits
from txinfer.server import Server

reactor: Any = global_reactor


class Gauges(Resource):
    """What the server holds."""

    isLeaf = True

    def __init__(self, attacked: Server) -> None:
        super().__init__()
        self.attacked = attacked

    def render(self, request: Any) -> bytes:
        site = self.attacked._site
        life = self.attacked.inference._life
        assert life is not None
        gauges = {
            "connections": len(site.channels),
            "bodies": site.held,
            "rows": life.collector.waiting.rows,
            "runs": life.collector.in_flight,
        }
        if request.path == b"/requests":
            gauges = {"requests": site.requests}
        return json.dumps(gauges).encode()


def main(folder: str) -> None:
    """Serve until the process is ended."""
    calls = CallLimits(request_size=REQUEST_SIZE, **CALLS)
    door = DoorLimits(**LIMITS)
    service = InferenceService(
        "memory", load=MemoryModel, limits=calls, static_path=folder, reactor=reactor
    )
    server = Server(service, ["tcp:0:interface=127.0.0.1"], reactor, door)
    serve_beside(server, Gauges(server))


if __name__ == "__main__":
    main(sys.argv[1])
