"""Other servers of the same models, each with an environment of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from collections.abc import Callable

import attrs

from .. import models
from ..places import CACHE, environment, free_port
from ..process import Server
from ..workloads import JSON, MSGPACK, Wire, Workload


@attrs.frozen
class Peer:
    """Another server.

    Args:
        name: what the table calls it.
        requirements: what pip installs for it, TensorFlow and numpy excepted:
            those are the ones of this environment.
        command: of its arguments, given the port.
        path: where it is called.
        wires: the forms it takes.
    """

    name: str
    requirements: tuple[str, ...]
    command: Callable[[int], list[str]]
    path: str = "/"
    wires: tuple[Wire, ...] = (JSON,)

    def takes(self, workload: Workload) -> bool:
        """Whether it knows a workload's form."""
        return workload.wire.media_type in [wire.media_type for wire in self.wires]

    def serve(self, workload: Workload) -> Server:
        """Start it on the model of a workload."""
        port = free_port()
        settings = environment(
            MODEL=models.path(workload.model), WIRE=workload.wire.media_type
        )
        command = [self.python(), *self.command(port)]
        form = "" if workload.wire.media_type == JSON.media_type else " (msgpack)"
        return Server(self.name + form, command, port, settings, self.path)

    def python(self) -> str:
        """The interpreter of its environment, which is made if it is not there."""
        edition = hashlib.sha256(repr(self.requirements).encode()).hexdigest()[:8]
        made = CACHE / "venv" / f"{self.name}-{edition}"
        python, done = made / "bin" / "python", made / "installed"
        if not done.exists():
            print(f"installing {self.name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", "--clear", made], check=True)
            # TensorFlow is large: it is lent, not installed again.
            within = next(made.glob("lib/python*/site-packages"))
            (within / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
            pip = [str(python), "-m", "pip", "install", "--quiet", *self.requirements]
            subprocess.run([*pip, "--disable-pip-version-check"], check=True)
            done.touch()
        return str(python)


def _mosec(port: int) -> list[str]:
    app = ["-m", "benchmarks.peers.mosec_app"]
    return [*app, "--port", str(port), "--timeout", "60000"]


def _fastapi(port: int) -> list[str]:
    app = ["-m", "uvicorn", "benchmarks.peers.fastapi_app:app"]
    return [*app, "--port", str(port), "--log-level", "warning", "--no-access-log"]


PEERS = {
    "mosec": Peer("mosec", ("mosec", "msgpack"), _mosec, "/inference", (JSON, MSGPACK)),
    "fastapi": Peer("fastapi", ("fastapi", "uvicorn[standard]"), _fastapi),
}
