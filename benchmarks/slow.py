"""Slow attackers, and what normal clients notice of them.

    python -m benchmarks.slow                       # several minutes, mostly waiting
    python -m benchmarks.slow -m headers -r 1       # one mode once

slowhttptest (Debian: ``apt-get install slowhttptest``) opens hundreds of sockets
and sends headers, sends a body or reads an answer byte by byte, while wrk is a
normal client of a server with default limits. Quiet runs and runs under attack
take turns. The exit status is 1 if the normal clients' p99 under attack is more
than twice the quiet one (the median of all pairs, since other programs are in the
way of single ones), or if a socket of the attackers outlives its deadline.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import attrs

from txinfer.ends import LINGER_SECONDS
from txinfer.limits import DoorLimits
from txinfer.site import TICK

from . import ours
from .arguments import described
from .drive import Reading, drive
from .places import free_port
from .process import Server
from .table import circumstances, table
from .workloads import WORKLOADS, Request

HOW_TO_GET_IT = "slowhttptest is not there; on Debian: apt-get install slowhttptest"

# Seconds for which it waits for its own probe. When they are over it polls a socket
# that it has closed, without pause, and takes a processor that is the server's here.
PROBE = 600

#: How many times the quiet p99 the p99 under attack may be.
MOST = 2.0

# Past the deadline: the site looks that often, a refused client is heard out for
# that long, and the processors have other things to do.
SLACK = TICK + LINGER_SECONDS + 1.5

# Milliseconds that a normal client waits before each request. Clients that do not
# wait leave no processor to anybody, and measure how they share it with attackers.
PAUSE = 10

# Seconds between two looks at the sockets.
LOOK_EVERY = 0.1

# Larger than what the kernel takes off a server's hands (tcp_wmem: 4 MiB).
LARGE = 16 * 1024 * 1024

LISTENING = "0A"

DEFAULTS = DoorLimits()


@attrs.frozen
class Mode:
    """A way to be slow.

    ``deadline`` is how many seconds the server waits for such a client.
    """

    name: str
    options: tuple[str, ...]
    path: str
    deadline: float


MODES = {
    mode.name: mode
    for mode in (
        Mode("headers", ("-H", "-i1", "-x24"), "/", DEFAULTS.header_timeout),
        Mode("body", ("-B", "-i1", "-x10", "-s8192"), "/", DEFAULTS.body_timeout),
        Mode(
            "read",
            ("-X", "-n1", "-z32", "-w256", "-y512"),
            "/web/large",
            DEFAULTS.write_timeout,
        ),
    )
}


def held(port: int) -> set[tuple[str, str]]:
    """The connections of a listening process at a port (Linux: ``/proc``).

    Those that it has closed have no inode any more, however long the kernel
    keeps them.
    """
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        is_ours = int(local.partition(":")[2], 16) == port and state != LISTENING
        inode = rest[5]
        if is_ours and inode != "0":
            found.add((remote, inode))
    return found


class Watch:
    """Notes when each connection at a port was first seen, and last."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.now: set[tuple[str, str]] = set()
        self._first: dict[tuple[str, str], float] = {}
        self._last: dict[tuple[str, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def count(self) -> int:
        """How many there have been."""
        return len(self._first)

    @property
    def longest(self) -> float:
        """For how many seconds the longest was there."""
        ages = (last - self._first[key] for key, last in self._last.items())
        return max(ages, default=0.0)

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until so many are there at once (0: none is left)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(self.now) >= count > 0 or (not count and not self.now):
                return True
            time.sleep(LOOK_EVERY)
        return False

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self.now = held(self.port)
            now = time.monotonic()
            for key in self.now:
                self._first.setdefault(key, now)
                self._last[key] = now


@attrs.frozen
class Pair:
    """A quiet run, the one under attack after it, and what became of the sockets.

    ``sockets`` is how many the attackers got, ``longest`` the life of the longest
    in seconds, ``left`` how many outlived the deadline.
    """

    quiet: Reading
    attacked: Reading
    sockets: int
    longest: float
    left: int

    @property
    def ratio(self) -> float:
        """The p99 under attack to the quiet one."""
        return self.attacked.p99 / self.quiet.p99


@contextmanager
def attackers(mode: Mode, port: int, count: int) -> Iterator[None]:
    """Attack for the length of a block."""
    program = shutil.which("slowhttptest")
    if program is None:
        raise SystemExit(HOW_TO_GET_IT)
    command = [
        program,
        *mode.options,
        f"-c{count}",
        f"-r{count}",
        "-l240",
        f"-p{PROBE}",
    ]
    command += ["-u", f"http://127.0.0.1:{port}{mode.path}"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def compare(
    mode: Mode,
    server: Server,
    attacked_port: int,
    requests: list[Request],
    chosen: argparse.Namespace,
) -> Pair:
    """One quiet run, and one under attack, of the same clients."""
    load = (server, requests, chosen.connections, chosen.seconds, PAUSE)
    quiet = drive(*load)
    with (
        Watch(attacked_port) as watch,
        attackers(mode, attacked_port, chosen.attackers),
    ):
        if not watch.wait_for(chosen.attackers, 10):
            raise SystemExit(f"{mode.name}: only {watch.count} attackers came in")
        attacked = drive(*load)
        watch.wait_for(0, mode.deadline + SLACK + 5)
        return Pair(quiet, attacked, watch.count, watch.longest, len(watch.now))


def line(mode: Mode, pairs: Sequence[Pair]) -> list[str]:
    """What is told of a mode."""
    cells = [mode.name]
    for runs in ([it.quiet for it in pairs], [it.attacked for it in pairs]):
        cells.append(f"{median(it.p50 for it in runs):.2f}")
        cells.append(f"{median(it.p99 for it in runs):.2f}")
        cells.append(f"{median(it.rate for it in runs):,.0f}")
    cells.append(f"{median(it.ratio for it in pairs):.2f}")
    cells.append(str(sum(it.sockets for it in pairs)))
    cells.append(f"{max(it.longest for it in pairs):.1f}")
    cells.append(f"{mode.deadline:.0f}")
    return cells


HEADS = (
    *("attack", "p50 ms quiet", "p99", "req/s", "p50 ms attacked", "p99", "req/s"),
    *("p99 ratio", "sockets", "longest s", "deadline s"),
)


def wrongs(mode: Mode, pairs: Sequence[Pair]) -> Iterator[str]:
    """What is not as promised."""
    ratio = median(it.ratio for it in pairs)
    if ratio > MOST:
        yield f"{mode.name}: p99 under attack is {ratio:.2f} times the quiet one"
    longest = max(it.longest for it in pairs)
    if longest > mode.deadline + SLACK or any(it.left for it in pairs):
        yield f"{mode.name}: a socket lived for {longest:.1f} s"
    failures = sum(it.attacked.failures for it in pairs)
    if failures:
        yield f"{mode.name}: {failures} normal requests failed"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = described(__doc__)
    add = parser.add_argument
    add("-m", "--modes", choices=MODES, action="append", help="all by default")
    add("-r", "--rounds", type=int, default=3, help="pairs of each mode")
    add("-a", "--attackers", type=int, default=500, help="sockets of an attack")
    add("-c", "--connections", type=int, default=16, help="of normal clients")
    add("-s", "--seconds", type=int, default=4, help="of each run")
    return parser.parse_args(arguments)


def main() -> None:
    """Attack as the command line says."""
    chosen = parse()
    workload = WORKLOADS["tiny"]
    requests = workload.requests()
    modes = [MODES[name] for name in chosen.modes or MODES]
    found: dict[str, list[Pair]] = {mode.name: [] for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "large").write_bytes(bytes(LARGE))
        attacked_port = free_port()
        options = [f"--port={attacked_port}", f"--static_path={folder}"]
        server = ours.serve(workload, options)
        try:
            server.wait(requests[0])
            for _ in range(chosen.rounds):
                for mode in modes:
                    pair = compare(mode, server, attacked_port, requests, chosen)
                    found[mode.name].append(pair)
                    print(".", end="", file=sys.stderr, flush=True)
        finally:
            server.close()
    print(file=sys.stderr)
    print(circumstances(("twisted",)))
    print(f"\n{table(HEADS, [line(mode, found[mode.name]) for mode in modes])}")
    wrong = [text for mode in modes for text in wrongs(mode, found[mode.name])]
    print("\n".join(["", *wrong]) if wrong else "\nall as promised")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
