"""Requests that come through another site than our own, which would tell nobody."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .gone import tell_gone
from .observe import NOBODYS, IObserver, Labels


class Elsewhere:
    """Tells an observer of answers, as our own site does. Reactor thread only.

    Args:
        observer: is told.
    """

    def __init__(self, observer: IObserver) -> None:
        self._observer = observer
        self._open: set[Any] = set()

    def follow(self, request: Any) -> None:
        """Tell how a request ends, if nobody else does."""
        told = getattr(request.site, "observer", None)
        if told is self._observer or request in self._open:
            return
        self._open.add(request)
        if not hasattr(request, "pending"):
            # As our own requests have it: the routes put there what to cancel.
            request.pending = None
        done = request.notifyFinish()
        done.addBoth(lambda failure: self._end(request, failure is not None))

    def in_flight(self) -> Counter[Labels]:
        """How many have begun and are not answered, by the method that is called."""
        return Counter(getattr(it, "labels", NOBODYS) for it in self._open)

    def _end(self, request: Any, gone: bool) -> None:
        self._open.discard(request)
        if gone:
            if request.pending is not None:
                request.pending.cancel()
            tell_gone(request, self._observer)
            return
        labels = getattr(request, "labels", NOBODYS)
        trace = getattr(request, "trace", None)
        self._observer.answered(labels, request.code, trace)
