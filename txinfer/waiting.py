"""What waits for a free session slot: fair among clients, joined by key.

Each client has had so much of the slots (``used``, in seconds), and whoever has had the
least of those that wait is served next: first whose call leads the next run,
then who else of the same key goes along. A client that comes anew begins where
a client was that has had its even share, so nobody saves up turns by staying
away, and nobody is overtaken for ever by new ones (fair queueing: Demers, Keshav
and Shenker, 1989). Within a client and a key the oldest goes
first. Whatever is kept is kept for a call that waits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Sequence
from itertools import islice

import attrs

from .calls import Call
from .interfaces import IRunnable
from .least import Least
from .picked import Picked

# What a row counts for while nobody knows what it takes, in seconds: as much as one
# of a small network.
UNKNOWN_SECONDS = 0.001

# Keys that are looked at to estimate what all that waits will take, and those of one
# client to find its oldest call: who sends ever new shapes must not cost more.
ENOUGH = 64

# Clients passed over in one run, because what room is left is too small for their
# next call. They go first in a later one, having had less; one may be cut.
MAX_PASSED_OVER = 8

# If what is left fits into the next run, cutting a call spares no run that is known of:
# it leaves room there for those that come meanwhile. For their sake a run may take so
# many times as long as without the part that fills it.
LONGER = 1.5


def _client_used(client: Client) -> float | None:
    return client.used if client.lines else None


def _line_used(line: Line) -> float | None:
    return line.client.used if line.calls else None


def _line_age(line: Line) -> float:
    return line.oldest.arrived


def _should_fill(picked: Picked, group: Group) -> bool:
    """Whether to fill a run with a part of a call that does not fit into it whole."""
    if group.rows > picked.max_rows:
        # More is left than the next run can take.
        return True
    cost = group.method.cost
    full = cost.seconds(picked.max_rows)
    return 0 < full <= LONGER * cost.seconds(picked.rows)


@attrs.define(eq=False)
class Client:
    """One whose calls wait, in ``lines``.

    ``used`` is what it has had, in seconds, and ``rows`` what waits.
    """

    used: float
    rows: int = 0
    lines: dict[Line, None] = attrs.field(factory=dict)

    def lead(self) -> Line:
        """The line with its oldest call, as far as it is looked for."""
        if len(self.lines) == 1:
            return next(iter(self.lines))
        line = min(islice(self.lines, ENOUGH), key=_line_age)
        # Those behind come nearer, so that none is passed over for ever.
        del self.lines[line]
        self.lines[line] = None
        return line


@attrs.define(eq=False)
class Group:
    """The calls of one key, in a line for each client that has some."""

    key: Hashable
    method: IRunnable
    rows: int = 0
    size: int = 0
    lines: dict[str, Line] = attrs.field(factory=dict)
    turns: Least[Line] = attrs.field(factory=lambda: Least(_line_used))

    @property
    def row_seconds(self) -> float:
        """What a row takes, as far as that is known."""
        return self.method.cost.row_seconds or UNKNOWN_SECONDS


@attrs.define(eq=False)
class Line:
    """One client's calls of one key, oldest first."""

    name: str
    client: Client
    group: Group
    calls: OrderedDict[Call, None] = attrs.field(factory=OrderedDict)

    @property
    def oldest(self) -> Call:
        """The call that goes first. Only for a line that has one."""
        return next(iter(self.calls))


