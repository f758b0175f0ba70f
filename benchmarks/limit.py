"""What a model alone can do in a process, without any server.

    python -m benchmarks.limit mlp

prints rows per second by how many rows are under way at once, in each of the ways that
:mod:`.alone` knows to run it: TensorFlow's defaults, and what may be better.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from .alone import WAYS
from .arguments import described, numbers
from .places import environment, module
from .table import table

ROWS = (1, 8, 64)

# A survey measures each way and number of rows so often, in turns, for so many seconds.
PASSES = 2
SECONDS = 0.7

# So many are measured in each round; that which was best in all rounds counts.
FINALISTS = 2


class Choice(NamedTuple):
    """A way to run a model, and how many rows are under way at once."""

    way: str
    rows: int


#: Rows per second.
Rates = dict[Choice, float]


class Alone:
    """A process in which a model runs in one of the ways, whenever it is asked to.

    Args:
        name: the model.
        way: how it runs.

    Raises:
        RuntimeError: it ended; the text has the end of what it said.
    """

    def __init__(self, name: str, way: str) -> None:
        # The environment may not decide on oneDNN: the way does.
        settings = environment(TF_ENABLE_ONEDNN_OPTS="1")
        if way == "plain":
            del settings["TF_ENABLE_ONEDNN_OPTS"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by close()
        self._process = subprocess.Popen(
            module("benchmarks.alone", name, way),
            env=settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._read()

    def rate(self, rows: int, seconds: float) -> float:
        """Rows per second, with so many under way at once."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            # What it said at its end is read.
            print(rows, seconds, file=self._process.stdin, flush=True)
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read()[-3000:].decode("utf-8", "replace")
            raise RuntimeError(f"{self._process.args!r} ended:\n{said}")
        return line


class Limit:
    """The most rows per second of a model alone, to be read beside a server.

    What may be best is found once, and measured anew in each round, as a server is: a
    machine is faster in one minute than in the next.

    Args:
        name: the model.
        ways: those that are compared.
        rows: how many may be under way at once.
    """

    def __init__(
        self, name: str, ways: Iterable[str] = WAYS, rows: Iterable[int] = ROWS
    ) -> None:
        self._alone: dict[str, Alone] = {}
        self._rows = list(rows)
        try:
            for way in ways:
                self._alone[way] = Alone(name, way)
            self.rates = self._survey()
        except BaseException:
            self.close()
            raise

    def read(self, connections: int, seconds: float) -> Rates:
        """Rows per second in the ways that are best for so many connections."""
        choices = best(self.rates, connections)
        return {it: self._alone[it.way].rate(it.rows, seconds) for it in choices}

    def close(self) -> None:
        """End the processes."""
        for alone in self._alone.values():
            alone.close()

    def _survey(self) -> Rates:
        rates = {Choice(way, n): 0.0 for n in self._rows for way in self._alone}
        for _ in range(PASSES):
            for choice in rates:
                rate = self._alone[choice.way].rate(choice.rows, SECONDS)
                rates[choice] += rate / PASSES
        return rates


def best(rates: Rates, connections: int) -> list[Choice]:
    """The best choices with no more rows under way than there are connections."""
    possible = [it for it in rates if it.rows <= max(connections, 1)]
    return sorted(possible, key=rates.__getitem__, reverse=True)[:FINALISTS]


def highest(rounds: Sequence[Rates]) -> list[float]:
    """The rates in each round of the choice that was best in all of them together."""
    choices = list(rounds[0]) if rounds else []
    each = [[rates[choice] for rates in rounds] for choice in choices]
    return max(each, key=sum, default=[])


def main() -> None:
    """Measure every way, and print it."""
    parser = described(__doc__)
    parser.add_argument("model")
    parser.add_argument("--rows", type=numbers, default=list(ROWS))
    chosen = parser.parse_args()
    limit = Limit(chosen.model, rows=chosen.rows)
    limit.close()
    told = [
        [way, *(f"{limit.rates[Choice(way, rows)]:,.0f}" for rows in chosen.rows)]
        for way in WAYS
    ]
    print(table(["rows per second", *map(str, chosen.rows)], told))


if __name__ == "__main__":
    main()
