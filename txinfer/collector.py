"""Single calls in, batches out.

A batch leaves at once while a session slot is free. While all slots are busy,
calls wait, and when a run returns what waits and can be joined leaves together,
as much of it as pays, in fair turns. Nothing waits for a timer unless the policy
lingers.

Which calls are taken is decided in :mod:`.admission`, which leave next in
:mod:`.schedule`, and how runs are made and come back in :mod:`.slots`.

Everything here runs in the reactor thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from math import inf
from weakref import WeakValueDictionary

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .admission import CLOSING, NO_SLOT, Admission
from .blame import blame
from .calls import Batch, Call, Part, Piece, RowsLost
from .cost import Cost
from .delivery import SLICE, Delivery
from .drain import Drain, Methods
from .errors import DeadlineExceeded, InferenceError, Unavailable
from .gathering import Gathering
from .held import Held, Refusal
from .interfaces import IRunnable, IThreads
from .observe import NOBODY, Amount, Depth, IObserver, Labels, Load, Run, Shed
from .policy import BatchPolicy
from .quota import LogQuota
from .schedule import Schedule
from .slots import Slots
from .tensors import Tensors, byte_count, row_count
from .trace import Trace
from .wheel import Wheel


class Collector:
    """Gathers the calls of any number of methods into runs.

    Args:
        threads: where runs block; as many runs are under way at once as it
            has threads.
        clock: for deadlines, lingering and the drain rate.
        policy: how calls are gathered.
        observer: is told of runs, and of calls that are not answered.
        held: the account of all that is held, if others hold something, too.

    ``waiting`` is what waits.
    """

    def __init__(
        self,
        threads: IThreads,
        clock: IReactorTime,
        policy: BatchPolicy,
        observer: IObserver = NOBODY,
        held: Held | None = None,
    ) -> None:
        self.policy = policy
        self.held = held or Held(policy.queue_rows, policy.queue.queue_bytes)
        self.held.add(self.amount)
        self._slots = Slots(
            threads, clock, policy.runs.stuck_seconds, self._landed, self._lost
        )
        self._schedule = Schedule(policy, clock, self._launch, self._slots.has_room)
        self.waiting = self._schedule.waiting
        self._gathering = Gathering(
            clock, self.waiting, policy.max_rows, self._launch, self._held_bytes
        )
        self._again = self._schedule.again
        self._observer = observer
        self._clock = clock
        self._delivery: Delivery[Piece, Tensors] = Delivery(
            clock, self._deliver, self._delivered
        )
        self._deadlines: Wheel[Call] = Wheel(clock, self._expire)
        self._drain = Drain(self._is_idle)
        # Of methods that are gone nobody asks.
        self._costs: WeakValueDictionary[Labels, Cost] = WeakValueDictionary()
        self._admission = Admission(policy, self.held, self.waiting, self._slots, clock)
        self._log = LogQuota(Logger("txinfer.collector"), clock)

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
            client: who calls; clients share the batches fairly.
            trace: is told how long the call waited and ran.

        Returns:
            A Deferred that fires with the outputs for just these rows, or fails
            with an :class:`InferenceError`: ``CallTooLarge`` at once if the
            queue could never hold it, ``Overloaded`` if it cannot now,
            ``NoTime`` if it is known to take too long, now or when its turn has
            come, ``Unavailable`` once the collector is closed,
            ``DeadlineExceeded`` at the deadline,
            ``InputRefused`` or ``ModelFailed`` if the model fails on this very
            call. Cancelling it takes the call out of the queue; rows already
            under way are not stopped, their answer is dropped.
        """
        now = self._clock.seconds()
        rows = row_count(tensors) if method.direct is None else 1
        size = byte_count(tensors)
        until = inf if deadline is None else deadline
        refusal = self._admission.refusal(method, rows, size, client, until - now)
        if refusal is not None:
            return fail(self._refuse(method, refusal))
        key = method.key(tensors)
        call = Call(method, key, tensors, rows, size, client, now, until, trace)
        answer: Deferred[Tensors] = Deferred(partial(self._cancel, call))
        call.answer = answer
        if until < inf:
            call.slot = self._deadlines.add(call, until)
        if not self._slots.has_room(method) or self._gathering.join(call):
            self.waiting.add(call)
        elif self._schedule.is_first(call):
            whole = method.direct is not None
            self._slots.start(Batch(method, [call], rows, size, whole))
        else:
            self.waiting.add(call)
            self._launch()
        return answer

    def refuse_unread(
        self, method: IRunnable, deadline: float, client: str
    ) -> int | None:
        """See :class:`~txinfer.interfaces.IMethod`."""
        seconds = deadline - self._clock.seconds()
        retry_after = self._admission.missing(method, client, seconds)
        if retry_after is not None:
            self._observer.shed(method.labels, Shed.DEADLINE)
        return retry_after

    @property
    def run_waits(self) -> bool:
        """Whether as many rows wait as any run may have."""
        return self.waiting.rows >= self.policy.largest

    @property
    def in_flight(self) -> int:
        """The number of runs under way."""
        return len(self._slots)

    @property
    def slots_left(self) -> int:
        """How many session slots are not lost."""
        return self._slots.count - self._slots.lost

    def load(self) -> Load:
        """How busy the slots are now, and with what. It costs by the keys."""
        depths: defaultdict[Labels, Depth] = defaultdict(Depth)
        for group in self.waiting:
            depth = depths[group.method.labels]
            depth.queued_rows += group.rows
            depth.queued_bytes += group.size
        for batch in self._slots:
            depths[batch.method.labels].running_rows += batch.rows
        return Load(
            slots=self._slots.count,
            lost=self._slots.lost,
            running_since=tuple(batch.left for batch in self._slots),
            shares=tuple(batch.share for batch in self._slots),
            depths=depths,
            wait=self._admission.predicted_wait(),
            costs={labels: cost.curve() for labels, cost in self._costs.items()},
            at_once={it: cost.overlap.rates() for it, cost in self._costs.items()},
            held=self.held.amount(),
            most=Amount(self.held.max_rows, self.held.max_size),
        )

    def close(self) -> Deferred[None]:
        """Take no more calls: they fail with ``Unavailable``.

        Returns:
            A Deferred that fires with None once those taken are answered.
        """
        self._admission.closed = True
        return self.drained().addCallback(self._end)

    def give_up(self) -> None:
        """Answer whatever is not answered yet with ``Unavailable``, and run no more.

        What runs goes on in its thread, and nobody waits for it any longer.
        """
        self._admission.closed = True
        self._slots.give_up()
        running = [piece.call for batch in self._slots for piece in batch.pieces]
        self._fail([*running, *self._schedule.calls()], CLOSING)
        self._drain.tell()

    def hangs(self, methods: Methods | None = None) -> bool:
        """Whether a run of one of the methods, or of any, is not waited for."""
        return self._slots.hangs(methods)

    def drained(self, methods: Methods | None = None) -> Deferred[None]:
        """A Deferred that fires with None once nothing waits and nothing runs.

        Args:
            methods: only the calls of these count; None for all.
        """
        return self._drain.wait(methods)

    def amount(self) -> tuple[int, int]:
        """What waits and what runs: rows, and bytes."""
        waiting, slots, again = self.waiting, self._slots, self._again
        return (
            waiting.rows + slots.rows + again.rows,
            waiting.size + slots.size + again.size,
        )

    def _held_bytes(self) -> int:
        return self.held.amount().size

    # In

    def _refuse(self, method: IRunnable, refusal: Refusal) -> InferenceError:
        if refusal.reason is None:
            self._observer.expired(method.labels)
        else:
            self._observer.shed(method.labels, refusal.reason)
        return refusal.error

    def _settle(self, call: Call) -> Deferred[Tensors] | None:
        """Take a call out, wherever it is.

        Returns:
            What is to be fired with its answer; None if it has been.
        """
        if call.line is not None:
            self.waiting.remove(call)
        if call.slot is not None:
            call.slot.discard(call)
        answer, call.answer = call.answer, None
        return answer

    def _cancel(self, call: Call, _: Deferred[Tensors]) -> None:
        self._observer.cancelled(call.method.labels)
        if call.trace is not None:
            call.trace.cancelled = True
        self._settle(call)
        self._drain.tell()

    def _expire(self, call: Call) -> None:
        answer = self._settle(call)
        if answer is not None:
            self._observer.expired(call.method.labels)
            answer.errback(DeadlineExceeded())
            self._drain.tell()

    def _turn_away(self, call: Call) -> None:
        """Answer a call whose turn came too late."""
        if call.deadline <= self._clock.seconds():
            self._expire(call)
            return
        answer = self._settle(call)
        if answer is not None:
            answer.errback(self._refuse(call.method, self._admission.too_late()))
            self._drain.tell()

    def _fail(self, calls: Iterable[Call], why: str) -> None:
        for call in calls:
            answer = self._settle(call)
            if answer is not None:
                answer.errback(Unavailable(why))

    # Run

    def _launch(self) -> None:
        """Start runs while there are both free slots and batches."""
        while self._slots.free:
            batch = self._schedule.next()
            if batch is None:
                break
            self._slots.start(batch)
        late = self._schedule.late
        while late:
            self._turn_away(late.pop())

    def _lost(self) -> None:
        """A slot is lost. Another may be there instead; if none is, nobody waits."""
        self._launch()
        if not self._slots.limit:
            self._fail(self._schedule.calls(), NO_SLOT)
        self._drain.tell()

    # Out

    def _landed(
        self, batch: Batch, result: list[Tensors] | Failure, seconds: float
    ) -> None:
        """A run is back: start the next one first, then answer its callers.

        Encoding the replies takes longer than starting a run, and the session
        should not idle meanwhile.
        """
        failed = isinstance(result, Failure)
        self._record(batch, seconds, failed)
        if isinstance(result, Failure):
            culprit = self._isolate(result, batch)
            answer = None if culprit is None else self._settle(culprit)
            self._launch()
            if answer is not None:
                answer.errback(blame(result, self._log))
            self._drain.tell()
        else:
            self._slots.learn(batch, seconds)
            self.waiting.reckon()
            if batch.method.cost.runs == 1:
                self._costs[batch.method.labels] = batch.method.cost
            if not self._gathering.follow(batch):
                self._launch()
            self._hand_out(batch, result)

    def _hand_out(self, batch: Batch, result: list[Tensors]) -> None:
        """Answer the callers of a run, and take note of what that takes."""
        pieces, delivery = batch.pieces, self._delivery
        began = self._clock.seconds()
        delivery.add(zip(pieces, result, strict=True))
        took = SLICE if delivery.going else self._clock.seconds() - began
        trace = pieces[0].trace
        read = 0.0 if trace is None else trace.decode_seconds
        batch.method.cost.company.learn_call(read + took / len(pieces))

    def _deliver(self, piece: Piece, outputs: Tensors) -> None:
        """Answer a call, if that was all of it."""
        if not piece.wanted:
            return
        if isinstance(piece, Part):
            whole = self._again.rejoin(piece, outputs)
            if whole is None:
                return
            outputs = whole
        answer = self._settle(piece.call)
        assert answer is not None
        answer.callback(outputs)

    def _delivered(self) -> None:
        # What could not be put together is to be run again.
        if not self._gathering.going:
            self._launch()
        self._drain.tell()

    def _isolate(self, failure: Failure, batch: Batch) -> Call | None:
        """The guilty call if it ran alone; else None, and re-runs are planned."""
        pieces = batch.pieces
        if failure.check(RowsLost):
            self._again.separate(str(failure.value), pieces)
            return None
        if len(pieces) > 1:
            self._again.halve(batch)
            return None
        return pieces[0].call if pieces[0].wanted else None

    def _record(self, batch: Batch, seconds: float, failed: bool) -> None:
        """Tell the observer and the calls of a run."""
        waited = batch.left - batch.arrived
        calls = len(batch.pieces)
        labels, rows, rerun = batch.method.labels, batch.rows, batch.rerun
        for piece in batch.pieces:
            trace = piece.trace
            if trace is not None:
                trace.add_run(rows, batch.left - piece.arrived, seconds, rerun)
        share = batch.share
        run = Run(labels, rows, calls, waited, seconds, failed, rerun, share)
        self._observer.ran(run)

    def _is_idle(self, methods: Methods | None) -> bool:
        if self._delivery.going:
            return False
        if self._slots.busy(methods):
            return False
        return not (self._schedule if methods is None else self._schedule.has(methods))

    def _end(self, _: None) -> None:
        self._deadlines.stop()
        self._slots.stop()
        self._schedule.stop()
        self._gathering.stop()
        self.held.discard(self.amount)
        self._log.close()
