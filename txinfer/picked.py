"""What goes into one run, as it is taken from the lines of those that wait."""

from __future__ import annotations

from collections import OrderedDict

import attrs

from .calls import Call, Part, Piece


@attrs.define(eq=False)
class Picked:
    """What goes into one run of at most ``max_rows`` rows.

    ``share`` is how many rows a client may give before others have their turn.
    ``late`` are calls that were to be answered by ``until``.
    """

    max_rows: int
    share: int
    until: float
    late: list[Call] = attrs.field(factory=list)
    pieces: list[Piece] = attrs.field(factory=list)
    rows: int = 0
    size: int = 0
    _parts: dict[Call, Part] = attrs.field(factory=dict)

    def draw(self, calls: OrderedDict[Call, None]) -> Call | None:
        """Move a share of a client's calls here; none if the first is too large.

        Returns:
            The call that is next, if it is late; else None.
        """
        start, whole, until = self.rows, self.max_rows, self.until
        end = min(start + self.share, whole)
        while calls and self.rows < end:
            call = next(iter(calls))
            if call.deadline <= until:
                return call
            rows, split = call.rows, call.split
            if rows > whole:
                self.draw_part(call, min(call.rows_left, end - self.rows))
                if call.rows_left:
                    return None
            else:
                if split is not None:
                    rows = call.rows_left
                if self.rows + rows > (whole if self.rows == start else end):
                    return None
                if split is None:
                    self.pieces.append(call)
                    self.rows += rows
                    self.size += call.size
                else:
                    self.draw_part(call, rows)
            calls.popitem(last=False)
            call.line = None
        return None

    def draw_part(self, call: Call, rows: int) -> None:
        """Move the next rows of a call that does not go whole."""
        part = self._parts.get(call)
        if part is None:
            part = self._parts[call] = call.part()
            self.pieces.append(part)
        size = part.size
        part.extend(rows)
        self.rows += rows
        self.size += part.size - size