class Waiting:
    """The calls that wait; ``rows`` and ``size`` (bytes) count them.

    ``row_seconds`` is what a row was last reckoned to take, one with another.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.size = 0
        self.row_seconds = 0.0
        self._groups: dict[Hashable, Group] = {}
        self._clients: dict[str, Client] = {}
        self._turns: Least[Client] = Least(_client_used)
        # What a client had that has always waited, when the newest run was picked,
        # and what it has had of that run.
        self._even = 0.0
        self._newest = 0.0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def rows_of(self, method: IRunnable) -> int:
        """How many rows wait, if they are all of that method and agree; else 0."""
        if len(self._groups) != 1:
            return 0
        (group,) = self._groups.values()
        return group.rows if group.method is method else 0

    def has(self, methods: Collection[IRunnable]) -> bool:
        """Whether calls of one of the methods wait."""
        return any(group.method in methods for group in self)

    def calls(self) -> list[Call]:
        """All of them."""
        lines = [line for group in self for line in group.lines.values()]
        return [call for line in lines for call in line.calls]

    def seconds(self) -> float:
        """What all of it is expected to take, where that is known."""
        self.reckon()
        return self.rows * self.row_seconds

    def reckon(self) -> None:
        """Find out anew what a row takes."""
        if self._groups:
            some = list(islice(self._groups.values(), ENOUGH))
            rows = sum([group.rows for group in some])
            seconds = sum([it.rows * it.method.cost.row_seconds for it in some])
            self.row_seconds = seconds / rows

    def ahead(self, client: str, rows: int) -> int:
        """How many rows leave before so many more of a client have left.

        Less than all that wait, since others get no more than it gets itself.
        """
        it = self._clients.get(client)
        own = 0 if it is None else it.rows
        others = len(self._clients) - (it is not None)
        return own + min(self.rows - own, others * (own + rows))

    def add(self, call: Call) -> None:
        """Put a call at the end of its line."""
        group = self._groups.get(call.key)
        if group is None:
            group = self._groups[call.key] = Group(call.key, call.method)
        line = group.lines.get(call.client)
        if line is None:
            line = self._open(group, call)
        else:
            line.calls[call] = None
        call.line = line
        self._count(line, call.rows, call.size)

    def remove(self, call: Call) -> None:
        """Take out a call that waits, or what is left of it."""
        line: Line = call.line
        self._count(line, -call.rows_left, -call.size_left)
        call.line = None
        del line.calls[call]
        if not line.calls:
            self._close(line)

    def lead(self) -> Line:
        """The line whose oldest call leads the next run. Something has to wait."""
        client = self._turns.least()
        assert client is not None
        self._even = max(self._even + self._newest, client.used)
        self._newest = 0.0
        return client.lead()

    def take(self, lead: Line, max_rows: int, now: float, seconds: float) -> Picked:
        """Take out what goes into one run of at least so many seconds.

        It begins with the lead's calls. Those whose deadline comes before the end
        of the run do not go along, so perhaps none does. A call of more than
        ``max_rows`` rows goes in parts. Others go whole, but for one that is cut to
        fill the run if no whole call does and it pays.
        """
        group = lead.group
        share = max(1, max_rows // len(group.lines))
        picked = Picked(max_rows, share, now + seconds)
        passed_over: list[Line] = []
        clients = len(self._clients)
        line: Line | None = lead
        while line is not None and picked.rows < max_rows:
            if not self._draw(line, picked):
                # It is the least of the turns: the lead always fits.
                group.turns.pop()
                passed_over.append(line)
                if len(passed_over) > MAX_PASSED_OVER:
                    break
            line = group.turns.least()
        if passed_over and picked.rows < max_rows and _should_fill(picked, group):
            self._cut(passed_over, picked, now + 2 * seconds)
        for line in passed_over:
            group.turns.add(line)
        self._newest = picked.rows * group.row_seconds / clients
        return picked

    def _draw(self, line: Line, picked: Picked) -> bool:
        """Let a line have its share of a run; returns whether calls left it."""
        rows, size = picked.rows, picked.size
        late = picked.draw(line.calls)
        rows -= picked.rows
        self._count(line, rows, size - picked.size)
        line.client.used -= rows * line.group.row_seconds
        if late is not None:
            self.remove(late)
            picked.late.append(late)
            return True
        if not line.calls:
            self._close(line)
        return rows < 0

    def _cut(self, lines: Sequence[Line], picked: Picked, until: float) -> None:
        """Fill a run with the first rows of a call that has more.

        It is the oldest of the first line in which that one can wait for another
        run, which is over at ``until`` at the earliest.
        """
        line = next((it for it in lines if it.oldest.deadline > until), None)
        if line is not None:
            rows, size = picked.max_rows - picked.rows, picked.size
            picked.draw_part(line.oldest, rows)
            self._count(line, -rows, size - picked.size)
            line.client.used += rows * line.group.row_seconds

    def _count(self, line: Line, rows: int, size: int) -> None:
        self.rows += rows
        self.size += size
        line.client.rows += rows
        group = line.group
        group.rows += rows
        group.size += size

    def _open(self, group: Group, call: Call) -> Line:
        name = call.client
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(self._even)
        line = group.lines[name] = Line(name, client, group)
        line.calls[call] = None
        client.lines[line] = None
        if len(client.lines) == 1:
            self._turns.add(client)
        group.turns.add(line)
        return line

    def _close(self, line: Line) -> None:
        client, group = line.client, line.group
        del client.lines[line]
        if not client.lines:
            del self._clients[line.name]
        del group.lines[line.name]
        if not group.lines:
            del self._groups[group.key]
            # They refer to each other, which would be left to the garbage collector.
            group.turns.clear()
