"""A body of which one part after the other comes."""

from __future__ import annotations

# Bytes of a part that is kept as it came. Smaller ones are copied together: in a list
# parts of one byte would take fifty times their size.
KEPT_APART = 4096

Part = bytes | bytearray | memoryview


class Arriving:
    """What has come of a body; it is copied once, when it is whole.

    ``size`` is how many bytes have come.
    """

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[Part] = []

    def add(self, part: bytes | memoryview) -> None:
        """Keep one more part, which nobody changes."""
        self.size += len(part)
        parts = self._parts
        if not parts or len(part) >= KEPT_APART:
            parts.append(part)
            return
        last = parts[-1]
        if isinstance(last, bytearray):
            last += part
        else:
            parts.append(bytearray(part))

    def take(self) -> bytes:
        """All that came; nothing of it is kept."""
        parts, self._parts = self._parts, []
        self.size = 0
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return parts[0]
        return b"".join(parts)

    def clear(self) -> None:
        """Keep nothing of it."""
        self._parts = []
        self.size = 0
