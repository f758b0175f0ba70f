"""One cell of the table: a server under load while its answers are checked."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import attrs

from .process import NotServing, Server
from .workloads import Request

WRK = Path(__file__).parent / "wrk.lua"

# Between two checks, in seconds: often enough for a dozen in a short run, and
# too seldom to be a load of its own.
CHECK_EVERY = 0.2

# Before the clock runs, in seconds: connections are made, batches grow.
WARM_UP = 1

# What clients have asked who are gone may be answered all the same. So a run begins
# when a server is at rest, and ends when it is again, for whoever is next. It is that
# when it uses no more than such a share of a processor from one look to the next, so
# many seconds later (the clock of processes has ten ticks in that). It is looked at so
# many times at most.
AT_REST = 0.15
LOOK_EVERY = 0.1
LOOKS = 50

HOW_TO_GET_WRK = "wrk is not there; on Debian: apt-get install wrk"


@attrs.frozen
class Reading:
    """What one run showed: times in ms, ``cpu`` in µs a request, memory in MiB."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float
    batch_rows: float | None
    checked: int
    failures: int


class Checker:
    """A client beside the load, whose every answer is compared.

    Its rows differ from those of the load: an answer that is somebody else's
    is seen.
    """

    def __init__(self, server: Server, requests: list[Request]) -> None:
        self.checked = 0
        self.wrong: list[str] = []
        self._server = server
        self._requests = requests
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._check)

    def __enter__(self) -> Checker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _check(self) -> None:
        while not self._stop.wait(CHECK_EVERY):
            request = self._requests[self.checked % len(self._requests)]
            try:
                why = self._server.ask(request)
            except (OSError, http.client.HTTPException) as error:
                why = repr(error)
            self.checked += 1
            if why is not None:
                self.wrong.append(why)


def drive(
    server: Server,
    requests: list[Request],
    connections: int,
    seconds: int,
    pause: int = 0,
) -> Reading:
    """Load a server for some seconds and read what it did.

    Args:
        server: is up.
        requests: the first is the load, the others are checked beside it.
        connections: how many clients there are.
        seconds: how long, after a second that does not count.
        pause: how long each client waits before its next request, in ms.

    Raises:
        NotServing: an answer was wrong.
    """
    load, *others = requests
    with tempfile.NamedTemporaryFile() as file:
        file.write(load.body)
        file.flush()
        url = f"http://127.0.0.1:{server.port}{server.path}"
        arguments = [file.name, load.wire.media_type, load.wire.accept]
        if pause:
            arguments.append(str(pause))
        wrk(url, arguments, connections, WARM_UP)
        settle(server)
        runs, cpu = batches(server.port), server.cpu_seconds()
        with Checker(server, others) as checker:
            said = wrk(url, arguments, connections, seconds)
    cpu = server.cpu_seconds() - cpu
    memory = server.resident_mib()
    settle(server)
    if checker.wrong:
        raise NotServing(f"{server.name} answered wrongly: {checker.wrong[0]}")
    return Reading(
        rate=(said["requests"] - said["refused"]) / said["seconds"],
        p50=said["p50"],
        p99=said["p99"],
        cpu=cpu * 1e6 / max(1, said["requests"] + checker.checked),
        memory=memory,
        batch_rows=_rows_a_batch(runs, batches(server.port)),
        checked=checker.checked,
        failures=said["refused"] + said["broken"],
    )


def settle(server: Server) -> None:
    """Wait until a server is at rest, but no longer than ``LOOKS`` looks."""
    before = server.cpu_seconds()
    for _ in range(LOOKS):
        time.sleep(LOOK_EVERY)
        now = server.cpu_seconds()
        if now - before <= AT_REST * LOOK_EVERY:
            return
        before = now


def wrk(url: str, arguments: list[str], connections: int, seconds: int) -> Any:
    """Run wrk in one thread; what ``wrk.lua`` prints at the end."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit(HOW_TO_GET_WRK)
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=30s"]
    command += [f"-s{WRK}", url, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def batches(port: int) -> tuple[float, float] | None:
    """Rows and runs so far, summed over the server's methods; None if unknown.

    Read from the Prometheus histogram of the rows in a batch.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
    except OSError:
        return None
    sums = [
        sum(
            map(
                float,
                re.findall(rf"^\w*batch_rows_{end}(?:{{.*}})? (\S+)$", text, re.M),
            )
        )
        for end in ("sum", "count")
    ]
    return (sums[0], sums[1]) if sums[1] else None


def _rows_a_batch(
    before: tuple[float, float] | None, after: tuple[float, float] | None
) -> float | None:
    if after is None:
        return None
    rows, runs = before or (0.0, 0.0)
    return (after[0] - rows) / max(1.0, after[1] - runs)
