"""Single calls in, batches out.

A batch leaves at once while a session slot is free. While all slots are busy,
calls wait, and when a run returns everything that waits and can be joined (up
to the cap) leaves together. No timer is involved unless the policy lingers.

Everything here runs in the reactor thread, but for the two functions that run a model.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import (
    DeadlineExceeded,
    InferenceError,
    InputRefused,
    ModelFailed,
    Overloaded,
    clip,
)
from .interfaces import IRunnable, IThreads
from .tensors import Tensors, byte_count, row_count, split, stack

# Weight of the newest run in the drain rate: about the last ten runs count.
RATE_WEIGHT = 0.2

# The runtime's own words for the log, in characters; the rest is a stack.
LONGEST_CAUSE = 300

# Nobody should be sent away for longer than this by an estimate, in seconds.
LONGEST_RETRY = 60


@attrs.frozen
class BatchPolicy:
    """How calls are gathered.

    Args:
        max_rows: the largest batch, in rows; a larger call is split.
        max_queued_rows: rows that may wait; further calls are refused. A call
            that finds the queue empty is taken whatever its size, for it would
            be refused for ever.
        max_queued_bytes: the same bound in bytes of tensors.
        linger: seconds a batch that is not full waits for company although a
            slot is free. With 0 no timer is ever used.
    """

    max_rows: int = 32
    max_queued_rows: int = 2048
    max_queued_bytes: int = 256 * 1024 * 1024
    linger: float = 0.0


@attrs.define(eq=False)
class _Call:
    """One caller's tensors on their way; answered once.

    ``pending`` holds the pieces whose rows are not back yet; it is empty once
    the call is answered, expired or cancelled.
    """

    method: IRunnable
    tensors: Tensors
    answer: Deferred[Tensors]
    pending: set[_Piece] = attrs.field(factory=set)
    parts: list[Tensors] = attrs.field(factory=list)
    timer: IDelayedCall | None = None


@attrs.define(eq=False)
class _Piece:
    """At most a batch full of one call's rows."""

    call: _Call
    key: Hashable
    position: int
    tensors: Tensors
    rows: int
    bytes: int
    arrived: float

    @property
    def wanted(self) -> bool:
        """Whether somebody still waits for these rows."""
        return self in self.call.pending

    @property
    def is_direct(self) -> bool:
        """Whether this is a whole call that must not share its run."""
        return self.key is self.call


Batch = list[_Piece]


class _RowsLost(Exception):
    """A run gave back another number of rows than went in."""


def _run_directly(method: IRunnable, tensors: Tensors) -> list[Tensors]:
    """Run one call as it is. Blocks, in a model thread."""
    return [method.run(tensors)]


def _run_batch(
    method: IRunnable, calls: Sequence[Tensors], rows: Sequence[int]
) -> list[Tensors]:
    """Stack, run once, cut apart. Blocks, in a model thread."""
    outputs = method.run(stack(calls))
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != total:
            raise _RowsLost(f"output '{name}' had not one row for each row put in")
    return split(outputs, rows)


