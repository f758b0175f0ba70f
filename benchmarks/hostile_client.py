"""Sends hostile bodies to a process of ``hostile_server``, and watches it (Linux)."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from .hostile_bodies import BODIES, Body

SERVER = Path(__file__).with_name("hostile_server.py")

# A body of ten million bytes and its answer take a second on a busy machine.
PATIENCE = 60.0


@attrs.frozen
class Victim:
    """A server: its process and its ports."""

    pid: int
    port: int
    ticker: int

    def send(self, body: Body, data: bytes) -> int:
        """The status that a body is answered with."""
        headers = {"Content-Type": body.media_type, **body.headers}
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=PATIENCE
        )
        try:
            connection.request("POST", f"/{body.method}", data, headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def stall(self) -> tuple[float, float]:
        """The longest stall since it was last asked, and its CPU time, in seconds."""
        # The ticks after the last request count as well.
        time.sleep(0.05)
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ticker, timeout=PATIENCE
        )
        connection.request("GET", "/")
        told = json.loads(connection.getresponse().read())
        connection.close()
        return told["stall"], told["cpu"]

    def memory(self, line: str) -> float:
        """A line of ``/proc/PID/status``, in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (found,) = [text for text in status.splitlines() if text.startswith(line)]
        return int(found.split()[1]) / 1024

    def forget_peak(self) -> None:
        """Let the peak of memory (``VmHWM``) be what is held now (proc(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


@contextmanager
def victim(tensorflow: bool) -> Iterator[Victim]:
    """A server that is ready, and is ended at the exit."""
    root = str(SERVER.parent.parent)
    command = [sys.executable, str(SERVER), *(["--tensorflow"] if tensorflow else [])]
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout is not None
        port, ticker = map(int, process.stdout.readline().split())
        yield Victim(process.pid, port, ticker)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def arguments(doc: str | None) -> argparse.Namespace:
    """The command line: which bodies, against which server."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--tensorflow", action="store_true", help="decode images")
    parser.add_argument("--only", default="", help="bodies with this in their name")
    options = parser.parse_args()
    options.bodies = [body for body in BODIES if options.only in body.name]
    return options
