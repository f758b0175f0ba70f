"""Whether cost grows gently: with connections, with methods, with large answers.

    python -m benchmarks.gentle             # some five minutes
    python -m benchmarks.gentle -r 1

What is compared takes turns, since readings of a shared machine vary by more than
what is looked for. The exit status is 1 if

- 1,000 connections have less than 0.85 of the throughput of 64,
- a model of 200 signatures has less than 0.9 of the throughput of one of two,
- an answer of 10 MB delays health probes by 50 ms or more.

wrk is needed (Debian: ``apt-get install wrk``).
"""

from __future__ import annotations

import argparse
import http.client
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median

import attrs

from . import models, ours
from .arguments import described
from .drive import drive
from .process import Server
from .table import circumstances, ratio, table
from .workloads import JSON, WORKLOADS, Request, Workload

LEAST_CROWDED = 0.85
LEAST_MANY = 0.9
MOST_DELAY = 50.0  # ms

TWO = Workload("two", "two", JSON)
MANY = Workload("many", "many", JSON)
LONG = Workload("long", "long", JSON)

# Seconds between two health probes, and how many large answers they are beside.
PROBE_EVERY = 0.003
ANSWERS = 5


@attrs.frozen
class Finding:
    """One comparison: what was found, and whether that is as promised."""

    name: str
    found: str
    wanted: str
    good: bool


@contextmanager
def serving(workload: Workload, path: str = "/") -> Iterator[Server]:
    """A server that answers, for the length of a block."""
    server = ours.serve(workload)
    server.path = path
    try:
        server.wait(workload.requests()[0])
        yield server
    finally:
        server.close()


def at_least(name: str, found: float, least: float) -> Finding:
    """A ratio of throughputs."""
    return Finding(name, f"{found:.2f}", f"at least {least}", found >= least)


def crowded(rounds: int, seconds: int) -> Finding:
    """Many connections beside some."""
    load = (WORKLOADS["tiny"].requests(),)
    # A thousand connections are made in a fifth of a second, which is to count little.
    longer = 3 * seconds
    pairs = []
    for _ in range(rounds):
        # Where a process has what in memory makes a difference of a tenth.
        with serving(WORKLOADS["tiny"]) as server:
            many = drive(server, *load, 1000, longer)
            pairs.append((many, drive(server, *load, 64, longer)))
    found = median(ratio([many], [some]) for many, some in pairs)
    return at_least("req/s at 1000 / at 64 connections", found, LEAST_CROWDED)


def many_methods(rounds: int, seconds: int) -> Finding:
    """The last of many methods beside one of two."""
    requests = TWO.requests()
    last = f"/{models.other(models.OTHERS['many'] - 1)}"
    with serving(MANY, last) as many, serving(TWO, f"/{models.other(0)}") as two:
        pairs = [
            (drive(many, requests, 64, seconds), drive(two, requests, 64, seconds))
            for _ in range(rounds)
        ]
    found = median(ratio([first], [second]) for first, second in pairs)
    return at_least("req/s with 200 / with 2 signatures", found, LEAST_MANY)


class Probes:
    """A client that asks how the server is, over and over; ``worst`` in ms."""

    def __init__(self, server: Server) -> None:
        self.worst = 0.0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Probes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        while not self._stop.wait(PROBE_EVERY):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            self.worst = max(self.worst, (time.perf_counter() - began) * 1000)
        connection.close()


def load(server: Server, request: Request) -> int:
    """Have an answer, and only count its bytes: parsing would be a load of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/", request.body, request.headers())
    answer = connection.getresponse()
    buffer, size = bytearray(1024 * 1024), 0
    while count := answer.readinto(buffer):
        size += count
    connection.close()
    return size


def worst_probe(server: Server, meanwhile: Callable[[], object]) -> float:
    """The slowest probe while something else goes on, in ms."""
    with Probes(server) as probes:
        meanwhile()
    return probes.worst


def large_answers(rounds: int) -> Finding:
    """Health probes while large answers are computed, written and sent."""
    request = LONG.requests()[0]
    delays, size = [], 0
    with serving(LONG) as server:
        for _ in range(rounds * ANSWERS):
            began = time.perf_counter()
            slow = worst_probe(server, partial(load, server, request))
            spent = time.perf_counter() - began
            quiet = worst_probe(server, partial(time.sleep, spent))
            delays.append(slow - quiet)
        size = load(server, request)
    found = median(delays)
    name = f"delay of a probe beside an answer of {size / 1e6:.1f} MB"
    good = found < MOST_DELAY and size >= 10e6
    return Finding(name, f"{found:.1f} ms", f"less than {MOST_DELAY:g} ms", good)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-r", "--rounds", type=int, default=5, help="pairs of each comparison")
    add("-s", "--seconds", type=int, default=3, help="of each run")
    return parser.parse_args(arguments)


def main() -> None:
    """Compare, print, and end with 1 if anything is not as promised."""
    chosen = parse()
    findings = [
        crowded(chosen.rounds, chosen.seconds),
        many_methods(chosen.rounds, chosen.seconds),
        large_answers(chosen.rounds),
    ]
    rows = [[it.name, it.found, it.wanted, "" if it.good else "NO"] for it in findings]
    print(circumstances(("twisted", "tensorflow")))
    print(f"\n{table(('what', 'found', 'wanted', ''), rows)}")
    sys.exit(not all(it.good for it in findings))


if __name__ == "__main__":
    main()
