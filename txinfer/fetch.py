"""URL inputs: ``{"url": "https://…"}`` to bytes, from public addresses.

The bytes of a fetch come from a stranger, and so does the URL. Each of these
rules closes a door that a plain ``treq.get`` leaves open:

- addresses are checked when a name is resolved and once more when a connection
  stands (:mod:`txinfer.addresses`), for the first URL and for each redirect;
- a body comes as it is: ``Accept-Encoding: identity``, and an answer with a
  ``Content-Encoding`` is refused, as treq unzips without a bound;
- only a body whose end was announced and reached counts. One that is ended by
  closing the connection, as HTTP/1.0 does it, is refused: half an image would
  look like a whole one;
- a connection serves one request and is closed. Keeping it would save a
  handshake, and would let what was checked outlive its check;
- a failure is told when the time for the fetch is over and no earlier, whatever
  it was: how fast it comes would tell a closed port from one that is filtered,
  and a host that exists from one that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import ceil
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.iweb import IPolicyForHTTPS

from .addresses import AddressRules, parse_allow
from .chain import Chain, shown
from .errand import Errand
from .errors import FetchFailed, Unavailable
from .limits import FetchLimits
from .lookup import ThreadedResolver
from .observe import NOBODY, Fetched, IObserver
from .quota import LogQuota
from .trust import PlatformPolicy
from .turns import Turns

__all__ = ["FetchPolicy", "Fetcher", "parse_allow"]

DEFAULT_LIMITS = FetchLimits()

# Threads for look-ups, for each fetch under way. One that hangs outlives its
# fetch: getaddrinfo asks three name servers twice, for 5 s each (resolv.conf(5)).
# With the default time for a fetch that is three times as long.
LOOK_UPS = 4


def _as_tuple(allow: Iterable[str]) -> tuple[str, ...]:
    return tuple(allow)


def _each_readable(_: object, __: object, allow: tuple[str, ...]) -> None:
    for text in allow:
        parse_allow(text)


@attrs.frozen
class FetchPolicy:
    """Where fetches may lead and how far; ValueError if a rule makes no sense.

    Args:
        allow: hosts, addresses and ranges that are admitted although they are
            not public; each as :func:`~txinfer.addresses.parse_allow` reads it.
        limits: the bounds of each fetch.
    """

    allow: tuple[str, ...] = attrs.field(
        default=(), converter=_as_tuple, validator=_each_readable
    )
    limits: FetchLimits = DEFAULT_LIMITS


class Fetcher:
    """Fetches URLs within a policy. Reactor thread only.

    Args:
        reactor: connects (``IReactorTCP``), keeps the time (``IReactorTime``)
            and, for the default resolver, takes calls from threads.
        policy: the bounds of each fetch.
        resolver: asked for the addresses of a host, literal ones included; by
            default ``getaddrinfo`` in threads of this fetcher's own.
        https: who is trusted; by default the platform's trust roots.
        observer: is told what became of each fetch, when it is known here.
    """

    def __init__(
        self,
        reactor: Any,
        policy: FetchPolicy,
        resolver: IHostnameResolver | None = None,
        https: IPolicyForHTTPS | None = None,
        observer: IObserver = NOBODY,
    ) -> None:
        self._reactor = reactor
        self._limits = policy.limits
        self._rules = AddressRules.from_allow(policy.allow)
        threads = LOOK_UPS * self._limits.url_concurrent
        self._look_ups = ThreadedResolver(reactor, threads)
        self._resolver = resolver or self._look_ups
        self._https = https or PlatformPolicy()
        self._observer = observer
        self._turns = Turns(reactor, self._limits.url_concurrent)
        self._log = LogQuota(Logger("txinfer.fetch"), reactor)
        self._errands: set[Errand] = set()
        self._closed = False

    def fetch(
        self, urls: Sequence[str], client: str = "", most: int | None = None
    ) -> Deferred[list[bytes]]:
        """GET URLs, all at the same time as far as there are turns.

        Args:
            urls: what is wanted; at least one, and none of them twice.
            client: for whom; clients take turns.
            most: how many bytes all bodies may have together; ``url_memory`` at
                most, and by default.

        Returns:
            A Deferred that fires with the bodies, in the order of the URLs, or
            fails: with :class:`~txinfer.errors.FetchFailed`, ``url_timeout``
            seconds after the turn of a URL that could not be fetched; with
            :class:`~txinfer.errors.Unavailable` if a URL has had no turn in that
            time, or too much is held for requests that still wait; with
            :class:`~txinfer.errors.BodiesTooLarge`. Cancelling it ends all its
            fetches, waiting or running, and closes their connections.

        Hosts that treq's URL parser cannot encode are refused, public or not:
        IPv6 literals, and names with an underscore.
        """
        if self._closed:
            return fail(FetchFailed("the fetcher is closed", "cancelled"))
        limit = self._limits.url_memory
        errand = Errand(len(urls), limit if most is None else min(most, limit))
        self._errands.add(errand)
        errand.answer.addBoth(self._no_longer, errand)
        for position, url in enumerate(urls):
            fetched = Deferred.fromCoroutine(self._fetch(errand, position, url, client))
            errand.fetches.append(
                fetched.addCallbacks(
                    partial(self._arrived, errand, position), errand.fail
                )
            )
        return errand.answer

    def close(self) -> None:
        """End all fetches, each with ``FetchFailed``, and take no more.

        Nothing is waited for: a look-up that hangs is left to its thread, which
        does not keep the process alive.
        """
        self._closed = True
        for errand in list(self._errands):
            errand.fail(FetchFailed("the fetcher is closed", "cancelled"))
        self._look_ups.stop()
        self._log.close()

    def _no_longer(self, result: Any, errand: Errand) -> Any:
        self._errands.discard(errand)
        return result

    async def _fetch(
        self, errand: Errand, position: int, url: str, client: str
    ) -> bytes:
        """One body, or the FetchFailed that the client may hear of, when it may."""
        seconds = self._limits.url_timeout
        await self._turns.take(client).addTimeout(seconds, self._reactor, _no_turn)
        due = self._reactor.seconds() + seconds
        try:
            got = await self._attempt(errand, url)
        finally:
            self._turns.give_back()
        if isinstance(got, bytes):
            return got
        got.position = position
        errand.spoil(got)
        left = due - self._reactor.seconds()
        if left > 0 and not errand.is_over:
            await deferLater(self._reactor, left)
        raise errand.failure or got

    async def _attempt(self, errand: Errand, url: str) -> bytes | FetchFailed:
        """One body, or why not; logged and counted.

        The error is returned and not raised: what is raised keeps all that was
        read alive until it is forgotten.
        """
        started = self._reactor.seconds()
        chain = Chain(
            self._reactor, self._limits, self._rules, self._resolver, self._https
        )
        got: bytes | FetchFailed
        try:
            got = await Deferred.fromCoroutine(chain.get(url)).addTimeout(
                self._limits.url_timeout, self._reactor, _too_late
            )
            outcome = Fetched.DONE
        except FetchFailed as error:
            # How the layers below report that they were cancelled differs.
            kind = "cancelled" if errand.is_over else error.outcome
            got = FetchFailed(f"{shown(url)}: {error}", kind)
            outcome = Fetched(kind)
            self._tell(got)
        self._observer.fetched(outcome, self._reactor.seconds() - started, chain.size)
        return got

    def _tell(self, failed: FetchFailed) -> None:
        if failed.outcome != "cancelled":
            self._log.info(
                "A URL was not fetched ({outcome}): {why}",
                outcome=failed.outcome,
                why=str(failed),
            )

    def _arrived(self, errand: Errand, position: int, body: bytes) -> None:
        """Take a body in; if all requests hold too much, drop who holds most."""
        errand.put(position, body)
        while sum(each.held for each in self._errands) > self._limits.url_memory:
            max(self._errands, key=lambda each: each.held).fail(_too_much(1))


def _too_late(_: object, seconds: float) -> bytes:
    raise FetchFailed(f"not done within {seconds:g} seconds", "timeout")


def _no_turn(_: object, seconds: float) -> None:
    raise _too_much(ceil(seconds))


def _too_much(retry_after: int) -> Unavailable:
    return Unavailable("too many URLs are being fetched", retry_after)
