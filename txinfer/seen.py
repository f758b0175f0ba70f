"""Heads of requests that were read before, and are known again by their bytes.

A client sends the same head with each request, but for the length of the body, and
parsing it anew would tell the same. So the next one is only compared. What does
not depend on the head alone, as whether there is room for the body, is asked each
time all the same. Of a body so many bytes follow, which need no parser either.
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

# Digits of a length: nearly a gigabyte. Who takes larger bodies can have them parsed.
MOST_DIGITS = 9

# Bytes of a head, and heads that are kept by a site, with and without their lengths:
# two megabytes at most, which nobody fills by accident. Who does has everybody's heads
# looked at, or parsed, once more.
LARGEST = 2048
MAX_KEPT = 256

# Headers after which the parser does not simply go on behind the body.
SPECIAL = (b"expect", b"transfer-encoding", b"upgrade")


def is_plain(head: Head) -> bool:
    """Whether the announced length is all that tells where its request ends, and
    the next one begins there.
    """
    return head.persistent and not any(name in head.fields for name in SPECIAL)


class Seen(NamedTuple):
    """A head, and what of its bytes is the length and what comes after that."""

    head: Head
    digits: bytes
    rest: bytes


class SeenHeads:
    """The heads that one site has seen, by all their bytes or those up to a length."""

    def __init__(self) -> None:
        self._whole: dict[bytes, Head] = {}
        self._heads: dict[bytes, Seen] = {}

    def find(self, data: bytes) -> tuple[Head, int] | None:
        """The head of data that are one request, or its beginning, if it is known.

        Returns:
            The head, and how many bytes of its body there are. None if it is not
            known, or something follows on the body.
        """
        end = data.find(BLANK_LINE) + 4
        head = self._whole.get(data[:end]) or self._find_but_for_length(data[:end])
        if head is None:
            return None
        came = len(data) - end
        return (head, came) if came <= head.length else None

    def keep(self, data: bytes, head: Head, came: int) -> None:
        """Know a head again.

        Args:
            data: what a parser has read from its beginning as one request, or a
                head and less than its body, and nothing besides.
            head: what it made of it.
            came: how many bytes of it were the body's.
        """
        end = len(data) - came
        if end > LARGEST or data.find(BLANK_LINE) + 4 != end or not is_plain(head):
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

    def _find_but_for_length(self, data: bytes) -> Head | None:
        """The head whose bytes these are, if it is known with whatever length."""
        start = data.find(LENGTH_END) + 7
        if start < 7:
            start = len(data)
        seen = self._heads.get(data[:start])
        if seen is None:
            return None
        head, known, rest = seen
        stop = len(data) - len(rest)
        digits = data[start:stop]
        if data[stop:] != rest:
            return None
        if digits != known:
            if not digits.isdigit() or len(digits) > MOST_DIGITS:
                return None
            head = _of_length(head, digits)
        if len(self._whole) >= MAX_KEPT:
            self._whole.clear()
        self._whole[data] = head
        return head


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
