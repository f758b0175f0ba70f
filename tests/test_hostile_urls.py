"""Every hostile URL and server of the tables, on sockets of this machine.

No denied address is ever connected to, every fetch ends when its time is over at
the latest, and nobody else notices. The time is a clock's; all else is real.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.hostile_urls import ANSWERS, NAMES, SPELLINGS, Served, whole
from tests.memory import AFFINE, MemoryModel, spec
from tests.services import ServiceCase
from txinfer.errors import FetchFailed
from txinfer.fetch import Fetcher, FetchPolicy
from txinfer.limits import FetchLimits
from txinfer.lookup import ThreadedResolver
from txinfer.observe import Fetched, NullObserver
from txinfer.tensors import Signature

reactor: Any = global_reactor

# The stand-in for the public internet.
OUTSIDE = "127.0.0.3"
SECONDS = 10
LIMITS = FetchLimits(url_size=100_000, url_timeout=SECONDS, url_redirects=3)

# A test of each case of a table, made by Tabled.
Check = Callable[[Any, Any], Coroutine[Any, Any, None]]


def each(cases: Mapping[str, object]) -> Callable[[Check], Check]:
    """Have a check done for each of the cases, as a test of the case's name."""

    def marked(check: Check) -> Check:
        vars(check)["cases"] = cases
        return check

    return marked


class Tabled(TestCase):
    def __init_subclass__(cls) -> None:
        for rule, check in list(vars(cls).items()):
            for name, case in getattr(check, "cases", {}).items():
                setattr(cls, f"test_{rule} [{name}]", cls.made(check, case))

    @staticmethod
    def made(check: Check, case: object) -> Callable[[Any], Any]:
        return lambda self: check(self, case)


