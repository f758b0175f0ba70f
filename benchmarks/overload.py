"""Whether a server that is asked for four times what it can do still does it.

    python -m benchmarks.overload                     # five minutes
    python -m benchmarks.overload -k device -s 10 -r 1

The peak is what 64 clients get that ask again once they are answered. Then four
times as much is offered for a minute, whatever comes back, with a deadline; and the
peak is measured again, since other programs may be in the way. The exit status is
1 unless goodput (right answers within their deadline) stays above 95 % of the
peaks before and after, 99 of 100 refusals come within 50 ms, and nothing is left
without an answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from statistics import mean, median

import attrs

from . import load
from .arguments import described, takes_options
from .known import KINDS, serving
from .process import Server
from .table import circumstances, table
from .tally import LATE, Report

#: How many times its peak a server is offered.
TIMES = 4

#: The share of the peak that is to be left of goodput.
LEAST = 0.95

#: Milliseconds within which 99 of 100 refusals are to come.
PROMPT_MS = 50.0

# Seconds for which a peak is measured.
PEAK_SECONDS = 8

# Twice the rows of a batch: as many wait as run.
PEAK_CONNECTIONS = 64

# What an overloaded server may say; besides, it may be late.
ANSWERS = {"200", "503", "504", LATE}


@attrs.frozen
class Round:
    """A peak, the overload after it, and the peak after that.

    ``cpu`` is the share of a processor that the server took when overloaded.
    """

    before: float
    offered: float
    found: Report
    after: float
    cpu: float

    @property
    def kept(self) -> float:
        """The share of the peak that is left."""
        return self.found.rate / mean([self.before, self.after])


def peak(server: Server) -> float:
    """Right answers a second that as many clients get as suits the server."""
    arguments = [f"--connections={PEAK_CONNECTIONS}", f"--seconds={PEAK_SECONDS}"]
    return load.finish(load.start(server.port, *arguments)).rate


def overload(server: Server, rate: float, chosen: argparse.Namespace) -> Report:
    """What becomes of so many requests a second."""
    arguments = [f"--rate={rate}", f"--seconds={chosen.seconds}"]
    arguments.append(f"--deadline={chosen.deadline}")
    return load.finish(load.start(server.port, *arguments))


def measure(kind: str, chosen: argparse.Namespace) -> list[Round]:
    """All rounds of a server."""
    rounds = []
    with serving(KINDS[kind], chosen.options) as server:
        before = peak(server)
        rate = TIMES * before
        for _ in range(chosen.rounds):
            cpu = server.cpu_seconds()
            found = overload(server, rate, chosen)
            cpu = (server.cpu_seconds() - cpu) / chosen.seconds
            after = peak(server)
            rounds.append(Round(before, rate, found, after, cpu))
            before = after
            print(".", end="", file=sys.stderr, flush=True)
    return rounds


HEADS = (
    *("model", "peak/s", "offered/s", "goodput/s", "of the peak", "200 p50 ms"),
    *("200 p99", "503 p50 ms", "503 p99", "200", "503", "504", "late", "other"),
    *("server's CPU", "client's"),
)


def line(kind: str, it: Round) -> list[str]:
    """A round in the table."""
    found = it.found
    good, shed = found["200"], found["503"]
    return [
        kind,
        f"{it.before:,.0f}",
        f"{it.offered:,.0f}",
        f"{found.rate:,.0f}",
        f"{it.kept:.3f}",
        *(f"{ms:,.1f}" for ms in (good.p50, good.p99, shed.p50, shed.p99)),
        *(f"{found[name].count:,}" for name in ("200", "503", "504", LATE)),
        str(sum(others(found).values())),
        f"{it.cpu:.0%}",
        f"{found.cpu:.0%}",
    ]


def others(found: Report) -> dict[str, int]:
    """What should not have become of any request."""
    return {
        name: times.count
        for name, times in found.outcomes.items()
        if name not in ANSWERS and name != "overdue"
    }


def wrongs(kind: str, rounds: Sequence[Round]) -> Iterator[str]:
    """What is not as promised."""
    kept = median(it.kept for it in rounds)
    if kept < LEAST:
        yield f"{kind}: goodput is {kept:.3f} of the peak"
    slow = median(it.found["503"].p99 for it in rounds)
    if slow > PROMPT_MS:
        yield f"{kind}: the p99 of refusals is {slow:.1f} ms"
    if not all(it.found["503"].count for it in rounds):
        yield f"{kind}: it was not overloaded"
    for it in rounds:
        if bad := others(it.found):
            yield f"{kind}: {bad}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-k", "--kinds", choices=KINDS, action="append", help="both by default")
    add("-s", "--seconds", type=float, default=60, help="of each overload")
    add("-r", "--rounds", type=int, default=2, help="overloads of each kind")
    add("-d", "--deadline", type=float, default=1000, help="of requests, in ms")
    takes_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure as the command line says."""
    chosen = parse()
    found = {kind: measure(kind, chosen) for kind in chosen.kinds or KINDS}
    print(file=sys.stderr)
    print(circumstances(("twisted",)))
    lines = [line(kind, it) for kind, rounds in found.items() for it in rounds]
    print(f"\n{table(HEADS, lines)}")
    wrong = [text for kind, rounds in found.items() for text in wrongs(kind, rounds)]
    print("\n".join(["", *wrong]) if wrong else "\nall as promised")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
