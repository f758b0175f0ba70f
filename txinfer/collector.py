"""Single calls in, batches out.

A batch leaves at once while a session slot is free. While all slots are busy,
calls wait, and when a run returns everything that waits and can be joined (up
to the cap) leaves together. No timer is involved unless the policy lingers.

Everything here runs in the reactor thread.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Collection

import attrs
from attrs.validators import ge
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .calls import Batch, Call, Piece, RowsLost, cut, run_batch, run_directly
from .errors import (
    CallTooLarge,
    DeadlineExceeded,
    InferenceError,
    InputRefused,
    ModelFailed,
    Overloaded,
    Unavailable,
)
from .interfaces import IRunnable, IThreads
from .observe import NOBODY, Depth, IObserver, Labels, Load, Run, Shed
from .tensors import Tensors, stack
from .trace import Trace
from .waiting import Waiting

Methods = Collection[IRunnable]

# Weight of the newest run in the drain rate: about the last ten runs count.
RATE_WEIGHT = 0.2

# Nobody should be sent away for longer than this by an estimate, in seconds.
LONGEST_RETRY = 60


@attrs.frozen
class BatchPolicy:
    """How calls are gathered.

    ValueError if a value makes no sense.

    Args:
        max_rows: the largest batch, in rows; a larger call is split.
        max_queued_rows: rows that may wait; further calls are refused, and so
            is any call of more rows.
        max_queued_bytes: the same bound in bytes of tensors.
        linger: seconds a batch that is not full waits for company although a
            slot is free, and what is younger waits behind it. With 0 no timer
            is ever used.
    """

    max_rows: int = attrs.field(default=32, validator=ge(1))
    max_queued_rows: int = attrs.field(default=16384, validator=ge(1))
    max_queued_bytes: int = attrs.field(default=256 * 1024 * 1024, validator=ge(1))
    linger: float = attrs.field(default=0.0, validator=ge(0))


class Collector:
    """Gathers the calls of any number of methods into runs.

    Args:
        threads: where runs block; as many runs are under way at once as it
            has threads.
        clock: for deadlines, lingering and the drain rate.
        policy: how calls are gathered.
        observer: is told of runs, and of calls that are not answered.

    ``waiting`` is what waits, ``in_flight`` the number of runs under way.
    """

    log = Logger()

    def __init__(
        self,
        threads: IThreads,
        clock: IReactorTime,
        policy: BatchPolicy,
        observer: IObserver = NOBODY,
    ) -> None:
        self.policy = policy
        self._observer = observer
        self.waiting = Waiting()
        self.in_flight = 0
        self._threads = threads
        self._clock = clock
        # Batches to run again: they are older than anything that waits.
        self._again: deque[Batch] = deque()
        self._linger: IDelayedCall | None = None
        self._rate = 0.0
        # When each batch under way has left.
        self._running: list[tuple[Batch, float]] = []
        self._idle: list[tuple[Methods | None, Deferred[None]]] = []
        self._closed = False

    def submit(
        self,
        method: IRunnable,
        tensors: Tensors,
        deadline: float | None = None,
        client: str = "",
        trace: Trace | None = None,
    ) -> Deferred[Tensors]:
        """Queue a call; it may share its run with others of the same key.

        Args:
            method: what to run.
            tensors: an array for each input. Unless the method is direct all
                have the same dimension 0, at least 1.
            deadline: seconds on the clock after which nobody wants the answer.
            client: who calls.
            trace: is told how long the call waited and ran.

        Returns:
            A Deferred that fires with the outputs for just these rows, or fails
            with an :class:`InferenceError`: ``CallTooLarge`` at once if the
            queue could never hold it, ``Overloaded`` if it cannot now,
            ``Unavailable`` once the collector is closed, ``DeadlineExceeded``
            at the deadline, ``InputRefused`` or ``ModelFailed`` if the model
            fails on this very call. Cancelling it
            takes the call out of the queue; rows already under way are not
            stopped, their answer is dropped.
        """
        now = self._clock.seconds()
        call = Call(method, tensors, Deferred(lambda _: self._cancel(call)), trace)
        pieces = list(cut(call, self.policy.max_rows, now))
        if self._closed:
            self._observer.shed(method.labels, Shed.CLOSING)
            return fail(Unavailable("the server is shutting down"))
        refusal = self._no_room(pieces)
        if refusal is not None:
            self._observer.shed(method.labels, refusal[0])
            return fail(refusal[1])
        if deadline is not None:
            if deadline <= now:
                return fail(DeadlineExceeded())
            call.timer = self._clock.callLater(deadline - now, self._expire, call)
        call.wait_for(pieces)
        self.waiting.add(pieces)
        self._launch()
        return call.answer

    def retry_after(self) -> int:
        """Whole seconds until what waits now is expected to have run."""
        if not self._rate:
            return 1
        seconds = math.ceil(self.waiting.rows / self._rate)
        return min(max(seconds, 1), LONGEST_RETRY)

    def load(self) -> Load:
        """How busy the slots are now, and with what. It costs by what waits."""
        depths: defaultdict[Labels, Depth] = defaultdict(Depth)
        for piece in self.waiting:
            depth = depths[piece.call.method.labels]
            depth.queued_rows += piece.rows
            depth.queued_bytes += piece.bytes
        for batch, _ in self._running:
            labels = batch[0].call.method.labels
            depths[labels].running_rows += sum(piece.rows for piece in batch)
        return Load(
            slots=self._threads.size,
            lost=0,
            running_since=tuple(began for _, began in self._running),
            depths=depths,
            wait=self.waiting.rows / self._rate if self._rate else 0.0,
            max_queued_rows=self.policy.max_queued_rows,
            max_queued_bytes=self.policy.max_queued_bytes,
        )

    def close(self) -> Deferred[None]:
        """Take no more calls: they fail with ``Unavailable``.

        Returns:
            A Deferred that fires with None once those taken are answered.
        """
        self._closed = True
        return self.drained()

    def drained(self, methods: Methods | None = None) -> Deferred[None]:
        """A Deferred that fires with None once nothing waits and nothing runs.

        Args:
            methods: only the calls of these count; None for all.
        """
        if self._is_idle(methods):
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append((methods, idle))
        return idle

    # In

    def _no_room(self, pieces: Batch) -> tuple[Shed, InferenceError] | None:
        """Why a call cannot be queued, now or ever; None if it can."""
        policy = self.policy
        rows = sum(piece.rows for piece in pieces)
        size = sum(piece.bytes for piece in pieces)
        if rows > policy.max_queued_rows or size > policy.max_queued_bytes:
            too_large = CallTooLarge(policy.max_queued_rows, policy.max_queued_bytes)
            return Shed.TOO_LARGE, too_large
        rows += self.waiting.rows
        size += self.waiting.bytes
        if rows > policy.max_queued_rows:
            return Shed.ROWS, Overloaded(self.retry_after())
        if size > policy.max_queued_bytes:
            return Shed.BYTES, Overloaded(self.retry_after())
        return None

    def _forget(self, call: Call) -> None:
        """Take a call out, wherever it is: it is answered, expired or cancelled."""
        self.waiting.discard(call.pending)
        call.forget()

    def _cancel(self, call: Call) -> None:
        self._observer.cancelled(call.method.labels)
        self._forget(call)
        self._tell_idle()

    def _expire(self, call: Call) -> None:
        self._observer.expired(call.method.labels)
        self._forget(call)
        call.answer.errback(DeadlineExceeded())
        self._tell_idle()

    # Run

    def _launch(self) -> None:
        """Start runs while there are both free slots and batches."""
        while self.in_flight < self._threads.size:
            rerun = bool(self._again)
            batch = self._next_batch()
            if not batch:
                return
            self.in_flight += 1
            now = self._clock.seconds()
            self._running.append((batch, now))
            self._start(batch).addBoth(self._landed, batch, now, rerun)

    def _start(self, batch: Batch) -> Deferred[list[Tensors]]:
        first = batch[0]
        method = first.call.method
        if first.is_direct:
            return self._threads.run(run_directly, method, first.tensors)
        tensors = [piece.tensors for piece in batch]
        return self._threads.run(run_batch, method, tensors, [p.rows for p in batch])

    def _next_batch(self) -> Batch:
        """The batch to run next, taken off the queue; empty if there is none yet."""
        while self._again:
            batch = [piece for piece in self._again.popleft() if piece.wanted]
            if batch:
                return batch
        if not self.waiting:
            return []
        batch = self.waiting.gather(self.policy.max_rows)
        call = batch[0].call
        if call.method.direct is not None:
            # The method may have become direct while the call waited.
            return self._whole(call)
        if self._should_linger(batch):
            return []
        self.waiting.discard(batch)
        return batch

    def _whole(self, call: Call) -> Batch:
        """A call of a direct method, taken off the queue in one piece."""
        self.waiting.discard(call.pending)
        whole = list(cut(call, self.policy.max_rows, self._clock.seconds()))
        call.wait_for(whole)
        return whole

    def _should_linger(self, batch: Batch) -> bool:
        """Whether a batch still waits for company; sets the timer if so."""
        if not self.policy.linger:
            return False
        left = batch[0].arrived + self.policy.linger - self._clock.seconds()
        if left <= 0 or sum(piece.rows for piece in batch) >= self.policy.max_rows:
            return False
        if self._linger is None or not self._linger.active():
            self._linger = self._clock.callLater(left, self._launch)
        return True

    # Out

    def _landed(
        self,
        result: list[Tensors] | Failure,
        batch: Batch,
        left: float,
        rerun: bool,
    ) -> None:
        """A run is back: start the next one first, then answer its callers.

        Encoding the replies takes longer than starting a run, and the session
        should not idle meanwhile.
        """
        self.in_flight -= 1
        self._running.remove((batch, left))
        seconds = self._clock.seconds() - left
        self._learn_rate(batch, seconds)
        self._record(batch, left, seconds, isinstance(result, Failure), rerun)
        if isinstance(result, Failure):
            culprit = self._isolate(result, batch)
            if culprit is not None:
                self._forget(culprit)
            self._launch()
            if culprit is not None:
                culprit.answer.errback(self._blame(result))
        else:
            self._launch()
            for piece, outputs in zip(batch, result, strict=True):
                if piece.wanted:
                    self._deliver(piece, outputs)
            # What could not be put together is to be run again.
            self._launch()
        self._tell_idle()

    def _deliver(self, piece: Piece, outputs: Tensors) -> None:
        call = piece.call
        call.parts[piece.position] = outputs
        if len(call.pending) > 1:
            call.pending.remove(piece)
            return
        try:
            joined = stack(call.parts)
        except Exception:
            self._separate("its outputs' shapes differ from run to run", [piece])
            return
        self._forget(call)
        call.answer.callback(joined)

    def _isolate(self, failure: Failure, batch: Batch) -> Call | None:
        """Plan the re-runs that find who is guilty of a failure.

        Halving finds one culprit among n in at most 2 * log2(n) + 2 runs more.

        Returns:
            The guilty call if it ran alone, else None.
        """
        if failure.check(RowsLost):
            self._separate(str(failure.value), batch)
            return None
        if len(batch) == 1:
            return batch[0].call if batch[0].wanted else None
        middle = len(batch) // 2
        self._again.extend((batch[:middle], batch[middle:]))
        return None

    def _separate(self, why: str, batch: Batch) -> None:
        """Serve the method directly from now on, beginning with these calls."""
        batch[0].call.method.serve_directly(why)
        for call in dict.fromkeys(piece.call for piece in batch if piece.wanted):
            self._again.append(self._whole(call))

    def _blame(self, failure: Failure) -> InferenceError:
        """The error a caller sees for what the model raised; the rest is logged."""
        error = failure.value
        if isinstance(error, InputRefused):
            cause = error.__cause__
            words = getattr(cause, "message", None) or repr(cause)
            self.log.info("{error}: {words!r:.300}", error=error, words=words)
            return error
        self.log.failure("A model failed", failure)
        if isinstance(error, InferenceError):
            return error
        blamed = ModelFailed()
        blamed.__cause__ = error
        return blamed

    def _record(
        self, batch: Batch, left: float, seconds: float, failed: bool, rerun: bool
    ) -> None:
        """Tell the observer and the calls of a run."""
        rows = sum(piece.rows for piece in batch)
        calls = dict.fromkeys(piece.call for piece in batch)
        waited = left - min(piece.arrived for piece in batch)
        labels = batch[0].call.method.labels
        run = Run(labels, rows, len(calls), waited, seconds, failed, rerun)
        for piece in batch:
            if piece.call.trace is not None:
                queued = left - piece.arrived
                piece.call.trace.add_run(rows, queued, seconds, rerun)
        self._observer.ran(run)

    def _learn_rate(self, batch: Batch, seconds: float) -> None:
        """Keep the rows a second that all slots together get through."""
        rate = sum(p.rows for p in batch) * self._threads.size / max(seconds, 1e-6)
        weight = RATE_WEIGHT if self._rate else 1.0
        self._rate += weight * (rate - self._rate)

    def _is_idle(self, methods: Methods | None) -> bool:
        if methods is None:
            return not (self.in_flight or self.waiting or self._again)
        batches = (*(batch for batch, _ in self._running), *self._again)
        return not self.waiting.has(methods) and not any(
            piece.call.method in methods for batch in batches for piece in batch
        )

    def _tell_idle(self) -> None:
        if self._idle:
            waiting, self._idle = self._idle, []
            for methods, idle in waiting:
                if self._is_idle(methods):
                    idle.callback(None)
                else:
                    self._idle.append((methods, idle))
