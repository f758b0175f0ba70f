"""How fast the server is, and whether its answers are right meanwhile.

    python -m benchmarks.run                       # all of it: several minutes
    python -m benchmarks.run -w tiny -c 8 -s 2     # one cell
    python -m benchmarks.run -w tiny,mlp --compare mosec,fastapi
    python -m benchmarks.run -w tiny -c 64 --profile

Models, peers and profiles are kept in ``.bench``. wrk is needed (Debian:
``apt-get install wrk``). Readings of a busy machine mean nothing; ratios of
``--compare`` are of runs in turn, so they mean a little.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from . import ours
from .arguments import among, described, numbers
from .drive import Reading, drive
from .limit import Limit, Rates, highest
from .peers import PEERS
from .process import NotServing, Server
from .profiled import report
from .table import HEADS, circumstances, ratio, row, table
from .workloads import INSTEAD, WORKLOADS, Request, Workload

PACKAGES = ("tensorflow", "twisted", "numpy")

#: A server that is up, and what it is asked.
Contender = tuple[Server, list[Request]]

#: By the connections, and then by the server, in the order of the rounds.
Readings = dict[int, dict[str, list[Reading]]]

#: What the model alone did in the same rounds, by the connections.
Limits = dict[int, list[float]]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-w", "--workloads", type=among(WORKLOADS), default=list(WORKLOADS))
    add("-c", "--connections", type=numbers, default=[1, 8, 64])
    add("-s", "--seconds", type=int, default=3, help="of each run")
    add("-r", "--rounds", type=int, default=1, help="runs of each cell")
    add("--compare", type=among(PEERS), default=[], help="peers, in turn with ours")
    add("--options", type=shlex.split, default=[], help="of our server, in one word")
    add("--no-limit", action="store_true", help="do not measure the model alone")
    add("--profile", action="store_true", help="where the reactor's time goes")
    return parser.parse_args(arguments)


def contenders(
    workload: Workload, chosen: argparse.Namespace, stack: ExitStack
) -> Iterator[Contender]:
    """Our server and the peers, up and answering; those that do not are told of."""
    servers = [(lambda: ours.serve(workload, chosen.options, chosen.profile), workload)]
    for name in chosen.compare:
        peer, asked = PEERS[name], workload
        if not peer.takes(workload):
            asked = INSTEAD.get(workload.name, workload)
        if peer.takes(asked):
            servers.append(
                (lambda peer=peer, asked=asked: peer.serve(asked), asked)  # type: ignore[misc]
            )
    for start, asked in servers:
        requests = asked.requests()
        server = start()
        stack.callback(server.close)
        try:
            server.wait(requests[0])
        except NotServing as error:
            print(f"{asked.name}: {error}", file=sys.stderr)
            continue
        yield server, requests


def measure(
    running: Sequence[Contender], limit: Limit | None, chosen: argparse.Namespace
) -> tuple[Readings, Limits]:
    """Every cell of a workload, the servers and the model alone in turn: A B A B."""
    found: Readings = {}
    limits: Limits = {}
    for connections in chosen.connections:
        cell = found[connections] = {server.name: [] for server, _ in running}
        alone: list[Rates] = []
        for _ in range(chosen.rounds):
            for server, requests in running:
                reading = drive(server, requests, connections, chosen.seconds)
                cell[server.name].append(reading)
                print(".", end="", file=sys.stderr, flush=True)
            if limit is not None:
                alone.append(limit.read(connections, chosen.seconds))
        limits[connections] = highest(alone)
    print(file=sys.stderr)
    return found, limits


def lines(workload: Workload, found: Readings, limits: Limits) -> list[list[str]]:
    """The lines of the table for a workload."""
    return [
        row(workload.name, server, connections, readings, limits[connections])
        for connections, cell in found.items()
        for server, readings in cell.items()
    ]


def ratios(workload: Workload, found: Readings) -> list[list[str]]:
    """For each peer, how many times its throughput ours is, by connections."""
    cells = list(found.values())
    return [
        [
            f"{workload.name}: {ours.NAME} / {peer}",
            *(f"{ratio(cell[ours.NAME], cell[peer]):.2f}" for cell in cells),
        ]
        for peer in cells[0]
        if peer != ours.NAME and ours.NAME in cells[0]
    ]


def main() -> None:
    """Measure what the command line says, and print it."""
    chosen = parse()
    told: list[list[str]] = []
    compared: list[list[str]] = []
    for name in chosen.workloads:
        workload = WORKLOADS[name]
        with ExitStack() as stack:
            limit = None if chosen.no_limit else Limit(workload.model)
            if limit is not None:
                stack.callback(limit.close)
            running = list(contenders(workload, chosen, stack))
            found, limits = measure(running, limit, chosen)
        told += lines(workload, found, limits)
        compared += ratios(workload, found) if running else []
        if chosen.profile:
            print(report(ours.profile_of(workload)))
    print(circumstances(PACKAGES))
    print(f"\n{table(HEADS, told)}")
    if compared:
        heads = ["ratio of req/s", *map(str, chosen.connections)]
        print(f"\n{table(heads, compared)}")


if __name__ == "__main__":
    main()
