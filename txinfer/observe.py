"""What is told of the work that is done, and to whom.

An observer is told once for each run, call or event, never for a row. It must
be cheap, must not raise, and may keep what it is given: records hold numbers
and names, no tensors and no models. All of it happens in the reactor thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import attrs
from zope.interface import Interface, implementer

from .cost import Point
from .trace import Trace


class Labels(NamedTuple):
    """Whom an event is about; what does not apply is empty, or 0.

    A tuple, since observers look things up by it.
    """

    model: str = ""
    version: int = 0
    method: str = ""


#: What never got to a method.
NOBODYS = Labels()


class Shed(Enum):
    """Why a call was refused although nothing is wrong with it."""

    ROWS = "queue_rows"
    BYTES = "queue_bytes"
    TOO_LARGE = "too_large"
    DEADLINE = "deadline"
    STUCK = "stuck"
    CLOSING = "closing"
    RATE = "rate"
    BODIES = "bodies"
    CONNECTIONS = "connections"


class Fetched(Enum):
    """What became of the fetch of a URL input."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    CANCELLED = "cancelled"


@attrs.frozen
class Run:
    """One run of a model that came back.

    ``calls`` is the number of callers whose ``rows`` it held, ``waited`` the
    seconds that the oldest of them had waited for it, ``seconds`` how long it
    took. ``failed`` says that it gave no outputs, ``rerun`` that it was made
    because a run before it had failed. ``share`` is the part of all that can run at
    once that it was: of a method that has one run at a time each is all of it.
    """

    labels: Labels
    rows: int
    calls: int
    waited: float
    seconds: float
    failed: bool = False
    rerun: bool = False
    share: float = 1.0


class Amount(NamedTuple):
    """How much of everything: rows of calls, and bytes."""

    rows: int
    size: int


@attrs.define
class Depth:
    """What of one method waits, and what runs."""

    queued_rows: int = 0
    queued_bytes: int = 0
    running_rows: int = 0


@attrs.frozen
class Load:
    """How busy the session slots are at one moment.

    ``running_since`` tells when each run under way began, in seconds on the
    reactor's clock, and ``shares`` what share each has (see :class:`Run`); ``lost``
    how many of the ``slots`` are held by runs that are not expected to come back;
    ``wait`` in how many seconds a call that came now would run; ``held`` how much is
    held for callers, and ``most`` how much may be; ``costs`` what runs of each method
    are known to take, and ``at_once`` the rows a second that it is known to get
    through by how many runs are under way.
    """

    slots: int
    lost: int
    running_since: tuple[float, ...]
    depths: Mapping[Labels, Depth]
    wait: float
    held: Amount
    most: Amount
    costs: Mapping[Labels, Sequence[Point]] = attrs.field(factory=dict)
    at_once: Mapping[Labels, Mapping[int, float]] = attrs.field(factory=dict)
    shares: tuple[float, ...] = ()


class IObserver(Interface):
    """Is told what happens."""

    def ran(run: Run) -> None:
        """A run came back."""

    def shed(labels: Labels, reason: Shed) -> None:
        """A call was refused; before its body was read nobody knows the method."""

    def cancelled(labels: Labels) -> None:
        """A caller gave up a request before it was answered, wherever it was."""

    def expired(labels: Labels) -> None:
        """The deadline of a call passed that was taken or was still being read."""

    def answered(labels: Labels, status: int, trace: Trace | None) -> None:
        """A request was answered, whoever did it, with this HTTP status.

        ``trace`` is a call's; what never got to a method has none.
        """

    def fetched(outcome: Fetched, seconds: float, size: int) -> None:
        """The fetch of a URL input ended; ``size`` is what was read, in bytes."""

    def loaded(labels: Labels, seconds: float, failed: bool) -> None:
        """A version of a model was loaded, or could not be."""

    def warmed(labels: Labels, seconds: float, failed: bool) -> None:
        """The warm-up of a method, or of a whole version, ended."""

    def became(labels: Labels, state: str) -> None:
        """A version of a model entered a state, in TensorFlow Serving's words."""

    def removed(model: str) -> None:
        """A model is not served any more, nor meant to be; its versions have ended."""


@implementer(IObserver)
class NullObserver:
    """Takes note of nothing."""

    def ran(self, run: Run) -> None:
        """See :class:`IObserver`."""

    def shed(self, labels: Labels, reason: Shed) -> None:
        """See :class:`IObserver`."""

    def cancelled(self, labels: Labels) -> None:
        """See :class:`IObserver`."""

    def expired(self, labels: Labels) -> None:
        """See :class:`IObserver`."""

    def answered(self, labels: Labels, status: int, trace: Trace | None) -> None:
        """See :class:`IObserver`."""

    def fetched(self, outcome: Fetched, seconds: float, size: int) -> None:
        """See :class:`IObserver`."""

    def loaded(self, labels: Labels, seconds: float, failed: bool) -> None:
        """See :class:`IObserver`."""

    def warmed(self, labels: Labels, seconds: float, failed: bool) -> None:
        """See :class:`IObserver`."""

    def became(self, labels: Labels, state: str) -> None:
        """See :class:`IObserver`."""

    def removed(self, model: str) -> None:
        """See :class:`IObserver`."""


NOBODY = NullObserver()
