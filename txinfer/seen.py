"""Heads of requests that were read before, and are known again by their bytes.

A client sends the same head with each request, but for the length of the body, and
parsing it anew would tell the same. So the next one is only compared. What does
not depend on the head alone, as whether there is room for the body, is asked each
time all the same.
"""

from __future__ import annotations

from typing import NamedTuple

from .request import Head

# Where a head ends. The parser takes no other line ends (see :mod:`.reading`).
BLANK_LINE = b"\r\n\r\n"

# What the length of a body comes after, and the end of that. A head that has it in
# another place is parsed.
LENGTH_LINE = b"\r\ncontent-length: "
LENGTH_END = b"ength: "

# Digits of a length: more than what comes in one read can have.
MOST_DIGITS = 7

# Bytes of a head, and heads that are kept by a site: a megabyte at most, which
# nobody fills by accident. Who does has everybody's heads parsed once more.
LARGEST = 2048
MAX_KEPT = 256

# Headers after which the parser does not simply go on behind the body.
SPECIAL = (b"expect", b"transfer-encoding", b"upgrade")


class Seen(NamedTuple):
    """A head, and what of its bytes is the length and what comes after that."""

    head: Head
    digits: bytes
    rest: bytes


class SeenHeads:
    """The heads that one site has seen, by their bytes up to the length."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Seen] = {}

    def find(self, data: bytes) -> Head | None:
        """The head of data that are just one request whose head is known."""
        end = data.find(BLANK_LINE) + 4
        start = data.find(LENGTH_END, 0, end) + 7
        if start < 7:
            start = end
        seen = self._heads.get(data[:start])
        if seen is None:
            return None
        head, known, rest = seen
        stop = end - len(rest)
        digits = data[start:stop]
        if data[stop:end] != rest:
            return None
        if digits != known:
            if not digits.isdigit() or len(digits) > MOST_DIGITS:
                return None
            head = _of_length(head, digits)
        return head if len(data) == end + head.length else None

    def keep(self, data: bytes, head: Head) -> None:
        """Know a head again.

        Args:
            data: what a parser has read from its beginning as one request, and
                nothing besides.
            head: what it made of it.
        """
        end = len(data) - head.length
        if end > LARGEST or data.find(BLANK_LINE) + 4 != end:
            return
        if not head.persistent or any(name in head.fields for name in SPECIAL):
            return
        start, digits = end, head.fields.get(b"content-length", b"")
        if digits:
            start = data.find(LENGTH_END) + 7
            if data[start - len(LENGTH_LINE) : start].lower() != LENGTH_LINE:
                return
        stop = start + len(digits)
        if data[start:stop] != digits:
            return
        if len(self._heads) >= MAX_KEPT:
            self._heads.clear()
        self._heads[data[:start]] = Seen(head, digits, data[stop:end])


def _of_length(head: Head, digits: bytes) -> Head:
    """The same head of a body of another length."""
    return Head(
        head.method,
        head.uri,
        head.version,
        {**head.fields, b"content-length": digits},
        head.repeated,
        head.persistent,
        int(digits),
        head.notes,
    )
