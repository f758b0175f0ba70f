"""What has come of a connection's requests, within its bounds, or why no more is taken.

Which bytes are whose, :mod:`.reading` knows.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from .arriving import Arriving
from .headers import ID_HEADER, name_of, request_id
from .limits import DoorLimits
from .observe import NOBODYS, IObserver, Shed
from .request import BoundedRequest, Fields
from .seen import SeenHeads

# Who is sent away with 503 may come again soon.
RETRY = b"Retry-After: 1\r\n"

#: A status, a text, and header lines that belong to them.
Refusal = tuple[int, str, bytes]


class Site(Protocol):
    """What a reader has to know of the site.

    ``requests`` counts those that have begun, ``held`` the bytes of bodies until
    they are answered; ``observer`` is told if that is too much. ``seen`` knows the
    heads that were sent before. ``gate`` is asked before a body is read, with its
    announced length (0 if it is chunked).
    """

    limits: DoorLimits
    body_limit: int
    requests: int
    held: int
    observer: IObserver
    seen: SeenHeads

    def gate(self, request: BoundedRequest, announced: int, /) -> Refusal | None:
        """Why not to read the body of a request; None to read it."""


class Incoming:
    """The requests of one connection; those that are whole wait in ``ready``.

    ``refusal`` is what to answer after them once something is wrong; nothing
    is read any more then. ``in_request`` is whether a request has begun and
    is not whole, ``deadline`` by when it has to be, ``wants_continue`` whether
    the client waits for an interim answer. ``missing`` is how many bytes of its
    body are still to come, if they are counted; otherwise it is 0. ``head_size`` is
    how many bytes the last head had whose body did not come along with it.

    Args:
        channel: what the requests are to be answered on.
        site: has the limits.
    """

    _request: BoundedRequest | None = None
    _fields: Fields
    _arrived = 0.0

    def __init__(self, channel: object, site: Site) -> None:
        self.ready: deque[BoundedRequest] = deque()
        self.refusal: Refusal | None = None
        self.in_request = False
        self.wants_continue = False
        self.missing = 0
        self.head_size = 0
        self.deadline = 0.0
        self._channel: Any = channel
        self._site = site
        self._limits = site.limits
        self._body = Arriving()

    @property
    def request(self) -> BoundedRequest | None:
        """The request that is being read or was refused, if its head is in order."""
        return self._request

    @property
    def arrived(self) -> float | None:
        """When the request began that is being read or was refused, if one has."""
        return self._arrived if self.in_request else None

    def request_name(self) -> bytes:
        """What that is called, or would be if its head were in order."""
        request = self._request
        if request is not None:
            return request_id(request)
        return name_of(self._fields.get(ID_HEADER))

    def close(self) -> None:
        """Let go of what was read."""
        self._channel = None
        self._site.held -= sum(request.held for request in self.ready)
        self.ready.clear()
        self.drop_body()

    def drop_body(self) -> None:
        """Let go of what was read of a body."""
        self._site.held -= self._body.size
        self._body.clear()
        self.missing = 0

    def _add(self, part: bytes | memoryview) -> None:
        """Keep a part of a body, and account for it."""
        self._body.add(part)
        self._site.held += len(part)
        if self._body.size > self._site.body_limit:
            self._refuse_body()
        elif self._site.held > self._limits.body_bytes:
            self._refuse_full()

    def _complete(self) -> None:
        self.in_request = self.wants_continue = False
        request = self._request
        if self.refusal is not None or request is None:
            return
        # The request gives back what it holds.
        request.held = self._body.size
        request.body = self._body.take()
        self.ready.append(request)
        self._request = None
        self._fields = {}

    def _refuse_full(self) -> None:
        self._site.observer.shed(NOBODYS, Shed.BODIES)
        self._refuse(503, "the server holds as many bodies as it can", RETRY)

    def _refuse_headers(self) -> None:
        size = self._limits.header_size
        self._refuse(431, f"the headers are larger than {size} bytes")

    def _refuse_body(self) -> None:
        limit = self._site.body_limit
        self._refuse(413, f"the request body is larger than {limit} bytes")

    def _refuse(self, status: int, text: str, head: bytes = b"") -> None:
        if self.refusal is None:
            self.refusal = status, text, head
            self.wants_continue = False
            self.drop_body()
