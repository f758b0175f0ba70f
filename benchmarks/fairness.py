"""What a client that asks for much does to others, and what that costs in all.

    python -m benchmarks.fairness                   # three minutes
    python -m benchmarks.fairness -s 4 -r 1 -g flood

Sixteen callers send a row at a time, each from an address of its own (127.0.0.0/8 is
all this machine). Beside them somebody is greedy, from another address: a flood of
400 connections, one job of 10,000 rows after the other, or 50 connections that send
32 rows at a time. Quiet and greedy runs take turns, since other programs are in the
way of single ones. The exit status is 1 if the callers' p99 grows to twice the quiet
one, or if fewer rows are run in all than for somebody greedy alone.

A caller that is alone on an idle server gets its row's run at once; beside a flood it
waits for the run that is under way, which cannot be stopped, and its own run has
other rows besides. This is told, too, and no promise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from statistics import median

import attrs

from . import known, load
from .arguments import described, takes_options
from .drive import batches
from .process import Server
from .table import circumstances, table
from .tally import Report

CALLERS = 16

# Milliseconds from an answer to a caller's next request.
THINK = 1

#: How many times the quiet p99 it may be.
MOST = 2.0

#: The share of the rows of a greedy client alone that are run in all; less than
#: all of them, because readings differ by as much.
LEAST = 0.95

# From where they call.
SOURCES = [f"127.0.1.{number + 1}" for number in range(CALLERS)]
GREEDY_SOURCE = "127.0.2.1"

# Seconds until somebody greedy is under way.
HEAD_START = 2.0

# A run of 32 rows takes half as long again as one of 8: what runs that are larger
# cost everybody is not a matter of fairness.
START = known.sleepy(10, 0.25)

GREEDS = {
    "flood": ["--connections=400"],
    "job": ["--connections=1", "--rows=10000", "--patience=60"],
    "large": ["--connections=50", "--rows=32"],
}


@attrs.frozen
class Stretch:
    """Some seconds: what the callers saw, and how many rows a second were run."""

    callers: Report
    rate: float

    @property
    def p99(self) -> float:
        """Of the callers' answers, in ms."""
        return self.callers["200"].p99


@attrs.frozen
class Round:
    """One of each: callers alone, somebody greedy alone, both; and of one caller."""

    quiet: Stretch
    greedy: Stretch
    both: Stretch
    lone: Stretch
    lone_both: Stretch

    @property
    def growth(self) -> float:
        """How many times the quiet p99 that beside the greedy one is."""
        return self.both.p99 / self.quiet.p99

    @property
    def throughput(self) -> float:
        """How many times the greedy one's rows alone are run in all."""
        return self.both.rate / self.greedy.rate


def call(port: int, count: int, seconds: float) -> Report:
    """Let so many callers call for some seconds."""
    sources = [f"--source={source}" for source in SOURCES[:count]]
    arguments = [f"--connections={count}", f"--think={THINK}", *sources]
    return load.finish(load.start(port, *arguments, f"--seconds={seconds}"))


@contextmanager
def greedy(port: int, greed: str, seconds: float) -> Iterator[None]:
    """Somebody who is greedy for at least the length of a block."""
    arguments = [f"--source={GREEDY_SOURCE}", *GREEDS[greed]]
    arguments.append(f"--seconds={seconds + HEAD_START + 1}")
    process = load.start(port, *arguments)
    time.sleep(HEAD_START)
    yield
    load.finish(process)


def stretch(server: Server, ask: Callable[[], Report]) -> Stretch:
    """What callers see, and what is run meanwhile."""
    before, began = batches(server.port), time.monotonic()
    callers = ask()
    after, took = batches(server.port), time.monotonic() - began
    assert before is not None
    assert after is not None
    return Stretch(callers, (after[0] - before[0]) / took)


def measure(server: Server, greed: str, seconds: float) -> Round:
    """Each in turn."""

    def nobody() -> Report:
        time.sleep(seconds)
        return Report({}, 0, 0, 0)

    crowd = partial(call, server.port, CALLERS, seconds)
    one = partial(call, server.port, 1, seconds)
    found = []
    for ask, alone in ((crowd, True), (nobody, False), (crowd, False), (one, True)):
        with nullcontext() if alone else greedy(server.port, greed, seconds):
            found.append(stretch(server, ask))
    with greedy(server.port, greed, seconds):
        found.append(stretch(server, one))
    print(".", end="", file=sys.stderr, flush=True)
    return Round(*found)


HEADS = (
    *("greed", "callers' p99 ms quiet", "beside it", "growth", "greedy rows/s"),
    *("in all", "ratio", "one's p99 ms quiet", "beside it"),
)


def line(greed: str, rounds: Sequence[Round]) -> list[str]:
    """What is told of a kind of greed: medians."""
    return [
        greed,
        f"{median(it.quiet.p99 for it in rounds):.1f}",
        f"{median(it.both.p99 for it in rounds):.1f}",
        f"{median(it.growth for it in rounds):.2f}",
        f"{median(it.greedy.rate for it in rounds):,.0f}",
        f"{median(it.both.rate for it in rounds):,.0f}",
        f"{median(it.throughput for it in rounds):.2f}",
        f"{median(it.lone.p99 for it in rounds):.1f}",
        f"{median(it.lone_both.p99 for it in rounds):.1f}",
    ]


def wrongs(greed: str, rounds: Sequence[Round]) -> Iterator[str]:
    """What is not as promised."""
    growth = median(it.growth for it in rounds)
    if growth >= MOST:
        yield f"{greed}: the callers' p99 grows {growth:.2f} times"
    throughput = median(it.throughput for it in rounds)
    if throughput < LEAST:
        yield f"{greed}: only {throughput:.2f} times the rows are run in all"
    for it in rounds:
        for where in (it.quiet, it.both, it.lone, it.lone_both):
            if set(where.callers.outcomes) != {"200"}:
                yield f"{greed}: callers got {dict(where.callers.outcomes)}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-g", "--greeds", choices=GREEDS, action="append", help="all by default")
    add("-s", "--seconds", type=float, default=6, help="of each run")
    add("-r", "--rounds", type=int, default=2, help="of runs of each kind")
    takes_options(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure as the command line says."""
    chosen = parse()
    greeds = chosen.greeds or list(GREEDS)
    found: dict[str, list[Round]] = {greed: [] for greed in greeds}
    with known.serving(START, chosen.options) as server:
        for _ in range(chosen.rounds):
            for greed in greeds:
                found[greed].append(measure(server, greed, chosen.seconds))
    print(file=sys.stderr)
    print(circumstances(("twisted",)))
    print(f"\n{table(HEADS, [line(*it) for it in found.items()])}")
    wrong = [text for it in found.items() for text in wrongs(*it)]
    print("\n".join(["", *wrong]) if wrong else "\nall as promised")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
