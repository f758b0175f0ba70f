"""Real server processes for the few tests that need one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# Importing TensorFlow on a busy machine takes its time; nothing waits this long
# unless something is broken.
PATIENCE = 120.0


def environment() -> dict[str, str]:
    """The tree first on the path, so that the plugin is found."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def twistd(*arguments: str) -> list[str]:
    """The command line of twistd in the interpreter of the tests."""
    return [sys.executable, "-m", "twisted", "twistd", *arguments]


class ServerProcess:
    """``txinfer serve`` on a free port of 127.0.0.1; ``log`` holds what it says."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "txinfer.cli", "serve", *options]
        self._output = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [*command, "--port", "0"],
            env=environment(),
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return Path(self._output.name).read_text("utf-8", "replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the log matches; fail if the process ends before."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.log)
            if found:
                return found
            assert not ended, f"the server ended:\n{self.log}"
            threading.Event().wait(0.05)
        raise AssertionError(f"no {pattern!r} in:\n{self.log}")

    def ready(self) -> str:
        """Wait until the model answers; returns the URL, without a slash."""
        return self.wait_for(r"Serving .* at (http://\S+)/")[1]

    def terminate(self) -> int:
        """SIGTERM, wait, and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._output.close()


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """A server for the length of a block; gives its URL, without a slash."""
    server = ServerProcess(*options)
    try:
        yield server.ready()
    finally:
        server.close()


def call(url: str, value: object | None = None) -> tuple[int, Any]:
    """GET, or POST a JSON value; returns the status and the JSON answer."""
    data = None if value is None else json.dumps(value).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
