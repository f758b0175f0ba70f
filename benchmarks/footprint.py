"""What the server takes beside a bare process with the same model.

    python -m benchmarks.footprint              # start and memory, tiny and tensor
    python -m benchmarks.footprint -w image -r 5

Both start in turn. *Start* is from the start of the process to its first right
answer. *Memory* is what is resident: the bare process's once the model is loaded
and after batches as large as the server's, the server's after a load of 64
connections.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

import attrs

from . import ours
from .arguments import among, described
from .drive import drive
from .models import path
from .places import environment, module
from .run import PACKAGES
from .table import circumstances, table
from .workloads import WORKLOADS, Workload

HEADS = (
    *("workload", "bare start s", "start s", "ratio"),
    *("bare MiB", "bare after runs", "idle MiB", "loaded MiB", "over bare"),
)
CONNECTIONS = 64
ROWS = 32


@attrs.frozen
class Bare:
    """Seconds to the first answer; MiB once loaded and after runs."""

    start: float
    loaded: float
    run: float


@attrs.frozen
class Served:
    """Seconds to the first answer; MiB then and after load."""

    start: float
    idle: float
    loaded: float


def bare(workload: Workload) -> Bare:
    """Measure a process without a server."""
    command = module("benchmarks.bare", workload.model, str(ROWS))
    began = time.monotonic()
    with subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        start = time.monotonic() - began
        return Bare(start, **json.loads(process.stdout.readline()))


def served(workload: Workload, seconds: int) -> Served:
    """Measure the server."""
    requests = workload.requests()
    server = ours.serve(workload)
    try:
        start = server.wait(requests[0])
        idle = server.resident_mib()
        reading = drive(server, requests, CONNECTIONS, seconds)
        return Served(start, idle, reading.memory)
    finally:
        server.close()


def line(name: str, without: Sequence[Bare], with_: Sequence[Served]) -> list[str]:
    """The medians, as a line of the table."""
    start = median(it.start for it in without), median(it.start for it in with_)
    loaded = median(it.loaded for it in without)
    under = median(it.loaded for it in with_)
    return [
        name,
        f"{start[0]:.2f}",
        f"{start[1]:.2f}",
        f"{start[1] / start[0]:.2f}",
        f"{loaded:.0f}",
        f"{median(it.run for it in without):.0f}",
        f"{median(it.idle for it in with_):.0f}",
        f"{under:.0f}",
        f"{under - loaded:+.0f}",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line says, and print it."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-w", "--workloads", type=among(WORKLOADS), default=["tiny", "tensor-npy"])
    add("-s", "--seconds", type=int, default=3, help="of load")
    add("-r", "--rounds", type=int, default=3, help="starts of each")
    chosen = parser.parse_args(arguments)
    told = []
    for name in chosen.workloads:
        workload = WORKLOADS[name]
        path(workload.model)
        rounds = []
        for _ in range(chosen.rounds):
            rounds.append((bare(workload), served(workload, chosen.seconds)))
            print(".", end="", file=sys.stderr, flush=True)
        told.append(line(name, *zip(*rounds, strict=True)))
    print(f"\n{circumstances(PACKAGES)}\n\n{table(HEADS, told)}")


if __name__ == "__main__":
    main()
