"""What 100 MiB of weights take in memory, as variables and as constants.

    python -m benchmarks.copies

Each way is loaded in a process of its own and run once; the table shows what the
process grew by over one that has only imported what is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from .models import cases, path
from .places import environment, module
from .process import resident_mib
from .run import PACKAGES
from .table import circumstances, table

MODEL = "large"
HEADS = ("way", "MiB more", "after giving back")

#: How many bytes of variables become constants.
WAYS = {"variables": 0, "constants": 2**30}


def measure(most_frozen: int) -> tuple[float, float]:
    """MiB that loading and one run take; before and after all is given back."""
    import numpy as np

    from txinfer.frozen import from_checkpoint
    from txinfer.memory import give_back
    from txinfer.session import forget_constants, session_config
    from txinfer.tune import SessionPolicy

    pids = [os.getpid()]
    folder, config = path(MODEL), session_config(SessionPolicy())
    row = np.array([cases(MODEL)[0][0]])
    before = resident_mib(pids)
    opened = from_checkpoint(folder, ["serve"], config, most_frozen)
    run = opened.runner("serving_default", False)
    run(row)
    more = resident_mib(pids) - before
    forget_constants(opened.session.graph)
    give_back()
    run(row)
    return more, resident_mib(pids) - before


def main() -> None:
    """Measure each way in a process of its own, and print it."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
        return
    path(MODEL)
    lines = []
    for way, most in WAYS.items():
        command = module("benchmarks.copies", str(most))
        done = subprocess.run(
            command, env=environment(), capture_output=True, check=True
        )
        lines.append([way, *(f"{mib:.0f}" for mib in json.loads(done.stdout))])
    print(f"{circumstances(PACKAGES)}\n\n{table(HEADS, lines)}")


if __name__ == "__main__":
    main()
