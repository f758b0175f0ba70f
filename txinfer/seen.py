"""Heads of requests that were read before, and are known again by their bytes.

A client sends the same head with each request, and parsing it anew would tell
the same. So the next one is only compared. What does not depend on the head
alone, as whether there is room for the body, is asked each time all the same.
"""

from __future__ import annotations

from .request import Head

# Where a head ends. The parser takes no other line ends (see :mod:`.reading`).
BLANK_LINE = b"\r\n\r\n"

# Bytes of a head, and heads that are kept by a site: a megabyte at most, which
# nobody fills by accident. Who does has everybody's heads parsed once more.
LARGEST = 2048
MAX_KEPT = 256

# Headers after which the parser does not simply go on behind the body.
SPECIAL = (b"expect", b"transfer-encoding", b"upgrade")


class SeenHeads:
    """The heads that one site has seen."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The head of data that are just one request whose head is known."""
        size = data.find(BLANK_LINE) + 4
        head = self._heads.get(data[:size])
        if head is not None and len(data) == size + head.length:
            return head
        return None

    def keep(self, data: bytes, head: Head) -> None:
        """Know a head again.

        Args:
            data: what a parser has read from its beginning as one request, and
                nothing besides.
            head: what it made of it.
        """
        size = len(data) - head.length
        if size > LARGEST or data.find(BLANK_LINE) + 4 != size:
            return
        if not head.persistent or any(name in head.fields for name in SPECIAL):
            return
        if len(self._heads) >= MAX_KEPT:
            self._heads.clear()
        self._heads[data[:size]] = head
