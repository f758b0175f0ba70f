"""Requests of the server's own, so that no client's is the first.

What is done for the first time takes longer: Python compiles and specialises, caches
are empty, threads begin. A request that comes in over a connection that leads nowhere
goes all the way that others go, from the channel to the model and back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .describe import sample_values
from .interfaces import IMethod
from .protocols.addressed import SEGMENT
from .protocols.native import DEFAULT_METHOD
from .site import BoundedSite
from .values import dumps
from .web import Root

# CPython 3.11 and later specialise a function's code after eight calls of it. For a
# model that takes its time that does not matter: it is called as often as it can be
# in so many seconds. Each head comes twice, for the first request of a client is parsed
# and the next is known.
TIMES = 20
SECONDS = 0.1

# The methods of a model have nearly all that is theirs from its warm-up.
MOST_METHODS = 16

# Seconds that it is worth: a model that hangs must not keep the others from serving.
PATIENCE = 10.0

log = Logger()


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Nowhere:
    """The transport of a connection that leads nowhere."""

    disconnecting = False

    def write(self, data: bytes) -> None:
        """Forget the bytes."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Forget the bytes."""

    def loseConnection(self) -> None:
        """There is none."""

    loseWriteConnection = abortConnection = loseConnection
    pauseProducing = resumeProducing = stopProducing = unregisterProducer = (
        loseConnection
    )

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """There is always room."""

    def getPeer(self) -> IPv4Address:
        """Somebody on this machine."""
        return IPv4Address("TCP", "127.0.0.1", 0)

    getHost = getPeer

    def getTcpNoDelay(self) -> bool:
        """Nothing is delayed."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""

    def getTcpKeepAlive(self) -> bool:
        """It lives for as long as it is needed."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """It lives for as long as it is needed."""


async def rehearse(
    root: Root,
    models: Iterable[tuple[str, Iterable[IMethod]]],
    batch_transpose: bool,
    request_size: int,
    reactor: Any,
    seconds: float = SECONDS,
) -> None:
    """Call the methods of all models over HTTP, a few times each.

    Args:
        root: the HTTP interface; nobody else should be told of its requests.
        models: their names and methods.
        batch_transpose: whether an object is always one example.
        request_size: the largest request body, in bytes.
        reactor: the reactor.
        seconds: how long each method may be called more than once.

    Nothing fails, whatever is answered; and nobody waits for it longer than it
    is worth.
    """
    site = BoundedSite(root, body_limit=request_size, reactor=reactor)
    channel: Any = site.buildProtocol(None)
    channel.makeConnection(Nowhere())
    answered: list[Deferred[None]] = []

    def on_answer(*_: object) -> None:
        if answered:
            # The channel is in the middle of it.
            reactor.callLater(0, answered.pop().callback, None)

    site.on_answer = on_answer
    until = reactor.seconds() + PATIENCE
    try:
        for request in _requests(models, batch_transpose, request_size):
            enough = reactor.seconds() + seconds
            for number in range(TIMES):
                done: Deferred[None] = Deferred()
                done.addTimeout(max(until - reactor.seconds(), 0), reactor)
                answered.append(done)
                channel.dataReceived(request % (number // 2))
                await done
                if reactor.seconds() > enough:
                    break
    except TimeoutError:
        log.warn("The server's own requests were not answered in time")
    finally:
        site.on_answer = None
        channel.connectionLost(Failure(ConnectionDone()))


def _requests(
    models: Iterable[tuple[str, Iterable[IMethod]]], batch_transpose: bool, most: int
) -> Iterable[bytes]:
    for model, methods in models:
        for method in list(methods)[:MOST_METHODS]:
            if method.sample is None or method.stateful is not None:
                continue
            body = dumps(sample_values(method, method.sample, batch_transpose))
            if len(body) > most:
                continue
            name = "" if method.name == DEFAULT_METHOD else quote(method.name)
            yield _request(f"/{SEGMENT}/{model}/{name}", body)


def _request(target: str, body: bytes) -> bytes:
    """A request but for its number, which is to be put in."""
    head = (
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nX-Request-Id: " % (target.encode(), len(body))
    )
    return head.replace(b"%", b"%%") + b"%d\r\n\r\n" + body.replace(b"%", b"%%")
