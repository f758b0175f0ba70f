"""How long any hostile body keeps the reactor from its next turn.

    PYTHONPATH=. python -m benchmarks.hostile_stall [--tensorflow] [--only WORD]

Prints for each body its size, the status it is answered with, the longest stall
of a ticker of 10 ms, and the CPU time in the longest turn. Of several tries the
best counts: what the server does itself is in each of them, what else the
machine does is not. The exit status is 1 if a stall is over the limit. On a
machine that is busy otherwise look at the CPU time: a stall is no shorter.
"""

from __future__ import annotations

import sys

from .hostile_bodies import Body
from .hostile_client import Victim, arguments, victim

# Milliseconds.
LIMIT = 100.0

TRIES = 3


def measure(server: Victim, body: Body) -> tuple[int, int, float, float]:
    """Size and status of a body; stall and CPU time in milliseconds."""
    data = body.make()
    stalls, times = [], []
    for _ in range(TRIES):
        server.stall()
        status = server.send(body, data)
        stall, cpu = server.stall()
        stalls.append(1000 * stall)
        times.append(1000 * cpu)
    return len(data), status, min(stalls), min(times)


def main() -> None:
    """Run as the command line says."""
    options = arguments(__doc__)
    over = []
    print(f"{'stall':>7} {'cpu':>7}  {'bytes':>9} status  limit {LIMIT:.0f} ms")
    with victim(options.tensorflow) as server:
        for body in options.bodies:
            size, status, stall, cpu = measure(server, body)
            mark = "  OVER" if stall > LIMIT else ""
            print(f"{stall:7.1f} {cpu:7.1f}  {size:9} {status}  {body.name}{mark}")
            if stall > LIMIT:
                over.append(body.name)
    print(f"{len(options.bodies)} bodies, {len(over)} over the limit")
    sys.exit(bool(over))


if __name__ == "__main__":
    main()
