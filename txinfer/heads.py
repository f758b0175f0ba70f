"""What the head of a request must be like, besides what llhttp sees to.

What a server and a proxy in front of it may read differently is refused.
"""

from __future__ import annotations

import re

from .request import Fields, Pairs

# What a request target may consist of (RFC 3986): no blanks, no fragment.
TARGET = re.compile(rb"[!\"$-~]+")
ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)

# A host, with a port or without one (RFC 9110, section 7.2); it may be empty.
HOST = re.compile(rb"([A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")

BAD_SYNTAX = "the request is not well-formed HTTP/1.1"


def wrong_head(
    method: bytes, target: bytes, version: str, fields: Fields, repeated: Pairs
) -> tuple[int, str] | None:
    """What llhttp lets pass and is not to be taken, as a status and a text.

    Args:
        method: the verb.
        target: as it was sent.
        version: ``1.1``, or another.
        fields: the headers, names in lower case; of repeated ones the last.
        repeated: the earlier ones of repeated headers.
    """
    if version not in ("1.1", "1.0"):
        return 505, "HTTP/1.1 is spoken here"
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            return 400, "a request of HTTP/1.1 has a Host header"
    elif not HOST.fullmatch(host):
        return 400, "the Host header is not a host's name"
    if repeated and any(name == b"host" for name, _ in repeated):
        return 400, "a request has one Host header"
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
        return 400, "the only Transfer-Encoding is chunked, in HTTP/1.1"
    expected = fields.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        return 417, "the only expectation that is met is 100-continue"
    return _wrong_target(method, target)


def _wrong_target(method: bytes, target: bytes) -> tuple[int, str] | None:
    if not TARGET.fullmatch(target):
        return 400, BAD_SYNTAX
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return None
    if method == b"CONNECT" or not ABSOLUTE.match(target):
        return 400, "the request's target is not a path"
    return None


def path_of(target: bytes) -> bytes:
    """A target that is not wrong, in origin form.

    A server takes the absolute form, too (RFC 9112, section 3.2.2).
    """
    if target[:1] in (b"/", b"*"):
        return target
    rest = ABSOLUTE.sub(b"", target, count=1)
    return rest if rest.startswith(b"/") else b"/" + rest
