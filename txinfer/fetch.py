"""URL inputs: ``{"url": "https://…"}`` to bytes, from public addresses.

The bytes of a fetch come from a stranger, and so does the URL. Each of these
rules closes a door that a plain ``treq.get`` leaves open:

- addresses are checked when a name is resolved and once more when a connection
  stands (:mod:`txinfer.addresses`), for the first URL and for each redirect;
- redirects are followed here, one request each, since Twisted's
  ``RedirectAgent`` resolves the second relative one against the first URL
  (https://github.com/twisted/twisted/issues/8265) and leaves the connection of
  each redirect open, paused, with its body unread;
- a body comes as it is: ``Accept-Encoding: identity``, and an answer with a
  ``Content-Encoding`` is refused, as treq unzips without a bound;
- only a body whose end was announced and reached counts. One that is ended by
  closing the connection, as HTTP/1.0 does it, is refused: half an image would
  look like a whole one;
- a connection serves one request and is closed. Keeping it would save a
  handshake, and would let what was checked outlive its check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IHostnameResolver
from twisted.python.failure import Failure
from twisted.web.client import (
    BrowserLikePolicyForHTTPS,
    HostnameCachingHTTPSPolicy,
    ResponseFailed,
)
from twisted.web.iweb import IPolicyForHTTPS

from .addresses import AddressRules, parse_allow
from .errors import FetchFailed, clip
from .hop import Hop
from .limits import FetchLimits
from .lookup import ThreadedResolver

__all__ = ["FetchPolicy", "Fetcher", "parse_allow"]

# The redirects (RFC 9110, section 15.4); 300, 304 and 305 are none to follow.
REDIRECTS = frozenset({301, 302, 303, 307, 308})

DEFAULT_LIMITS = FetchLimits()

# A line of the log holds no more than this of one text, in characters.
SHOWN = 200


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
    """

    def __init__(
        self,
        reactor: Any,
        policy: FetchPolicy,
        resolver: IHostnameResolver | None = None,
        https: IPolicyForHTTPS | None = None,
    ) -> None:
        self._reactor = reactor
        self._limits = policy.limits
        self._rules = AddressRules.from_allow(policy.allow)
        self._look_ups = ThreadedResolver(reactor, self._limits.url_concurrent)
        self._resolver = resolver or self._look_ups
        # Reading the platform's roots takes tens of milliseconds: once a host.
        platform: Any = BrowserLikePolicyForHTTPS  # without annotations
        self._https = HostnameCachingHTTPSPolicy(https or platform())
        self._slots = DeferredSemaphore(self._limits.url_concurrent)
        self._running: set[Deferred[bytes]] = set()
        self._closed = False

    def fetch(self, url: str) -> Deferred[bytes]:
        """GET one URL.

        Returns:
            A Deferred that fires with the body, or fails with
            :class:`~txinfer.errors.FetchFailed`, whose text is for the log.
            Cancelling it ends the fetch, waiting or running, and closes its
            connections; it then fails with ``CancelledError``.

        Hosts that treq's URL parser cannot encode are refused, public or not:
        IPv6 literals, and names with an underscore.
        """
        running: Deferred[bytes] = self._slots.run(self._within_time, url)
        self._running.add(running)
        running.addBoth(self._no_longer, running)
        running.addErrback(_explain, url)
        return _detached(running)

    def close(self) -> None:
        """End all fetches, each with ``FetchFailed``, and take no more.

        Nothing is waited for: a look-up that hangs is left to its thread, which
        does not keep the process alive.
        """
        self._closed = True
        for running in list(self._running):
            running.cancel()
        self._look_ups.stop()

    def _no_longer(self, result: Any, running: Deferred[bytes]) -> Any:
        self._running.discard(running)
        return result

    def _within_time(self, url: str) -> Deferred[bytes]:
        def too_late(_: object, seconds: float) -> bytes:
            raise FetchFailed(f"not done within {seconds:g} seconds")

        if self._closed:
            raise FetchFailed("the fetcher is closed")
        body = Deferred.fromCoroutine(self._follow(url))
        return body.addTimeout(self._limits.url_timeout, self._reactor, too_late)

    async def _follow(self, url: str) -> bytes:
        for _ in range(self._limits.url_redirects + 1):
            hop = self._hop()
            try:
                response = await hop.get(url)
                if response.code not in REDIRECTS:
                    return await hop.body(response)
                url = _redirected(url, response)
            except Exception as error:
                raise FetchFailed(hop.refusal or _in_words(error)) from error
            finally:
                hop.abort()
        raise FetchFailed(f"more than {self._limits.url_redirects} redirects")

    def _hop(self) -> Hop:
        return Hop(
            self._reactor,
            self._limits.url_size,
            self._rules,
            self._resolver,
            self._https,
        )


def _redirected(url: str, response: Any) -> str:
    """The URL that a redirect from ``url`` leads to (RFC 9110, section 10.2.2)."""
    places: list[bytes] = response.headers.getRawHeaders(b"Location", [])
    if len(places) != 1:
        raise FetchFailed(f"a redirect with {len(places)} locations")
    return urljoin(url, places[0].decode("utf-8"))


def _explain(failure: Failure, url: str) -> bytes:
    """Name the URL; raises FetchFailed whatever it was that failed."""
    raise FetchFailed(f"{_shown(url)}: {_in_words(failure.value)}") from failure.value


def _in_words(error: BaseException | None) -> str:
    if isinstance(error, FetchFailed):
        return str(error)
    if isinstance(error, CancelledError):
        return "cancelled"
    if isinstance(error, ResponseFailed):
        reasons: list[Failure] = error.reasons
        return "; ".join(_in_words(reason.value) for reason in reasons)
    return f"{type(error).__name__} {clip(str(error), SHOWN)}"


def _shown(url: str) -> str:
    """A URL for the log: without its password and query, where secrets stand."""
    return clip(re.sub("//[^/#]*@", "//", url.partition("?")[0]), SHOWN)


def _detached(running: Deferred[bytes]) -> Deferred[bytes]:
    """A Deferred for the caller, who learns at once that it was cancelled.

    How the layers below report a cancelled step differs from layer to layer.
    """

    def cancel(answer: Deferred[bytes]) -> None:
        answer.errback(CancelledError())
        running.cancel()

    answer: Deferred[bytes] = Deferred(cancel)

    def pass_on(result: Any) -> None:
        if not answer.called:
            answer.callback(result)

    running.addBoth(pass_on)
    return answer
