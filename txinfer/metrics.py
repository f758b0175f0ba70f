"""What is counted of everything, in numbers that :mod:`txinfer.exposition` shows.

Nothing here takes a lock: all of it is for the reactor thread.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from .counts import SECONDS, Histogram, MethodCounts, Window
from .observe import Fetched, IObserver, Labels, Load, Run, Shed
from .trace import Trace

# Runs that /stats shows.
RECENT_RUNS = 128

# Seconds over which the share of busy session slots is taken: several runs of any
# model that answers people, and no longer than an autoscaler should lag behind.
BUSY_SECONDS = 15

# Versions that are remembered once they have ended; a server that is fed a version
# an hour must not have more to tell each day.
ENDED_VERSIONS = 8


@attrs.define(eq=False)
class VersionCounts:
    """The state of a version of a model, and the seconds that each step took."""

    state: str = "START"
    load_seconds: float | None = None
    warm_seconds: float | None = None


@attrs.define(eq=False)
class ModelCounts:
    """How many loads and warm-ups of a model there were, by whether they failed."""

    loads: defaultdict[bool, int] = attrs.field(factory=lambda: defaultdict(int))
    warm_ups: defaultdict[bool, int] = attrs.field(factory=lambda: defaultdict(int))


@attrs.frozen
class Door:
    """What a site of our own holds at the moment it is asked.

    Args:
        connections: how many there are.
        body_bytes: the bytes of request bodies until they are answered.
    """

    connections: Callable[[], int]
    body_bytes: Callable[[], int]


@implementer(IObserver)
class Metrics:
    """Counts what it is told.

    Args:
        clock: tells when a run came back.

    ``methods`` has the counts by (model, method), both empty for requests that
    reached none; ``versions`` by (model, version), ``models`` by model;
    ``recent`` the last runs, each with the time at which it came back. ``door``
    is the site's, if it is one of our own; ``in_flight`` are functions that tell
    how many requests of each method have begun and are not answered.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.door: Door | None = None
        self.in_flight: list[Callable[[], Mapping[Labels, int]]] = []
        self.methods: dict[tuple[str, str], MethodCounts] = {}
        self.models: defaultdict[str, ModelCounts] = defaultdict(ModelCounts)
        self.versions: OrderedDict[tuple[str, int], VersionCounts] = OrderedDict()
        self.fetches: defaultdict[Fetched, int] = defaultdict(int)
        self.fetch_seconds = Histogram(SECONDS)
        self.fetched_bytes = 0
        self.busy_seconds = 0.0
        self.busy = Window(BUSY_SECONDS, clock.seconds())
        self.recent: deque[tuple[float, Run]] = deque(maxlen=RECENT_RUNS)
        # One look-up for what labels stand for; old versions are taken out.
        self._by_labels: dict[Labels, MethodCounts] = {}

    # What happens for each call or run

    def answered(self, labels: Labels, status: int, trace: Trace | None) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        (self._by_labels.get(labels) or self._of(labels)).add_answer(status, trace)

    def ran(self, run: Run) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        now = self._clock.seconds()
        (self._by_labels.get(run.labels) or self._of(run.labels)).add_run(run)
        self.recent.append((now, run))
        self.busy_seconds += run.seconds
        self.busy.add(now, run.seconds * run.share)

    # What is rarer

    def shed(self, labels: Labels, reason: Shed) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        (self._by_labels.get(labels) or self._of(labels)).sheds[reason] += 1

    def cancelled(self, labels: Labels) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        self._of(labels).cancelled += 1

    def expired(self, labels: Labels) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        self._of(labels).expired += 1

    def fetched(self, outcome: Fetched, seconds: float, size: int) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        self.fetches[outcome] += 1
        self.fetch_seconds.add(seconds)
        self.fetched_bytes += size

    def loaded(self, labels: Labels, seconds: float, failed: bool) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        self.models[labels.model].loads[failed] += 1
        self._version(labels).load_seconds = seconds

    def warmed(self, labels: Labels, seconds: float, failed: bool) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        self.models[labels.model].warm_ups[failed] += 1
        version = self._version(labels)
        # A version's methods may be told of one by one.
        version.warm_seconds = (version.warm_seconds or 0.0) + seconds

    def became(self, labels: Labels, state: str) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        version = self._version(labels)
        version.state = state
        if state == "START":
            version.warm_seconds = None
        if state == "END":
            self._forget(labels)

    def removed(self, model: str) -> None:
        """See :class:`~txinfer.observe.IObserver`."""
        # What is counted stays counted; but nobody misses its versions.
        for key in [key for key in self.versions if key[0] == model]:
            del self.versions[key]

    def saturation(self, load: Load) -> float:
        """How much of what can run at once did so lately, from 0 to 1."""
        now = self._clock.seconds()
        start = self.busy.start(now)
        running = zip(load.running_since, load.shares, strict=True)
        under_way: float = sum([(now - max(it, start)) * part for it, part in running])
        whole = now - start
        if whole <= 0:
            return 0.0
        return min((self.busy.total(now) + under_way) / whole, 1.0)

    def _of(self, labels: Labels) -> MethodCounts:
        """The counts of a method, made when it is first heard of."""
        key = labels.model, labels.method
        if key not in self.methods:
            self.methods[key] = MethodCounts()
        self._by_labels[labels] = self.methods[key]
        return self.methods[key]

    def _version(self, labels: Labels) -> VersionCounts:
        return self.versions.setdefault((labels.model, labels.version), VersionCounts())

    def _forget(self, ended: Labels) -> None:
        """Keep no more of a version that ended than can be kept of any number."""
        for labels in list(self._by_labels):
            if labels[:2] == ended[:2]:
                del self._by_labels[labels]
        gone = [key for key, version in self.versions.items() if version.state == "END"]
        for key in gone[:-ENDED_VERSIONS]:
            del self.versions[key]
