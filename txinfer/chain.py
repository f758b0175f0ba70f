"""From a URL through its redirects to a body, and in words why not.

Redirects are followed here, one request each, since Twisted's ``RedirectAgent``
resolves the second relative one against the first URL
(https://github.com/twisted/twisted/issues/8265) and leaves the connection of
each redirect open, paused, with its body unread.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import attrs
from twisted.internet.interfaces import IHostnameResolver
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.iweb import IPolicyForHTTPS

from .addresses import AddressRules
from .connection import Control
from .errors import FetchFailed, clip
from .hop import Hop
from .limits import FetchLimits

# The redirects (RFC 9110, section 15.4); 300, 304 and 305 are none to follow.
REDIRECTS = frozenset({301, 302, 303, 307, 308})

# A line of the log holds no more than this of one text, in characters.
SHOWN = 200


@attrs.define(eq=False)
class Chain:
    """One fetch: hop after hop. Reactor thread only.

    Args:
        reactor: connects and keeps the time.
        limits: how far it goes.
        rules: which addresses are admitted.
        resolver: asked for the addresses of each host.
        https: who is trusted.

    ``size`` counts the bytes that came of the last body.
    """

    _reactor: Any
    _limits: FetchLimits
    _rules: AddressRules
    _resolver: IHostnameResolver
    _https: IPolicyForHTTPS
    size: int = attrs.field(default=0, init=False)

    async def get(self, url: str) -> bytes:
        """GET a URL; raises FetchFailed, and nothing else, if that fails."""
        for _ in range(self._limits.url_redirects + 1):
            control = Control(self._limits.url_size, self._rules)
            hop = Hop(self._reactor, control, self._resolver, self._https)
            try:
                response = await hop.get(url)
                if response.code not in REDIRECTS:
                    return await hop.body(response)
                url = _redirected(url, response)
            except Exception as error:
                raise control.refusal or _failed(error) from error
            finally:
                self.size = control.size
                control.abort()
        raise FetchFailed(f"more than {self._limits.url_redirects} redirects")


def _redirected(url: str, response: Any) -> str:
    """The URL that a redirect from ``url`` leads to (RFC 9110, section 10.2.2)."""
    places: list[bytes] = response.headers.getRawHeaders(b"Location", [])
    if len(places) != 1:
        raise FetchFailed(f"a redirect with {len(places)} locations")
    return urljoin(url, places[0].decode("utf-8"))


def _failed(error: Exception) -> FetchFailed:
    if isinstance(error, FetchFailed):
        return error
    if isinstance(error, ResponseFailed):
        reasons: list[Failure] = error.reasons
        # The first rule that one of the layers found broken, or all they say.
        for reason in reasons:
            if isinstance(reason.value, FetchFailed):
                return reason.value
    return FetchFailed(_in_words(error))


def _in_words(error: BaseException | None) -> str:
    if isinstance(error, ResponseFailed):
        reasons: list[Failure] = error.reasons
        return "; ".join(_in_words(reason.value) for reason in reasons)
    return f"{type(error).__name__} {clip(str(error), SHOWN)}"


def shown(url: str) -> str:
    """A URL for the log: without its password and query, where secrets stand."""
    return clip(re.sub("//[^/#]*@", "//", url.partition("?")[0]), SHOWN)
