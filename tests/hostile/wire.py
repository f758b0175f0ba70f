"""What a case is, and the bytes of requests."""

from __future__ import annotations

import attrs

#: The connection is cut or closed without any answer.
CLOSED = 0


@attrs.frozen
class Case:
    """One connection's worth of bytes.

    Args:
        name: what is tried.
        sent: all bytes, in the segments in which they are sent.
        status: what the first answer says; ``CLOSED`` if none may come.
        closes: whether the server must close after that answer.
        half_close: the client closes its side after sending.
    """

    name: str
    sent: tuple[bytes, ...]
    status: int
    closes: bool = True
    half_close: bool = False


def case(name: str, sent: bytes, status: int, closes: bool = True) -> Case:
    return Case(name, (sent,), status, closes)


def head(*lines: str, host: bool = True) -> bytes:
    more = ["Host: localhost"] if host else []
    return "\r\n".join([lines[0], *more, *lines[1:], "", ""]).encode("latin-1")


def post(body: bytes, *lines: str, path: str = "/") -> bytes:
    """A call with this body."""
    length = f"Content-Length: {len(body)}"
    return head(f"POST {path} HTTP/1.1", length, *lines) + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A call whose body comes in chunks, each with its framing as given."""
    lines = head("POST / HTTP/1.1", "Transfer-Encoding: chunked")
    return lines + b"".join(chunks) + end
