"""What is told of a request whose client hung up before its answer was whole."""

from __future__ import annotations

from typing import Any

from .observe import NOBODYS, IObserver

# What nginx says of such requests in its log, and others after it.
GONE = 499


def tell_gone(request: Any, observer: IObserver) -> int:
    """Tell an observer of it, once its ``pending`` is cancelled.

    Args:
        request: of our own site or any other.
        observer: is told. Of a call that was in the collector it knows already
            that it was cancelled.

    Returns:
        Its status, for the log: that of the answer, if that had begun.
    """
    labels = getattr(request, "labels", NOBODYS)
    trace = getattr(request, "trace", None)
    if request.startedWriting:
        status: int = request.code
        observer.answered(labels, status, trace)
        return status
    if trace is None or not trace.cancelled:
        observer.cancelled(labels)
    observer.answered(labels, GONE, None)
    return GONE
