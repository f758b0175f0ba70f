"""Readings as a table of Markdown, with what is needed to read it."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean, mean

from .drive import Reading

HEADS = (
    *("workload", "server", "conn.", "req/s", "p50 ms", "p99 ms", "CPU µs/req"),
    *("MiB", "rows/batch", "of the limit", "checked", "failed"),
)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns are as wide as their cells."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    rule = ["-" * width for width in widths]
    lines.insert(1, rule)
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines
    )


def row(
    workload: str,
    server: str,
    connections: int,
    readings: Sequence[Reading],
    alone: Sequence[float],
) -> list[str]:
    """A line of the table: the means of readings of the same thing.

    Args:
        workload: its name.
        server: its name.
        connections: how many.
        readings: of the server.
        alone: rows a second of the model alone, each read after one of these; or none.
    """
    rate = mean(reading.rate for reading in readings)
    rows = [it.batch_rows for it in readings if it.batch_rows is not None]
    return [
        workload,
        server,
        str(connections),
        f"{rate:,.0f}",
        f"{mean(it.p50 for it in readings):.2f}",
        f"{mean(it.p99 for it in readings):.2f}",
        f"{mean(it.cpu for it in readings):,.0f}",
        f"{max(it.memory for it in readings):,.0f}",
        f"{mean(rows):.1f}" if rows else "-",
        f"{share(readings, alone):.2g}" if alone else "-",
        str(sum(it.checked for it in readings)),
        str(sum(it.failures for it in readings)),
    ]


def ratio(ours: Sequence[Reading], theirs: Sequence[Reading]) -> float:
    """How many times a peer's throughput ours is, by neighbours in time.

    Not a number if the peer answered nothing in one of the runs.
    """
    return share(ours, [reading.rate for reading in theirs])


def share(ours: Sequence[Reading], rates: Sequence[float]) -> float:
    """How many times other rates our throughput is, by neighbours in time.

    Not a number if one of them is nothing; nothing if one of ours is.
    """
    if not all(rates):
        return math.nan
    if not all(mine.rate for mine in ours):
        return 0.0
    pairs = zip(ours, rates, strict=True)
    return geometric_mean(mine.rate / rate for mine, rate in pairs)


def circumstances(packages: Iterable[str]) -> str:
    """Date, machine and versions, in one line."""
    found = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{date.today()}, {os.cpu_count()} × {_processor()}, "
        f"Python {platform.python_version()}, {found}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