class Collector:
    """Gathers the calls of any number of methods into runs.

    Args:
        threads: where runs block; as many runs are under way at once as it
            has threads.
        clock: for deadlines, lingering and the drain rate.
        policy: how calls are gathered.

    ``queued_rows``, ``queued_bytes`` count what waits, ``in_flight`` the runs
    under way.
    """

    log = Logger()

    def __init__(
        self, threads: IThreads, clock: IReactorTime, policy: BatchPolicy
    ) -> None:
        self.policy = policy
        self.queued_rows = 0
        self.queued_bytes = 0
        self.in_flight = 0
        self._threads = threads
        self._clock = clock
        # Everything that waits, oldest first, and the same by join key.
        self._waiting: OrderedDict[_Piece, None] = OrderedDict()
        self._queues: dict[Hashable, OrderedDict[_Piece, None]] = {}
        # Halves of failed batches; they are older than anything that waits.
        self._halves: deque[Batch] = deque()
        self._linger: IDelayedCall | None = None
        self._rate = 0.0
        self._idle: list[Deferred[None]] = []

    def submit(
        self, method: IRunnable, tensors: Tensors, deadline: float | None = None
    ) -> Deferred[Tensors]:
        """Queue a call; it may share its run with others of the same key.

        Args:
            method: what to run.
            tensors: an array for each input. Unless the method is direct all
                have the same dimension 0, at least 1.
            deadline: seconds on the clock after which nobody wants the answer.

        Returns:
            A Deferred that fires with the outputs for just these rows, or fails
            with an :class:`InferenceError`: ``Overloaded`` at once if the queue
            is full, ``DeadlineExceeded`` at the deadline, ``InputRefused`` or
            ``ModelFailed`` if the model fails on this very call. Cancelling it
            takes the call out of the queue; rows already under way are not
            stopped, their answer is dropped.
        """
        call = _Call(method, tensors, Deferred(lambda _: self._cancel(call)))
        answer = call.answer
        pieces = list(self._cut(call))
        if self._is_full(pieces):
            answer.errback(Overloaded(self.retry_after()))
            return answer
        if deadline is not None:
            left = deadline - self._clock.seconds()
            if left <= 0:
                answer.errback(DeadlineExceeded())
                return answer
            call.timer = self._clock.callLater(left, self._expire, call)
        self._enqueue(call, pieces)
        self._launch()
        return answer

    def retry_after(self) -> int:
        """Whole seconds until what waits now is expected to have run."""
        if not self._rate:
            return 1
        seconds = math.ceil(self.queued_rows / self._rate)
        return min(max(seconds, 1), LONGEST_RETRY)

    def drained(self) -> Deferred[None]:
        """A Deferred that fires with None once nothing waits and nothing runs."""
        if self._is_idle():
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    # In

    def _cut(self, call: _Call) -> Iterator[_Piece]:
        """A call as pieces of at most a batch; a direct call is one piece."""
        now = self._clock.seconds()
        tensors = call.tensors
        if call.method.direct is not None:
            # The piece's key is its call: nothing is ever joined to it.
            yield _Piece(call, call, 0, tensors, 1, byte_count(tensors), now)
            return
        key = (
            call.method,
            *((name, array.dtype, array.shape[1:]) for name, array in tensors.items()),
        )
        total, cap = row_count(tensors), self.policy.max_rows
        rows = [min(cap, total - start) for start in range(0, total, cap)]
        parts = [tensors] if len(rows) == 1 else split(tensors, rows)
        for position, (part, count) in enumerate(zip(parts, rows, strict=True)):
            size = byte_count(part)
            yield _Piece(call, key, position, part, count, size, now)

    def _is_full(self, pieces: Batch) -> bool:
        rows = self.queued_rows + sum(piece.rows for piece in pieces)
        size = self.queued_bytes + sum(piece.bytes for piece in pieces)
        return bool(self._waiting) and (
            rows > self.policy.max_queued_rows or size > self.policy.max_queued_bytes
        )

    def _enqueue(self, call: _Call, pieces: Batch) -> None:
        call.pending = set(pieces)
        call.parts = [{}] * len(pieces)
        for piece in pieces:
            self._waiting[piece] = None
            self._queues.setdefault(piece.key, OrderedDict())[piece] = None
            self.queued_rows += piece.rows
            self.queued_bytes += piece.bytes

    def _dequeue(self, piece: _Piece) -> None:
        del self._waiting[piece]
        queue = self._queues[piece.key]
        del queue[piece]
        if not queue:
            del self._queues[piece.key]
        self.queued_rows -= piece.rows
        self.queued_bytes -= piece.bytes

    def _forget(self, call: _Call) -> None:
        """Take a call out, wherever it is: it is answered, expired or cancelled."""
        for piece in call.pending:
            if piece in self._waiting:
                self._dequeue(piece)
        call.pending = set()
        call.parts = []
        if call.timer is not None and call.timer.active():
            call.timer.cancel()

    def _cancel(self, call: _Call) -> None:
        self._forget(call)
        self._tell_idle()

    def _expire(self, call: _Call) -> None:
        self._fail(call, DeadlineExceeded())
        self._tell_idle()

    # Run

    def _launch(self) -> None:
        """Start runs while there are both free slots and batches."""
        while self.in_flight < self._threads.size:
            batch = self._next_batch()
            if not batch:
                return
            self.in_flight += 1
            self._start(batch).addBoth(self._landed, batch, self._clock.seconds())

    def _start(self, batch: Batch) -> Deferred[list[Tensors]]:
        first = batch[0]
        method = first.call.method
        if first.is_direct:
            return self._threads.run(_run_directly, method, first.tensors)
        tensors = [piece.tensors for piece in batch]
        return self._threads.run(_run_batch, method, tensors, [p.rows for p in batch])

    def _next_batch(self) -> Batch:
        """The batch to run next, taken off the queue; empty if there is none yet."""
        while self._halves:
            half = [piece for piece in self._halves.popleft() if piece.wanted]
            if half:
                return half
        if not self._waiting:
            return []
        oldest = next(iter(self._waiting))
        batch: Batch = []
        rows = 0
        for piece in self._queues[oldest.key]:
            if batch and rows + piece.rows > self.policy.max_rows:
                break
            batch.append(piece)
            rows += piece.rows
        if self._should_linger(oldest, rows):
            return []
        for piece in batch:
            self._dequeue(piece)
        return batch

    def _should_linger(self, oldest: _Piece, rows: int) -> bool:
        """Whether the oldest key's batch still waits for company; sets the timer."""
        left = oldest.arrived + self.policy.linger - self._clock.seconds()
        if self.policy.linger == 0 or left <= 0 or rows >= self.policy.max_rows:
            return False
        if self._linger is None or not self._linger.active():
            self._linger = self._clock.callLater(left, self._launch)
        return True

    # Out

    def _landed(
        self, result: list[Tensors] | Failure, batch: Batch, left: float
    ) -> None:
        """A run is back: start the next one first, then answer its callers.

        Encoding the replies takes longer than starting a run, and the session
        should not idle meanwhile.
        """
        self.in_flight -= 1
        self._learn_rate(batch, self._clock.seconds() - left)
        if isinstance(result, Failure):
            culprit = self._isolate(result, batch)
            self._launch()
            if culprit is not None:
                self._fail(culprit, self._blame(result))
        else:
            self._launch()
            for piece, outputs in zip(batch, result, strict=True):
                self._deliver(piece, outputs)
        self._tell_idle()

    def _isolate(self, failure: Failure, batch: Batch) -> _Call | None:
        """Plan the re-runs that find who is guilty of a failure.

        Halving finds one culprit among n in at most 2 * log2(n) + 2 runs more.

        Returns:
            The guilty call if it ran alone, else None.
        """
        if failure.check(_RowsLost):
            self._separate(str(failure.value), batch)
            return None
        if len(batch) == 1:
            return batch[0].call if batch[0].wanted else None
        middle = len(batch) // 2
        self._halves.extend((batch[:middle], batch[middle:]))
        return None

    def _separate(self, why: str, batch: Batch) -> None:
        """Serve the method directly from now on, beginning with these calls."""
        method = batch[0].call.method
        method.serve_directly(why)
        calls = dict.fromkeys(
            piece.call
            for piece in [*batch, *self._waiting]
            if piece.wanted and piece.call.method is method
        )
        for call in calls:
            for piece in call.pending & self._waiting.keys():
                self._dequeue(piece)
            again = list(self._cut(call))
            call.pending = set(again)
            call.parts = [{}]
            self._halves.append(again)

    def _blame(self, failure: Failure) -> InferenceError:
        """The error a caller sees for what the model raised; the rest is logged."""
        error = failure.value
        if isinstance(error, InputRefused):
            cause = clip(str(error.__cause__), LONGEST_CAUSE)
            self.log.info("{error}: {cause}", error=error, cause=cause)
            return error
        self.log.failure("A model failed", failure)
        if isinstance(error, InferenceError):
            return error
        blamed = ModelFailed()
        blamed.__cause__ = error
        return blamed

    def _deliver(self, piece: _Piece, outputs: Tensors) -> None:
        call = piece.call
        if not piece.wanted:
            return
        call.pending.remove(piece)
        call.parts[piece.position] = outputs
        if not call.pending:
            outputs = stack(call.parts)
            self._forget(call)
            call.answer.callback(outputs)

    def _fail(self, call: _Call, error: InferenceError) -> None:
        self._forget(call)
        call.answer.errback(error)

    def _learn_rate(self, batch: Batch, seconds: float) -> None:
        """Keep the rows a second that all slots together get through."""
        rate = sum(p.rows for p in batch) * self._threads.size / max(seconds, 1e-6)
        weight = RATE_WEIGHT if self._rate else 1.0
        self._rate += weight * (rate - self._rate)

    def _is_idle(self) -> bool:
        return not (self.in_flight or self._waiting or self._halves)

    def _tell_idle(self) -> None:
        if self._is_idle():
            idle, self._idle = self._idle, []
            for waiter in idle:
                waiter.callback(None)
