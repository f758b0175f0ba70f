"""A server in a process of its own, and beside it a port that tells of it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from txinfer.server import Server

reactor: Any = global_reactor


def serve_beside(server: Server, teller: Resource) -> None:
    """Serve both on loopback until the process is ended, and print their ports.

    Args:
        server: has one port, of number 0.
        teller: what the second port answers with; it is not attacked.
    """
    server.privilegedStartService()
    server.startService()
    site: Any = Site(teller)
    side = reactor.listenTCP(0, site, interface="127.0.0.1")
    (port,) = server._ports
    at: Any = port.getHost()

    def tell(_: None) -> None:
        print(at.port, side.getHost().port, flush=True)

    server.inference.when_ready().addCallback(tell)
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)
    reactor.run()
