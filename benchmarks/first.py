"""What the first request after a start costs, beside those that follow.

    python -m benchmarks.first                     # tiny and mlp, five starts each
    python -m benchmarks.first -w image -n 3

As soon as ``/readyz`` says so, forty requests are sent, one after the other. Told
are the medians over the starts of the first one and of the later ones, in
milliseconds of waiting and of the server's processor time, and their ratios; on a
busy machine only the latter mean something. Ends with status 1 if the ratio of
processor times is more than 1.5.
"""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from . import ours
from .arguments import described
from .process import PATIENCE, Server
from .workloads import WORKLOADS, Request

REQUESTS = 40
LATER = 10
WANTED = 1.5


def cpu_ms(pid: int) -> float:
    """Processor time of a process so far, in steps of nanoseconds (Linux)."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e6


def wait_until_ready(port: int) -> float:
    """Wait for ``/readyz``; seconds that it took."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return time.monotonic() - began
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.02)
    raise SystemExit("the server is never ready")


def measured(server: Server, requests: list[Request]) -> list[tuple[float, float]]:
    """Milliseconds that each request takes: waited for, and of processors."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    time.sleep(0.05)
    taken = []
    for number in range(REQUESTS):
        request = requests[number % len(requests)]
        before, began = cpu_ms(server.pid), time.perf_counter()
        connection.request("POST", "/", request.body, request.headers())
        answer = connection.getresponse()
        wrong = request.why_wrong(answer.status, answer.read())
        waited = (time.perf_counter() - began) * 1e3
        if wrong is not None:
            raise SystemExit(wrong)
        # What it does after it has answered counts too.
        time.sleep(0.005)
        taken.append((waited, cpu_ms(server.pid) - before))
    return taken


def main() -> None:
    """Start servers, and tell what was measured."""
    parser = described(__doc__)
    parser.add_argument("-w", "--workloads", default="tiny,mlp")
    parser.add_argument("-n", "--starts", type=int, default=5)
    options = parser.parse_args()
    worst = 0.0
    for name in options.workloads.split(","):
        workload, starts, ready = WORKLOADS[name], [], []
        for _ in range(options.starts):
            server = ours.serve(workload)
            try:
                ready.append(wait_until_ready(server.port))
                starts.append(measured(server, workload.requests()))
            finally:
                server.close()
        told = [f"{name}: ready after {median(ready):.1f} s"]
        columns: dict[str, Callable[[tuple[float, float]], float]] = {
            "waited": lambda it: it[0],
            "processor": lambda it: it[1],
        }
        for what, column in columns.items():
            first = median(column(start[0]) for start in starts)
            later = median(median(map(column, start[LATER:])) for start in starts)
            ratio = first / later
            told.append(f"{what} {first:.2f} / {later:.2f} ms = {ratio:.2f}")
        worst = max(worst, ratio)
        print("; ".join(told), flush=True)
    sys.exit(worst > WANTED)


if __name__ == "__main__":
    main()
