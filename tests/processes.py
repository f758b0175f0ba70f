"""Real server processes for the few tests that need one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).parent.parent

# Importing TensorFlow on a busy machine takes its time; nothing waits this long
# unless something is broken.
PATIENCE = 120.0


# The commands, in the interpreter of the tests.
TXINFER = (sys.executable, "-m", "txinfer.cli")
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


def environment() -> dict[str, str]:
    """The tree first on the path, so that the plugin is found.

    What keeps TensorFlow silent in the tests, and Python from holding back
    output, is taken out: a server has to do without.
    """
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONPATH": str(ROOT)}


def ended(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and fail if it has none."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def needed(command: str, package: str) -> str:
    """The path of a command that a test needs; without it the test is skipped, but
    in CI, where it is to be installed, it fails.

    Args:
        command: its name.
        package: the Debian package that has it.
    """
    # Where servers are, which not everybody has on the path.
    path = shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        message = f"{command} is not installed (Debian package {package})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def eventually(condition: Callable[[], T]) -> T:
    """Wait until something is so, and return what it is."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it never came to that"
        threading.Event().wait(0.05)
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there that has not ended.

    One that nobody waits for stays listed after its end; Linux says so.
    """
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class ServerProcess:
    """A server on a free port of 127.0.0.1; ``log`` holds what it says.

    Args:
        options: of the server.
        command: what takes the options.
        listening: the options that make it listen at a free port.
        pass_fds: open files that it inherits.
    """

    def __init__(
        self,
        *options: str,
        command: Sequence[str] = (*TXINFER, "serve"),
        listening: Sequence[str] = ("--port", "0"),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._output = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [*command, *options, *listening],
            env=environment(),
            cwd=ROOT,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return Path(self._output.name).read_text("utf-8", "replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the log matches; fail if the process ends before."""

        def look() -> re.Match[str] | None:
            gone = self.process.poll() is not None
            found = re.search(pattern, self.log)
            assert found or not gone, f"the server ended:\n{self.log}"
            return found

        found = eventually(look)
        assert found is not None
        return found

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
