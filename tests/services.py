"""Services on the real reactor, and clients for them in the same process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import attrs
import treq
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.memory import MemoryModel
from txinfer import InferenceService
from txinfer.interfaces import IModel

reactor: Any = global_reactor


def turn() -> Deferred[None]:
    """Let the reactor turn a few times."""
    return deferLater(reactor, 0.02, lambda: None)


async def until(condition: Callable[[], bool]) -> None:
    """Let the reactor turn until something is so."""
    for _ in range(250):
        if condition():
            return
        await turn()
    raise AssertionError("it never came to that")


class Remembering(Site):
    """A site that knows the connections it has had."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
        self.channels: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        self.channels.append(channel)
        return channel

    def is_quiet(self) -> bool:
        """Whether all connections are over; until then they have timers."""
        return not any(
            it._channel.transport is not None
            and getattr(it._channel.transport, "connected", False)
            for it in self.channels
        )


@attrs.define(eq=False)
class Listening:
    """A service's resource on a free port, with a client for it."""

    resource: Resource
    base: str = ""
    site: Any = None
    port: Any = None
    pool: Any = None

    def start(self) -> None:
        self.site = Remembering(self.resource)
        self.port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.base = f"http://127.0.0.1:{self.port.getHost().port}"
        self.pool = HTTPConnectionPool(reactor, persistent=False)

    def post(self, path: str, value: object) -> Deferred[Any]:
        agent = Agent(reactor, pool=self.pool)
        return cast(
            "Deferred[Any]", treq.post(self.base + path, json=value, agent=agent)
        )

    async def ask(self, path: str, value: object) -> tuple[int, Any]:
        response = await self.post(path, value)
        return response.code, await response.json()

    async def look(self, path: str) -> tuple[int, Any]:
        response = await treq.get(self.base + path, pool=self.pool)
        return response.code, await response.json()

    async def stop(self) -> None:
        # Twisted's own channel hears that a client is gone only when it answers.
        await turn()
        await self.port.stopListening()
        await self.pool.closeCachedConnections()
        # The other ends hear of it in their own time.
        await until(self.site.is_quiet)


class ServiceCase(TestCase):
    """Tests that start services; each is stopped at the end."""

    timeout = 20

    async def started(
        self, model: IModel | None = None, **options: Any
    ) -> InferenceService:
        # However many processors there are, one run comes after the other.
        options.setdefault("threads", 1)
        service = InferenceService(
            "memory", load=lambda: model or MemoryModel(), reactor=reactor, **options
        )
        service.startService()
        self.addCleanup(service.stopService)
        await service.when_ready()
        return service

    async def listening(self, resource: Resource) -> Listening:
        listening = Listening(resource)
        listening.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(listening.stop()))
        return listening

    async def fails(self, kind: type[BaseException], call: Awaitable[Any]) -> str:
        try:
            await call
        except kind as error:
            return str(error)
        raise AssertionError(f"no {kind.__name__}")
