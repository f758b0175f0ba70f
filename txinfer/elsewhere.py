"""Requests that come through another site than our own, which would tell nobody."""

from __future__ import annotations

from typing import Any

from .observe import NOBODYS, IObserver


class Elsewhere:
    """Tells an observer of answers, as our own site does. Reactor thread only.

    Args:
        observer: is told.
    """

    def __init__(self, observer: IObserver) -> None:
        self._observer = observer
        self._open: set[Any] = set()

    def follow(self, request: Any) -> None:
        """Tell of the answer to a request once it is sent, if nobody else does."""
        told = getattr(request.site, "observer", None)
        if told is self._observer or request in self._open:
            return
        self._open.add(request)
        done = request.notifyFinish()
        done.addCallbacks(self._tell, lambda _: None, callbackArgs=(request,))
        done.addBoth(lambda _: self._open.discard(request))

    def _tell(self, _: None, request: Any) -> None:
        labels = getattr(request, "labels", NOBODYS)
        trace = getattr(request, "trace", None)
        self._observer.answered(labels, request.code, trace)
