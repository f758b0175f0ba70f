"""The headers by which a client learns where its call spent its time, and by
which both sides know it in their logs.
"""

from __future__ import annotations

import itertools
import secrets
from functools import lru_cache
from typing import Any

from twisted.web.iweb import IRequest

from .trace import Trace

# What may stand in a request's name that comes from outside: nothing that ends a
# header, a line of a log or a word of a shell. The longest are traces' of W3C (55).
ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
LONGEST_ID = 128

# Nearly no call fetches anything.
NO_FETCH = b"fetch;dur=0.000, queue;dur="

ID_HEADER = b"x-request-id"

# Random bytes that tell this process' names from those of others.
PREFIX_BYTES = 6

_prefix = secrets.token_hex(PREFIX_BYTES).encode()
_numbers = itertools.count(1)


def server_timing(trace: Trace) -> bytes:
    """The value of ``Server-Timing`` (https://www.w3.org/TR/server-timing/): phases
    in milliseconds, and how many rows the run had, which the clients shared.
    """
    fetch = trace.fetch_seconds
    return b"%s%.3f%s" % (
        b"fetch;dur=%.3f, queue;dur=" % (fetch * 1000) if fetch else NO_FETCH,
        trace.queued_seconds * 1000,
        _run_timing(trace.run_seconds, trace.batch_rows),
    )


@lru_cache(maxsize=16)
def _run_timing(seconds: float, rows: int) -> bytes:
    """What is told of a run, to all that were in it one after the other."""
    return b', run;dur=%.3f, batch;desc="%d rows"' % (seconds * 1000, rows)


def total_timing(seconds: float) -> bytes:
    """The same of what is no call: all the time that it took."""
    return b"total;dur=%.3f" % (max(seconds, 0.0) * 1000)


def request_id(request: IRequest) -> bytes:
    """The name of a request: what ``X-Request-Id`` says if that makes sense, else
    one of our own. It stays the same.
    """
    anyhow: Any = request
    known: bytes | None = getattr(anyhow, "known_as", None)
    if known is None:
        given = request.getHeader(ID_HEADER)
        anyhow.known_as = known = new_id() if given is None else name_of(given)
    return known


def new_id() -> bytes:
    """A name that no other request has, in this process or elsewhere."""
    return b"%b-%x" % (_prefix, next(_numbers))


def name_of(given: bytes | None) -> bytes:
    """What a request is called that calls itself so, or nothing."""
    if given and len(given) <= LONGEST_ID and not given.translate(None, ID_BYTES):
        return given
    return new_id()
