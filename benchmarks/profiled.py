"""twistd with its reactor thread under cProfile.

``python -m benchmarks.profiled FILE twistd's arguments`` writes the profile at
the end; :func:`report` reads it.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run twistd until it ends."""
    from twisted.internet import reactor
    from twisted.scripts.twistd import run

    file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    profile = cProfile.Profile()
    # twistd ends by the signal that it was stopped by: nothing runs after that.
    after: Any = reactor
    after.addSystemEventTrigger("after", "shutdown", profile.dump_stats, file)
    profile.runcall(run)


def report(file: Path, lines: int = 40) -> str:
    """The functions in which the reactor thread spent its own time, most first.

    Loading is in it; what waits for the network is ``poll``.
    """
    text = io.StringIO()
    stats = pstats.Stats(str(file), stream=text)
    stats.sort_stats("tottime").print_stats(lines)
    return text.getvalue()


if __name__ == "__main__":
    main()
