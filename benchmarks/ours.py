"""This tree's server as a process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import models
from .places import CACHE, environment, free_port
from .process import Server
from .workloads import Workload

NAME = "txinfer"
TWISTD = "from twisted.scripts.twistd import run; run()"
PROFILES = CACHE / "profiles"


def profile_of(workload: Workload) -> Path:
    """Where the profile of the server of a workload is kept."""
    return PROFILES / f"{workload.name}.pstats"


def serve(
    workload: Workload, options: Sequence[str] = (), profiled: bool = False
) -> Server:
    """Start ``twistd -n tfinfer`` on the model of a workload."""
    port = free_port()
    command = [sys.executable, "-c", TWISTD]
    if profiled:
        PROFILES.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.profiled"]
        command.append(str(profile_of(workload)))
    command += ["-n", "--pidfile=", "tfinfer", f"--model={models.path(workload.model)}"]
    command += [f"--port={port}", *options]
    return Server(NAME, command, port, environment())
