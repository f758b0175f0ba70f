"""The short way through the native dialect, which nearly all calls take.

A call to a batched method, in anything but a form and without URLs: it is read,
submitted and answered by plain function calls, without a coroutine, a lease or
a header that is set by name. Whatever turns out otherwise, and whatever is
wrong with a call, is left to :mod:`.native`, by which all rules are defined and
every error is worded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from .. import repeats
from ..bodies import Reads, reader_of
from ..bounds import check_calls
from ..codings import WORTH_PACKING
from ..deadlines import HEADER, wait_of
from ..errors import InferenceError, InvalidInput, NoTime, RowsMissing
from ..forms import COLUMNS, ROW, Asked
from ..guard import client_of
from ..interfaces import IMethod
from ..jsonin import read_new
from ..jsonout import write
from ..limits import CallLimits
from ..replies import Kind, has_rows, json_size, kinds_in, size_of, why_not, written
from ..request import JSON_TYPE, BoundedRequest, Fields, Head
from ..routing import answer_with, error_answer, respond_error, respond_failure
from ..tensors import Signature, Tensors
from ..trace import Trace
from ..web import reply_bytes, reply_packed

# What clients say that send JSON, word for word. Those who say it in other words
# take the long way; so it is with all else.
JSON_TYPES = {b"application/json", b"application/x-www-form-urlencoded"}

# What the head of an answer has to say of what it is.
TYPE_LINES = {
    kind: b"Vary: Accept\r\nContent-Type: %s\r\n" % kind.value for kind in Kind
} | {Kind.JSON: JSON_TYPE}

#: What answers a request whose rows have to run one by one, by the method, what it asks
#: for and its tensors.
RowByRow = Callable[[BoundedRequest, IMethod, Asked, Tensors], object]


class Terms(NamedTuple):
    """What a request's head says of how it is to be answered.

    ``reads`` is what reads its body, None if it is not for this way, and
    ``reads_json`` whether that is JSON; ``kind`` is what the answer is to be written
    as, if the method's outputs can be, and ``is_json`` whether that is JSON; ``wait``
    is for how long the client waits, in seconds, None for ever; ``packs`` whether it
    takes what is compressed.
    """

    reads: Reads | None
    reads_json: bool
    kind: Kind
    is_json: bool
    wait: float | None
    packs: bool

    def refuse(self, request: BoundedRequest, error: InferenceError) -> None:
        """Answer with an error."""
        self.say_why_so(request)
        respond_error(request, error)

    def refuse_unread(
        self, request: BoundedRequest, method: IMethod, retry_after: int
    ) -> None:
        """Answer a call that was not read, and comes too late by so many seconds."""
        request.labels, request.trace = method.labels, Trace()
        self.say_why_so(request)
        request.respond(*_no_time(retry_after))

    def say_why_so(self, request: BoundedRequest) -> None:
        """Have it in the head of an error, too, what the answer depended on."""
        if not self.is_json and not request._disconnected:
            request.responseHeaders.addRawHeader(b"Vary", b"Accept")


@attrs.frozen(eq=False)
class QuickWay:
    """Answers calls, or leaves them alone.

    Args:
        limits: what one call may hold.
        clock: the reactor.
        batch_transpose: an object is always one example, never columns.
    """

    limits: CallLimits
    clock: IReactorTime
    batch_transpose: bool

    def take(self, request: Any, method: IMethod, row_by_row: RowByRow) -> bool:
        """Begin to answer a call, if it can be answered this way.

        Args:
            request: whole.
            method: what is called; it need not be leased, since the call is
                submitted before this returns.
            row_by_row: called if it turns out only later that the rows of a call
                have to run one by one.

        Returns:
            Whether the request will be answered.
        """
        if not isinstance(request, BoundedRequest) or method.direct is not None:
            return False
        head = request.head
        terms = head.notes.get(self) or self._read_head(head)
        reads, signature = terms.reads, method.signature
        if reads is None:
            return False
        if not terms.is_json and why_not(terms.kind, signature) is not None:
            return False
        wait = terms.wait
        deadline = None if wait is None else request.arrived + wait
        began = self.clock.seconds()
        if deadline is not None and began < method.cost.crowded_until:
            retry_after = method.refuse_unread(deadline, client_of(request))
            if retry_after is not None:
                terms.refuse_unread(request, method, retry_after)
                return True
        known = None
        if terms.reads_json:
            known = repeats.read(
                request.body, signature, self.limits, self.batch_transpose
            )
        if known is None:
            known = self._read(reads, request.body, signature)
            if known is None:
                return False
        asked, tensors = known
        trace = Trace(self.clock.seconds() - began)
        call = QuickCall(
            self, request, method, asked, tensors, trace, row_by_row, terms
        )
        call.begin(deadline)
        # Numbers take more in JSON than as an array, and calls may wait.
        request.body = b""
        return True

    def _read(
        self, reads: Reads, body: bytes, signature: Signature
    ) -> tuple[Asked, Tensors] | None:
        """What a body asks for, and the tensors of its only call, if it has one that
        can be made at once.
        """
        try:
            asked = reads(body, signature, self.limits)
            if len(asked.calls) != 1:
                return None
            (inputs,) = asked.calls
            if any(parsed.urls for parsed in inputs.values()):
                return None
            tensors = {name: parsed.array for name, parsed in inputs.items()}
            check_calls(signature, (tensors,), self.limits)
        except InferenceError:
            return None
        return asked, tensors

    def _read_head(self, head: Head) -> Terms:
        """The terms of a head, kept with it."""
        fields = head.fields
        reads, wait = self._reads(fields), None
        reads_json = _is_json(fields)
        try:
            wait = wait_of(fields.get(HEADER), self.limits)
        except InferenceError:
            reads = None
        kind = _kind_wanted(fields.get(b"accept"))
        if kind is None:
            reads, kind = None, Kind.JSON
        is_json = kind is Kind.JSON
        packs = b"accept-encoding" in fields
        terms = Terms(reads, reads_json, kind, is_json, wait, packs)
        head.notes[self] = terms
        return terms

    def _reads(self, fields: Fields) -> Reads | None:
        """What reads a body as it is; None if it is of no such kind."""
        if b"content-encoding" in fields:
            return None
        if _is_json(fields):
            return partial(read_new, batch_transpose=self.batch_transpose)
        return reader_of(fields[b"content-type"])


# As many as there are times to come again, and some (``admission.LONGEST_RETRY``).
@lru_cache(maxsize=64)
def _no_time(retry_after: int) -> tuple[int, bytes, bytes]:
    """The answer to calls that come so many seconds too late: one for many."""
    return error_answer(NoTime(retry_after))


def _is_json(fields: Fields) -> bool:
    """Whether a body is said to be JSON, or not said to be anything else."""
    header = fields.get(b"content-type")
    return header is None or header in JSON_TYPES


def _kind_wanted(accept: bytes | None) -> Kind | None:
    """What is wanted most; None if that is JSON, but might have been another."""
    if accept is None or b"/x-np" not in accept.lower():
        return Kind.JSON
    named, _ = kinds_in(accept)
    return named[0] if named else None


@attrs.define(eq=False)
class QuickCall:
    """One call that has been read."""

    _way: QuickWay
    _request: BoundedRequest
    _method: IMethod
    _asked: Asked
    _tensors: Tensors
    _trace: Trace
    _row_by_row: RowByRow
    _terms: Terms

    def begin(self, deadline: float | None) -> None:
        """Submit the call; its request is answered when the outputs are there."""
        request = self._request
        request.labels = self._method.labels
        request.trace = self._trace
        pending = self._method.predict(
            self._tensors, deadline, client_of(request), self._trace
        )
        request.pending = pending
        pending.addCallbacks(self._answer, self._fail)

    def _answer(self, outputs: Tensors) -> None:
        try:
            self._write(outputs)
        except Exception:
            self._terms.say_why_so(self._request)
            respond_failure(Failure(), self._request)

    def _write(self, outputs: Tensors) -> None:
        way, asked, terms = self._way, self._asked, self._terms
        began = way.clock.seconds()
        if asked.form is not COLUMNS and not has_rows(outputs, asked.rows):
            # The method is direct from now on.
            if asked.form is ROW:
                terms.refuse(self._request, RowsMissing())
            else:
                self._row_by_row(self._request, self._method, asked, self._tensors)
            return
        try:
            body = self._encoded(outputs)
        except InferenceError as error:
            terms.refuse(self._request, error)
            return
        self._trace.encode_seconds = way.clock.seconds() - began
        request = self._request
        if not terms.is_json:
            request.respond(200, TYPE_LINES[terms.kind], body)
        elif terms.packs and len(body) >= WORTH_PACKING:
            self._answer_packed(body)
        else:
            request.respond(200, JSON_TYPE, body)

    def _encoded(self, outputs: Tensors) -> bytes:
        """The body of the answer."""
        way, asked, signature = self._way, self._asked, self._method.signature
        if self._terms.is_json:
            json_size(outputs, way.limits)
            return write(signature, (outputs,), asked.form, asked.rows)
        kind = self._terms.kind
        size_of(kind, outputs, way.limits)
        return written(kind, asked, signature, (outputs,))

    def _answer_packed(self, body: bytes) -> None:
        request = self._request
        reply_bytes(request, body, b"application/json")
        answer_with(request, partial(reply_packed, request, body, self._way.clock))

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, InvalidInput):
            self._terms.refuse(self._request, self._asked.placed(error))
        else:
            self._terms.say_why_so(self._request)
            respond_failure(failure, self._request)