class Timed:
    """The reactor, with the time of a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.seconds = self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Inside(Protocol):
    """Is never to be connected to."""

    def connectionMade(self) -> None:
        self.factory.count += 1

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(whole(b"secret"))  # type: ignore[union-attr]


class Counting(Factory):
    noisy = False
    protocol = Inside
    count = 0


class Hostile(Protocol):
    """Does what its factory has for it, once it has been asked."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        self.factory.count += 1
        self.asked = b""
        self.drip: LoopingCall | None = None

    def dataReceived(self, data: bytes) -> None:
        self.asked += data
        if self.asked.endswith(b"\r\n\r\n"):
            self.answer(self.factory.served)
            self.factory.asked.callback(None)
            self.factory.asked = Deferred()

    def answer(self, served: Served) -> None:
        if served.drips:
            left = list(served.said)
            self.drip = LoopingCall(lambda: self.transport.write(bytes([left.pop(0)])))
            self.drip.clock = self.factory.clock
            self.drip.start(1)
            return
        self.transport.write(served.said)
        if served.more:
            self.transport.registerProducer(self, False)
        if served.then == "closes":
            self.transport.loseConnection()
        if served.then == "resets":
            self.transport.abortConnection()

    def resumeProducing(self) -> None:
        self.transport.write(self.factory.served.more)

    def stopProducing(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.drip is not None:
            self.drip.stop()
        self.factory.lost.callback(None)
        self.factory.lost = Deferred()


class Servers(Factory):
    """``asked`` and ``lost`` fire at the next request, and the next connection lost."""

    noisy = False
    protocol = Hostile

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.url = ""
        self.count = 0
        self.served = Served(whole(b"body"))
        self.asked: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()


class Told(NullObserver):
    """``outcome`` fires with what became of the fetch."""

    def __init__(self) -> None:
        self.outcome: Deferred[str] = Deferred()

    def fetched(self, outcome: Fetched, seconds: float, size: int) -> None:
        self.outcome.callback(outcome.value)


@implementer(IHostnameResolver)
@attrs.define(eq=False)
class Names:
    """The system's own reading of numbers; of names, only what a table says.

    The table has a list of answers for each name, the last one last.
    """

    real: IHostnameResolver
    table: dict[str, list[Sequence[str]]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.asked.append(hostName)
        if self._is_local(hostName):
            return self.real.resolveHostName(resolutionReceiver, hostName, portNumber)
        answers = self.table.get(hostName, [()])
        for host in answers.pop(0) if len(answers) > 1 else answers[0]:
            kind = IPv6Address if ":" in host else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return None

    def _is_local(self, host: str) -> bool:
        """Whether it is answered without asking another machine."""
        if host.lower().rstrip(".") in ("localhost", socket.gethostname().lower()):
            return True
        try:
            socket.getaddrinfo(host, 0, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return False
        return True


class HostileCase(Tabled):
    """A fetcher, a listener that it may connect to, and one that it may not."""

    timeout = 30

    def setUp(self) -> None:
        self.time = Timed()
        self.inside = Counting()
        self.p = self.everywhere(self.inside)
        self.outside = Servers(self.time.clock)
        self.q = self.listen(self.outside, OUTSIDE)
        self.told = Told()
        real = ThreadedResolver(reactor, 1)
        self.addCleanup(real.stop)
        self.names = Names(real)
        self.fetcher = Fetcher(
            self.time,
            FetchPolicy((f"{OUTSIDE}/32",), LIMITS),
            self.names,
            observer=self.told,
        )
        self.addCleanup(self.fetcher.close)

    def listen(self, factory: Factory, interface: str) -> int:
        port = reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def everywhere(self, factory: Factory) -> int:
        try:
            return self.listen(factory, "::")
        except CannotListenError:
            return self.listen(factory, "0.0.0.0")

    def spelt(self, url: str) -> str:
        p = str(self.p)
        return url.format(
            p=p,
            q=self.q,
            hostname=socket.gethostname(),
            full_width_p=p.translate({48 + n: 0xFF10 + n for n in range(10)}),
            p_past_16_bits=self.p + 65536,
        )

    def fetch(self, url: str) -> Deferred[list[bytes]]:
        fetched = self.fetcher.fetch([url])
        # Its turn comes with the reactor's next.
        self.time.clock.advance(0)
        return fetched

    async def outcome(self, url: str) -> str:
        """What becomes of a fetch that ends by itself, and fails."""
        results: list[Any] = []
        self.fetch(url).addBoth(results.append)
        outcome = await self.told.outcome
        await deferLater(reactor, 0)
        # Nobody hears of it now,
        assert results == []
        self.time.clock.advance(SECONDS)
        # but now, and that it failed is all.
        [failure] = results
        failure.trap(FetchFailed)
        return outcome

    def assert_untouched(self) -> None:
        assert self.inside.count == 0


class SpellingTests(HostileCase):
    @each(SPELLINGS)
    async def a_spelling_is_not_connected_to(self, url: str) -> None:
        assert await self.outcome(self.spelt(url)) in ("denied", "failed")
        self.assert_untouched()
        assert self.outside.count == 0

    @each({name: url for name, url in SPELLINGS.items() if url.isprintable()})
    async def a_redirect_to_a_spelling_is_not_followed(self, url: str) -> None:
        location = self.spelt(url).encode()
        self.outside.served = Served(
            b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
            % location
        )
        start = f"http://{OUTSIDE}:{self.q}/"
        assert await self.outcome(start) in ("denied", "failed")
        self.assert_untouched()
        # Some lead back to where they came from.
        assert self.outside.count <= LIMITS.url_redirects + 1


class NameTests(HostileCase):
    def called(self, *answers: Sequence[str]) -> None:
        self.names.table["name.example"] = list(answers)

    @each(NAMES)
    async def an_answer_is_not_connected_to(self, answers: Sequence[str]) -> None:
        for port in (self.p, self.q):
            self.called(answers)
            wanted = "denied" if answers else "failed"
            self.told.outcome = Deferred()
            assert await self.outcome(f"http://name.example:{port}/") == wanted
        self.assert_untouched()
        assert self.outside.count == 0

    async def test_what_was_checked_is_what_is_connected_to(self) -> None:
        self.called([OUTSIDE], ["127.0.0.2"])
        fetched = self.fetch(f"http://name.example:{self.q}/")
        assert await fetched == [b"body"]
        assert self.names.asked == ["name.example"]
        self.assert_untouched()

    async def test_a_name_is_checked_again_after_each_redirect(self) -> None:
        self.outside.served = Served(
            b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
        )
        for answers in (
            [[OUTSIDE], ["127.0.0.2"]],
            [[OUTSIDE], [OUTSIDE], ["127.0.0.2"]],
            [[OUTSIDE], [OUTSIDE, "127.0.0.2"]],
            [[OUTSIDE], ["::1"]],
        ):
            self.called(*answers)
            self.told.outcome = Deferred()
            outcome = await self.outcome(f"http://name.example:{self.q}/")
            assert outcome == "denied"
        self.assert_untouched()
        assert self.outside.count == 5


class AnswerTests(HostileCase):
    @each(ANSWERS)
    async def an_answer_is_stood(self, served: Served) -> None:
        self.outside.served = served
        asked, lost = self.outside.asked, self.outside.lost
        url = f"http://{OUTSIDE}:{self.q}/"
        if served.body is not None:
            assert await self.fetch(url) == [served.body]
        elif served.ends == "timeout":
            await self.stopped_in_time(url, asked)
        else:
            assert await self.outcome(url) == served.ends
        await lost
        self.assert_untouched()

    async def stopped_in_time(self, url: str, asked: Deferred[None]) -> None:
        results: list[Any] = []
        self.fetch(url).addBoth(results.append)
        await asked
        for _ in range(SECONDS - 1):
            self.time.clock.advance(1)
            # What drips is on its way.
            await deferLater(reactor, 0)
        assert results == []
        assert not self.told.outcome.called
        self.time.clock.advance(1)
        [failure] = results
        failure.trap(FetchFailed)
        assert await self.told.outcome == "timeout"

    async def test_a_server_that_speaks_no_tls_is_no_https(self) -> None:
        for served, outcome in (
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "failed"),
            (b"\x16\x03\x01" + b"\xff" * 5, "failed"),
        ):
            self.outside.served = Served(served, then="closes")
            self.told.outcome = Deferred()
            self.outside.protocol = Blunt
            assert await self.outcome(f"https://{OUTSIDE}:{self.q}/") == outcome


class Blunt(Hostile):
    """Answers the first byte."""

    def dataReceived(self, data: bytes) -> None:
        self.answer(self.factory.served)


SIZES = Signature(inputs={"image": spec("string")}, outputs={"size": spec("int64")})


def model() -> MemoryModel:
    """Sizes of bytes, and numbers."""
    return MemoryModel(
        {"sizes": SIZES, "numbers": AFFINE},
        {"sizes": lambda t: {"size": np.array([*map(len, t["image"])], np.int64)}},
    )


class OthersTests(ServiceCase):
    """Over HTTP, with the time that it takes."""

    async def served(self, **limits: Any) -> Any:
        policy = FetchPolicy((f"{OUTSIDE}/32",), FetchLimits(**limits))
        service = await self.started(model(), fetch=policy)
        return await self.listening(service.resource())

    def listen(self, served: Served) -> Servers:
        servers = Servers(reactor)
        servers.served = served
        port = reactor.listenTCP(0, servers, interface=OUTSIDE)
        self.addCleanup(port.stopListening)
        servers.url = f"http://{OUTSIDE}:{port.getHost().port}/"
        return servers

    async def test_others_are_answered_while_all_fetches_hang(self) -> None:
        site = await self.served(url_concurrent=2)
        hung = self.listen(Served())
        asked = hung.asked
        urls = [{"url": f"{hung.url}{n}"} for n in range(10)]
        answers: list[Any] = []
        waiting = [site.post("/sizes", {"image": urls}) for _ in range(5)]
        for call in waiting:
            call.addBoth(answers.append)
        await asked
        assert await site.ask("/numbers", {"x": [1]}) == (200, {"y": [3]})
        assert await site.ask("/sizes", {"image": ["abc"]}) == (200, {"size": [3]})
        assert answers == []
        for call in waiting:
            call.cancel()

    async def test_all_failures_have_the_same_answer(self) -> None:
        site = await self.served(url_timeout=0.2, url_size=1000)
        kinds = ("silence", "not found", "nothing", "a reset", "endless headers")
        urls = [
            "http://127.0.0.2/",
            "http://[::1]/",
            "file:///etc/passwd",
            "",
            # Nobody listens at the first port.
            f"http://{OUTSIDE}:1/",
            *(self.listen(ANSWERS[kind]).url for kind in kinds),
        ]
        answers = set()
        for url in urls:
            response = await site.post("/sizes", {"image": ["abc", {"url": url}]})
            fields = tuple(
                (name, tuple(values))
                for name, values in sorted(response.headers.getAllRawHeaders())
                if name not in (b"Date", b"X-Request-Id")
            )
            answers.add((response.code, fields, await response.content()))
        [(status, _, body)] = answers
        assert status == 400
        assert body == b'{"error":"input \'image\'[1]: the URL could not be fetched"}'
