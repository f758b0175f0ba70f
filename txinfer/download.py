"""Files from web servers, which an operator has named and so trusts with that much."""

from __future__ import annotations

import hashlib
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, RedirectAgent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent

from .transfer import Failed, Stopped, TooMuch, Transfer

# A server that is silent for so long, in seconds, has forgotten about it.
STALL = 60.0

HEADERS = Headers({b"User-Agent": [b"txinfer"], b"Accept-Encoding": [b"identity"]})


def new_agent(reactor: Any) -> IAgent:
    """What downloads: it follows redirects, to anywhere."""
    agent: IAgent = RedirectAgent(Agent(reactor, connectTimeout=STALL))
    return agent


async def download(
    agent: IAgent, clock: IReactorTime, url: str, file: IO[bytes], transfer: Transfer
) -> str:
    """Write what is at a URL into a file.

    Args:
        agent: asks for it.
        clock: for the time that a server may be silent.
        url: of ``http`` or ``https``.
        file: is written to.
        transfer: is told how far it is.

    Returns:
        The SHA-256 of the bytes, in hexadecimal digits.

    Raises:
        Failed: the server did not answer, or not with the whole of it.
        TooMuch: it is more than ``transfer`` takes.
        Stopped: it was stopped.
    """
    try:
        response: Any = await agent.request(b"GET", url.encode("ascii"), HEADERS)
    except Exception as error:
        raise Failed(reason(error)) from error
    unknown = response.length is UNKNOWN_LENGTH
    try:
        if response.code != 200:
            raise Failed(f"the server answered {response.code}")
        transfer.expect(None if unknown else response.length)
    except (Failed, TooMuch):
        response.deliverBody(Unwanted())
        raise
    body = Body(file, transfer, clock)
    response.deliverBody(body)
    await body.whole
    return body.digest.hexdigest()


class Unwanted(Protocol):
    """Closes the connection: otherwise it would wait for somebody to read on."""

    def connectionMade(self) -> None:
        """Read nothing."""
        assert self.transport is not None
        self.transport.loseConnection()


class Body(Protocol):
    """Writes a body; ``whole`` fires once all of it is there."""

    def __init__(
        self, file: IO[bytes], transfer: Transfer, clock: IReactorTime
    ) -> None:
        self.digest = hashlib.sha256()
        self.whole: Deferred[None] = Deferred(lambda _: self._give_up(Stopped()))
        self._file = file
        self._transfer = transfer
        self._clock = clock
        self._why: Exception | None = None
        self._stall: IDelayedCall = clock.callLater(STALL, self._stalled)

    def dataReceived(self, data: bytes) -> None:
        """Write a part."""
        if self._why is not None:
            return
        self._stall.reset(STALL)
        try:
            self._transfer.count(len(data))
            self._file.write(data)
        except (OSError, Stopped, TooMuch) as error:
            self._give_up(error)
        self.digest.update(data)

    def connectionLost(self, failure: Failure = connectionDone) -> None:
        """It is all, or all that there will be."""
        if self._stall.active():
            self._stall.cancel()
        if self.whole.called:
            return
        if self._why is not None:
            self.whole.errback(self._why)
        elif failure.check(ResponseDone, PotentialDataLoss):
            # The latter if the server does not say how long it is.
            self.whole.callback(None)
        else:
            self.whole.errback(Failed(reason(failure.value)))

    def _stalled(self) -> None:
        self._give_up(Failed(f"nothing came for {STALL:.0f} s"))

    def _give_up(self, why: Exception) -> None:
        self._why = self._why or why
        assert self.transport is not None
        self.transport.loseConnection()


def reason(error: BaseException | None) -> str:
    """Why, in a few words; Twisted wraps it in several errors of its own."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return reason(reasons[0].value)
    inner = getattr(error, "subFailure", None)
    if inner is not None:
        return reason(inner.value)
    return " ".join(str(error).split()) or type(error).__name__
