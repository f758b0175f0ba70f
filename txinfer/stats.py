"""What happened lately, as JSON for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cost import Point
from .metrics import Metrics
from .observe import Labels, Load, Run


def stats(metrics: Metrics, load: Load | None, now: float) -> dict[str, Any]:
    """The last batches, newest first, and what the session slots are at.

    Times of day are in seconds since 1970, spans in milliseconds.

    Args:
        metrics: what was counted.
        load: how busy the slots are; None while no model is served.
        now: seconds on the reactor's clock.
    """
    batches = [_batch(at, run) for at, run in reversed(metrics.recent)]
    busy = {} if load is None else _busy(metrics, load, now)
    return {"now": now, **busy, "batches": batches}


def _batch(at: float, run: Run) -> dict[str, Any]:
    return {
        "at": at,
        **run.labels._asdict(),
        "rows": run.rows,
        "callers": run.calls,
        "waited_ms": _milliseconds(run.waited),
        "run_ms": _milliseconds(run.seconds),
        "failed": run.failed,
        "isolation": run.rerun,
    }


def _busy(metrics: Metrics, load: Load, now: float) -> dict[str, Any]:
    return {
        "slots": {
            "all": load.slots,
            "lost": load.lost,
            "running_ms": [_milliseconds(now - began) for began in load.running_since],
        },
        "saturation": round(metrics.saturation(load), 4),
        "predicted_wait_ms": _milliseconds(load.wait),
        "queue": [
            {
                **labels._asdict(),
                "rows": depth.queued_rows,
                "bytes": depth.queued_bytes,
                "running_rows": depth.running_rows,
            }
            for labels, depth in load.depths.items()
        ],
        "costs": [
            _cost(labels, points, load.at_once.get(labels, {}))
            for labels, points in load.costs.items()
        ],
    }


def _cost(
    labels: Labels, points: Sequence[Point], at_once: Mapping[int, float]
) -> dict[str, Any]:
    """What runs of a method are known to take, by their size, and how many of them
    get through the most.
    """
    sizes = [
        {
            "rows": round(point.rows, 2),
            "run_ms": _milliseconds(point.seconds),
            "rows_per_second": round(point.rows / point.seconds, 2),
            "runs": point.runs,
        }
        for point in points
    ]
    runs = [
        {"runs": number, "rows_per_second": round(rate, 2)}
        for number, rate in sorted(at_once.items())
    ]
    return {**labels._asdict(), "sizes": sizes, "at_once": runs}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
