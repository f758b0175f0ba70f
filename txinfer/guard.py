"""Who may ask, and how often: API keys and a rate for each client."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.iweb import IRequest

from .errors import InferenceError
from .keys import ApiKeys
from .limits import ClientLimits
from .observe import NOBODY, NOBODYS, IObserver, Shed
from .proxies import Proxies, host_of, network_of
from .rates import RateLimiter
from .refusals import RateLimited, Unauthorized

NO_PROXIES = Proxies(())

BEARER = b"bearer "


class Guard:
    """Admits requests. Reactor thread only.

    Args:
        clock: measures the rates.
        keys: the keys of which a request must have one; None asks for none.
        limits: how often one client may ask.
        open: first segments of paths that everybody may ask for at any time.
        unmetered: first segments of paths that do not count for the rate.
        observer: is told of clients that ask too often.
        proxies: pass requests on, and say for whom.
    """

    def __init__(
        self,
        clock: IReactorTime,
        keys: ApiKeys | None,
        limits: ClientLimits,
        open: Container[bytes] = (),
        unmetered: Container[bytes] = (),
        observer: IObserver = NOBODY,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._observer = observer
        self._proxies = proxies
        self._keys = keys
        self._open = open
        self._unmetered = unmetered
        self._rates: RateLimiter | None = None
        if limits.rate_limit:
            burst = limits.rate_burst or math.ceil(limits.rate_limit)
            self._rates = RateLimiter(clock, limits.rate_limit, burst)

    @property
    def admits_all(self) -> bool:
        """Whether nobody is ever turned away, and it need not even be asked."""
        return self._keys is None and self._rates is None and not self._proxies

    def admit(self, request: IRequest, segment: bytes) -> InferenceError | None:
        """Let a request in, whose head is complete; its body need not be.

        A request that is let in is not asked a second time, wherever it goes.

        Args:
            request: what is asked.
            segment: the first segment of its path below the service's root.

        Returns:
            None, and :func:`client_of` the request is known from now on; or
            :class:`~txinfer.refusals.Unauthorized`, or
            :class:`~txinfer.refusals.RateLimited`.
        """
        if getattr(request, "client_name", None) is not None or segment in self._open:
            return None
        if self._proxies:
            _remember_origin(request, self._proxies.origin(request))
        client = self._known(request)
        if client is not None:
            late = self._too_often(client, segment)
            if late is None:
                _remember(request, client)
                return None
            return self._told(late)
        # Guessing costs as much as asking.
        late = self._too_often(client_address(request), segment)
        return self._told(late or Unauthorized(_key_of(request) is not None))

    def _told(self, error: InferenceError) -> InferenceError:
        if isinstance(error, RateLimited):
            self._observer.shed(NOBODYS, Shed.RATE)
        return error

    def _known(self, request: IRequest) -> str | None:
        if self._keys is None:
            return client_address(request)
        key = _key_of(request)
        name = None if key is None else self._keys.name(key)
        if name is not None:
            _remember_key(request, name)
        return name

    def _too_often(self, client: str, segment: bytes) -> RateLimited | None:
        if self._rates is None or segment in self._unmetered:
            return None
        wait = self._rates.take(client)
        return RateLimited(math.ceil(wait)) if wait else None


def client_of(request: IRequest) -> str:
    """Whose request it is: the name of its API key, else where it comes from."""
    anyhow: Any = request
    name: str | None = getattr(anyhow, "client_name", None)
    if name is None:
        anyhow.client_name = name = client_address(request)
    return name


def client_address(request: IRequest) -> str:
    """Where a request comes from: an IPv4 address, an IPv6 network, or nothing; said
    by a proxy, if its word is taken.
    """
    known: str | None = getattr(request, "comes_from", None)
    return network(request.getClientAddress()) if known is None else known


def network(address: IAddress) -> str:
    """An address by what tells one client from another; a UNIX socket's is empty."""
    return network_of(host_of(address))


def _key_of(request: IRequest) -> bytes | None:
    """The API key that a request carries in one of two headers."""
    key: bytes | None = request.getHeader(b"x-api-key")
    given: bytes | None = request.getHeader(b"authorization")
    if key is None and given is not None:
        # The scheme's case does not matter (RFC 9110, section 11.1).
        if given[: len(BEARER)].lower() == BEARER:
            return given[len(BEARER) :].strip()
        return given
    return key


def _remember(request: Any, name: str) -> None:
    request.client_name = name


def _remember_origin(request: Any, origin: str) -> None:
    request.origin = origin
    request.comes_from = network_of(origin)


def _remember_key(request: Any, name: str) -> None:
    request.key_name = name
