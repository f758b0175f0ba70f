"""Versions that are found, made into servables, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .collector import Collector
from .interfaces import IThreads
from .memory import give_back
from .models import Servable, State
from .observe import NOBODY, IObserver, Labels
from .progress import told_of
from .sources import Found
from .warming import Warming


class Loader:
    """Loads versions of any model, one after another, and tells how far it is.

    Two at once would need the memory of both at its peak, and neither would be
    there earlier.

    Args:
        threads: where loading blocks; not those in which models run.
        collector: gathers the calls of all methods.
        clock: for the time that loading takes.
        observer: is told of it.
        pads: sizes, in order, to one of which runs of rows are filled up.
    """

    log = Logger()

    def __init__(
        self,
        threads: IThreads,
        collector: Collector,
        clock: IReactorTime,
        observer: IObserver = NOBODY,
        pads: Sequence[int] = (),
    ) -> None:
        self._threads = threads
        self._collector = collector
        self._clock = clock
        self._observer = observer
        self._pads = pads
        self._lock = DeferredLock()

    def servable(self, model: str, number: int, found: Found) -> Servable:
        """A servable for a version, not loaded yet."""
        return Servable(
            found.load,
            self._threads,
            self._collector,
            Labels(model, number),
            self._observer,
            found.discard,
            self._pads,
        )

    async def load(self, servable: Servable, found: Found) -> None:
        """Load a servable when it is its turn.

        It is available then, unless it was retired in the meantime.

        Raises:
            InvalidModel: it cannot be served.
            Exception: whatever else loading raised.
        """
        async with self._lock:
            if servable.state is not State.START:
                return  # retired meanwhile
            began = self._clock.seconds()
            failed = True
            warming = Warming(
                servable,
                found,
                self._pads,
                self._threads,
                self._clock,
                self._observer,
                self._collector.policy.max_rows,
            )
            try:
                tell = partial(self._tell, found, began, warming)
                with told_of(tell, self._clock):
                    await servable.load(warming.run)
                    await self._threads.run(give_back)
                failed = False
            finally:
                seconds = self._clock.seconds() - began
                self._observer.loaded(servable.labels, seconds, failed)

    def _tell(self, found: Found, began: float, warming: Warming) -> None:
        far = warming.text or ""
        if not far and found.progress is not None:
            far = f", {found.progress()}"
        self.log.info(
            "Loading {path} ... {seconds:.0f} s{far}",
            path=found.place,
            seconds=self._clock.seconds() - began,
            far=far,
        )
