"""A server as a process, and what the system says of it (Linux: ``/proc``)."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .workloads import Request

# Loading MobileNetV2 takes 10 s on a quiet machine.
PATIENCE = 120.0

TICKS = os.sysconf("SC_CLK_TCK")


class NotServing(Exception):
    """A server that does not answer, or answers wrongly; the text says how."""


class Server:
    """A process that serves one model at a port of 127.0.0.1.

    Args:
        name: what the table calls it.
        command: what starts it, with the port in it.
        port: where it will listen.
        environment: of the process.
        path: where the model is called.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        environment: Mapping[str, str],
        path: str = "/",
    ) -> None:
        self.name = name
        self.port = port
        self.path = path
        self._output = tempfile.TemporaryFile()  # noqa: SIM115, closed by close()
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started = time.monotonic()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, request: Request) -> str | None:
        """Send one request; what is wrong with the answer, or None.

        Raises:
            OSError: nobody listens.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", self.path, request.body, request.headers())
            answer = connection.getresponse()
            return request.why_wrong(answer.status, answer.read())
        finally:
            connection.close()

    def wait(self, request: Request) -> float:
        """Wait until a request is answered rightly; seconds since the start.

        Raises:
            NotServing: it ended, or it did not come to that.
        """
        why: str | None = "it does not listen"
        while time.monotonic() < self.started + PATIENCE:
            if self._process.poll() is not None:
                raise NotServing(f"{self.name} ended:\n{self.log()}")
            try:
                why = self.ask(request)
            except (OSError, http.client.HTTPException) as error:
                why = str(error)
            else:
                if why is None:
                    return time.monotonic() - self.started
                # 503: it is still loading.
                if not why.startswith("503"):
                    break
            time.sleep(0.02)
        raise NotServing(f"{self.name}: {why}")

    def cpu_seconds(self) -> float:
        """What it has used of processors so far, with its child processes."""
        return sum(_cpu_ticks(pid) for pid in self._pids()) / TICKS

    def resident_mib(self) -> float:
        """Memory that it holds, with its child processes; see that function."""
        return resident_mib(self._pids())

    def tell_to_end(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def status(self) -> int | None:
        """The status that it ended with; None if it has not."""
        return self._process.poll()

    def log(self) -> str:
        """The end of what it said."""
        self._output.seek(0)
        return self._output.read()[-3000:].decode("utf-8", "replace")

    def close(self) -> None:
        """End it and all that it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._output.close()

    def _pids(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, _read(task).split())
        return found


def resident_mib(pids: Iterable[int]) -> float:
    """Memory that processes hold, in MiB.

    Of the files mapped into several of them the largest share counts once.
    """
    pages = [_status(pid) for pid in pids]
    own = sum(it.get("RssAnon", 0) + it.get("RssShmem", 0) for it in pages)
    return (own + max(it.get("RssFile", 0) for it in pages)) / 1024


def _read(path: Path) -> str:
    """A file of ``/proc``, empty if the process has just gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _cpu_ticks(pid: int) -> int:
    """User and system time: proc(5), fields 14 and 15 of ``stat``."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _status(pid: int) -> dict[str, int]:
    """The lines of ``/proc/PID/status`` that count kB, by their names."""
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs}
