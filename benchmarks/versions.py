"""Whether a call is ever lost while a model gets new versions under load.

    python -m benchmarks.versions                  # ten versions, half a minute
    python -m benchmarks.versions -n 50 -c 32

Every third version is broken. It counts the answers by status, and calls that
got none, and ends with status 1 unless all are 200.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from . import models, ours
from .arguments import described
from .places import environment, free_port
from .process import PATIENCE, Server
from .workloads import WORKLOADS, Request

WORKLOAD = WORKLOADS["mlp"]


class Clients:
    """Threads that call on connections that they keep, and time each answer."""

    def __init__(self, port: int, requests: list[Request], count: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.times: list[tuple[float, float]] = []
        self._port = port
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(requests[i % len(requests)],))
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more, and wait for the last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, request: Request) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", "/", request.body, request.headers())
                answer = connection.getresponse()
                wrong = request.why_wrong(answer.status, answer.read())
                outcome = "200" if wrong is None else wrong
            except Exception as error:
                outcome = type(error).__name__
                connection.close()
            now = time.monotonic()
            self.outcomes[outcome] += 1
            self.times.append((now, now - began))


def listed(port: int) -> dict[int, Any]:
    """The versions of the model, and what is told of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/models")
    rows = json.loads(connection.getresponse().read())[0]["versions"]
    connection.close()
    return {row["version"]: row for row in rows}


def put(folder: Path, number: int, broken: bool) -> None:
    """Copy a version in as one should not: file by file, under its own name."""
    place = folder / str(number)
    shutil.copytree(models.path(WORKLOAD.model), place)
    if broken:
        graph = place / "saved_model.pb"
        content = graph.read_bytes()
        graph.write_bytes(content.replace(b"ReadVariableOp", b"ReadVariableOq"))


def wait_for(port: int, number: int, broken: bool) -> float:
    """Seconds until a version is served, or known not to be, and none ends."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        row = listed(port).get(number, {})
        states = [it["state"] for it in listed(port).values()]
        known = row.get("error") if broken else row.get("state") == "AVAILABLE"
        if known and "UNLOADING" not in states:
            return time.monotonic() - began
        time.sleep(0.05)
    raise SystemExit(f"version {number} never came to anything")


def p99(seconds: list[float]) -> str:
    """The time within which 99 of 100 were answered."""
    return f"{sorted(seconds)[int(len(seconds) * 0.99)] * 1e3:.1f} ms"


def main() -> None:
    """Put versions in, one after the other, while clients call."""
    parser = described(__doc__)
    parser.add_argument("-n", "--versions", type=int, default=10)
    parser.add_argument("-c", "--connections", type=int, default=8)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    put(folder, 1, broken=False)
    port = free_port()
    command = [sys.executable, "-c", ours.TWISTD, "-n", "--pidfile=", "tfinfer"]
    command += [f"--model={folder}", "--poll_seconds=0.2", f"--port={port}"]
    server = Server("txinfer", command, port, environment())
    requests = WORKLOAD.requests()
    try:
        server.wait(requests[0])
        clients = Clients(port, requests, options.connections)
        time.sleep(2)
        quiet = time.monotonic()
        memory = [server.resident_mib()]
        for number in range(2, options.versions + 2):
            broken = number % 3 == 0
            put(folder, number, broken)
            took = wait_for(port, number, broken)
            what = "refused" if broken else "served"
            memory.append(server.resident_mib())
            print(
                f"version {number}: {what} after {took:.1f} s; {memory[-1]:.0f} MiB",
                flush=True,
            )
        clients.stop()
    finally:
        server.close()
        shutil.rmtree(folder)
    before = [took for at, took in clients.times if at < quiet]
    during = [took for at, took in clients.times if at >= quiet]
    print(f"answers: {dict(clients.outcomes)}")
    print(f"p99: {p99(before)} quiet, {p99(during)} while versions came")
    sys.exit(set(clients.outcomes) != {"200"})


if __name__ == "__main__":
    main()
