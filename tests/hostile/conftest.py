"""The server under attack, in a process of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import attrs
import pytest

from tests.processes import ROOT, environment

# Seconds after which a test gives up; nothing here takes a tenth of it.
PATIENCE = 10.0


@attrs.define(eq=False)
class Target:
    """The server under attack."""

    process: subprocess.Popen[str]
    port: int
    gauges_port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def gauges(self, path: str = "/") -> dict[str, int]:
        url = f"http://127.0.0.1:{self.gauges_port}{path}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def settled(self) -> dict[str, int]:
        """The gauges, once nothing changes any more."""
        gauges = self.gauges()
        for _ in range(5000):
            if not any(gauges.values()):
                break
            gauges = self.gauges()
        return gauges


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacked") / "web"
    folder.mkdir()
    (folder / "index.html").write_text("hello")
    (folder / ".secret").write_text("secret")
    (folder.parent / "cases.py").write_text("secret")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.server", str(folder)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ports = process.stdout.readline().split()
    assert len(ports) == 2, process.communicate()[1]
    yield Target(process, int(ports[0]), int(ports[1]))
    assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
