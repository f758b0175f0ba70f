"""Whether 504 comes at the deadline, although a kernel runs and cannot be stopped.

    python -m benchmarks.deadlines                  # a minute
    python -m benchmarks.deadlines -s 5 -r 1

Runs take 10 ms, but 300 ms if there is a certain row among theirs, which nobody can
know beforehand; in TensorFlow a processor is busy meanwhile. Requests may take 40 to
450 ms, as they say; so some miss their deadline while they wait or run. Overdue is how
long after its deadline, seen from the client, a 504 comes. Where it drips, nothing is
slow but the client, of whose request the last byte comes 200 ms after the others. The
exit status is 1 unless 99 of 100 come within 50 ms, none comes early, no other answer
comes later than that either, and all requests are answered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from statistics import median

from . import known, load
from .arguments import described, takes_options
from .process import Server
from .table import circumstances, table
from .tally import LATE, OVERDUE, PROMPT, Report

DEADLINES = (40, 60, 100, 150, 200, 250, 290, 310, 450)

KINDS = {
    "device": known.sleepy(10, 0, 290),
    "tensorflow": known.stalling,
    "drip": known.sleepy(10, 0),
}

# What is said besides to the clients of a kind.
DRIPS = {"drip": ["--drip=200"]}

ANSWERS = {"200", "503", "504", OVERDUE}


def ask(server: Server, chosen: argparse.Namespace, kind: str) -> Report:
    """What becomes of requests with deadlines, from several clients at once."""
    arguments = [f"--deadline={ms}" for ms in DEADLINES]
    arguments += [f"--connections={chosen.connections}", f"--seconds={chosen.seconds}"]
    arguments += DRIPS.get(kind, ())
    return load.finish(load.start(server.port, *arguments))


HEADS = (
    *("model", "200", "504", "503", "overdue p50 ms", "p99", "max"),
    *("503 p99 ms", "late", "other"),
)


def line(kind: str, found: Report) -> list[str]:
    """A run in the table."""
    overdue = found[OVERDUE]
    return [
        kind,
        *(f"{found[name].count:,}" for name in ("200", "504", "503")),
        *(f"{ms:.1f}" for ms in (overdue.p50, overdue.p99, overdue.max)),
        f"{found['503'].p99:.1f}",
        str(found[LATE].count),
        str(sum(others(found).values()) - found[LATE].count),
    ]


def others(found: Report) -> dict[str, int]:
    """What should not have become of any request."""
    return {
        name: times.count
        for name, times in found.outcomes.items()
        if name not in ANSWERS
    }


def wrongs(kind: str, runs: Sequence[Report]) -> Iterator[str]:
    """What is not as promised."""
    overdue = median(found[OVERDUE].p99 for found in runs)
    if overdue > PROMPT * 1e3:
        yield f"{kind}: the p99 of 504 is {overdue:.1f} ms after the deadline"
    if not all(found["504"].count and found["200"].count for found in runs):
        yield f"{kind}: there was nothing to compare"
    for found in runs:
        if bad := others(found):
            yield f"{kind}: {bad}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-k", "--kinds", choices=KINDS, action="append", help="all by default")
    add("-s", "--seconds", type=float, default=10, help="of each run")
    add("-r", "--rounds", type=int, default=3, help="runs of each kind")
    add("-c", "--connections", type=int, default=16)
    takes_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure as the command line says."""
    chosen = parse()
    found: dict[str, list[Report]] = {}
    for kind in chosen.kinds or KINDS:
        with known.serving(KINDS[kind], chosen.options) as server:
            found[kind] = [ask(server, chosen, kind) for _ in range(chosen.rounds)]
    print(circumstances(("twisted",)))
    lines = [line(kind, it) for kind, runs in found.items() for it in runs]
    print(f"\n{table(HEADS, lines)}")
    wrong = [text for it in found.items() for text in wrongs(*it)]
    print("\n".join(["", *wrong]) if wrong else "\nall as promised")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
