"""The short way through the native dialect, which nearly all calls take.

A call in JSON to a batched method, without URLs, answered in JSON: it is read,
submitted and answered by plain function calls, without a coroutine, a lease or
a header that is set by name. Whatever turns out otherwise, and whatever is
wrong with a call, is left to :mod:`.native`, by which all rules are defined and
every error is worded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ..bounds import check_calls
from ..codings import WORTH_PACKING
from ..deadlines import HEADER, wait_of
from ..errors import InferenceError, InvalidInput
from ..forms import Asked, Form
from ..guard import client_of
from ..interfaces import IMethod
from ..jsonin import read
from ..jsonout import write
from ..limits import CallLimits
from ..replies import Kind, has_rows, size_of
from ..request import JSON_TYPE, BoundedRequest, Fields, Head
from ..routing import answer_with, respond_error, respond_failure
from ..tensors import Tensors
from ..trace import Trace
from ..web import reply_bytes, reply_packed

# What clients say that send JSON, word for word. Those who say it in other words
# take the long way.
JSON_TYPES = {None, b"application/json", b"application/x-www-form-urlencoded"}


class Terms(NamedTuple):
    """What a request's head says of how it is to be answered.

    ``plain`` is whether it can be this way; ``wait`` is for how long the client
    waits, in seconds, None for ever; ``packs`` whether it takes what is compressed.
    """

    plain: bool
    wait: float | None
    packs: bool


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

    def take(
        self, request: Any, method: IMethod, long_way: Callable[[Any], object]
    ) -> bool:
        """Begin to answer a call, if it can be answered this way.

        Args:
            request: whole.
            method: what is called; it need not be leased, since the call is
                submitted before this returns.
            long_way: answers a request from its beginning; called if it turns
                out only later that it has to.

        Returns:
            Whether the request will be answered.
        """
        if not isinstance(request, BoundedRequest) or method.direct is not None:
            return False
        head = request.head
        terms = head.notes.get(self) or self._read_head(head)
        if not terms.plain:
            return False
        began = self.clock.seconds()
        try:
            asked = read(
                request.body, method.signature, self.limits, self.batch_transpose
            )
        except InferenceError:
            return False
        if len(asked.calls) != 1:
            return False
        (inputs,) = asked.calls
        tensors = {}
        for name, parsed in inputs.items():
            if parsed.urls:
                return False
            tensors[name] = parsed.array
        try:
            check_calls(method.signature, (tensors,), self.limits)
        except InferenceError:
            return False
        trace = Trace(self.clock.seconds() - began)
        wait = terms.wait
        deadline = None if wait is None else request.arrived + wait
        call = QuickCall(self, request, method, asked, trace, long_way, terms.packs)
        call.begin(tensors, deadline)
        return True

    def _read_head(self, head: Head) -> Terms:
        """The terms of a head, kept with it."""
        fields = head.fields
        plain, wait = _is_plain_json(fields), None
        try:
            wait = wait_of(fields.get(HEADER), self.limits)
        except InferenceError:
            plain = False
        terms = Terms(plain, wait, b"accept-encoding" in fields)
        head.notes[self] = terms
        return terms


def _is_plain_json(fields: Fields) -> bool:
    """Whether a body is JSON as it is, and so is to be its answer."""
    return (
        fields.get(b"content-type") in JSON_TYPES
        and b"content-encoding" not in fields
        and b"/x-np" not in fields.get(b"accept", b"").lower()
    )


@attrs.define(eq=False)
class QuickCall:
    """One call that has been read."""

    _way: QuickWay
    _request: BoundedRequest
    _method: IMethod
    _asked: Asked
    _trace: Trace
    _long_way: Callable[[Any], object]
    _packs: bool

    def begin(self, tensors: Tensors, deadline: float | None) -> None:
        """Submit the call; its request is answered when the outputs are there."""
        request = self._request
        request.labels = self._method.labels
        request.trace = self._trace
        pending = self._method.predict(
            tensors, deadline, client_of(request), self._trace
        )
        request.pending = pending
        pending.addCallbacks(self._answer, self._fail)

    def _answer(self, outputs: Tensors) -> None:
        try:
            self._write(outputs)
        except Exception:
            respond_failure(Failure(), self._request)

    def _write(self, outputs: Tensors) -> None:
        way, asked = self._way, self._asked
        began = way.clock.seconds()
        if asked.form is not Form.COLUMNS and not has_rows(outputs, asked.rows):
            # The method is direct from now on.
            self._long_way(self._request)
            return
        try:
            size_of(Kind.JSON, outputs, way.limits)
        except InferenceError as error:
            respond_error(self._request, error)
            return
        signature = self._method.signature
        body = write(signature, (outputs,), asked.form, asked.rows)
        self._trace.encode_seconds = way.clock.seconds() - began
        request = self._request
        if self._packs and len(body) >= WORTH_PACKING:
            self._answer_packed(body)
            return
        request.respond(200, JSON_TYPE, body)

    def _answer_packed(self, body: bytes) -> None:
        request = self._request
        reply_bytes(request, body, b"application/json")
        answer_with(request, partial(reply_packed, request, body, self._way.clock))

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, InvalidInput):
            respond_error(self._request, self._asked.placed(error))
        else:
            respond_failure(failure, self._request)
