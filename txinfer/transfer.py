"""How far something has come that takes its time, and whether it is still wanted."""

from __future__ import annotations

import attrs

MIB = 1024 * 1024


class Stopped(Exception):
    """Nobody wants it any more."""


class Failed(Exception):
    """It did not come, or not all of it; the text says why."""


class TooMuch(Exception):
    """It is more than is taken; the text says what is."""


@attrs.define(eq=False)
class Transfer:
    """Bytes on their way to this machine.

    ``done`` and ``total`` are written only by whoever moves the bytes, in
    whatever thread, and ``stopped`` only by the reactor thread.

    Args:
        most: more bytes than this are too many.
    """

    most: int
    done: int = 0
    total: int | None = None
    stopped: bool = False

    def expect(self, total: int | None) -> None:
        """So many bytes are said to come; None if nothing is said."""
        self.total = total
        if total is not None and total > self.most:
            raise TooMuch(f"it has {total} bytes, more than {self.most}")

    def count(self, size: int) -> None:
        """So many bytes have come.

        Raises:
            Stopped: they are not wanted any more.
            TooMuch: they are too many.
        """
        if self.stopped:
            raise Stopped
        self.done += size
        if self.done > self.most:
            raise TooMuch(f"it has more than {self.most} bytes")

    def text(self) -> str:
        """How far it is, in words."""
        done = self.done // MIB
        of = "" if self.total is None else f" of {self.total // MIB}"
        return f"{done}{of} MiB"
