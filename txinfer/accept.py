"""What a client would rather have (RFC 9110, section 12)."""

from __future__ import annotations

import re

# Section 12.4.2, and ".5", which is often written.
WEIGHT = re.compile(rb"q\s*=\s*((?:0?\.|[01]\.?)[0-9]*)")

Weights = dict[bytes, float]


def weights(header: bytes) -> Weights:
    """The names in an Accept header, in lower case, each with its weight.

    A name that is there twice has its larger weight; one whose weight cannot be
    read has none, which is 0: better not sent than sent to who did not want it.
    """
    found: Weights = {}
    for item in header.lower().split(b","):
        name, *parameters = (part.strip() for part in item.split(b";"))
        if name:
            found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        if parameter.startswith(b"q"):
            match = WEIGHT.fullmatch(parameter)
            return min(1.0, float(match[1])) if match else 0.0
    return 1.0


def media_weight(wanted: Weights, media_type: bytes) -> float:
    """How much a media type is wanted; the most specific range decides."""
    kind = media_type.partition(b"/")[0]
    for name in (media_type, kind + b"/*", b"*/*"):
        if name in wanted:
            return wanted[name]
    return 0.0


def prefers_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding asks for gzip at least as much as for nothing.

    ``*`` alone is no such wish: it comes from clients that do not care.
    """
    wanted = weights(header)
    gzip = max(wanted.get(b"gzip", 0.0), wanted.get(b"x-gzip", 0.0))
    return gzip > 0 and gzip >= wanted.get(b"identity", 0.0)
