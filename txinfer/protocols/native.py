"""The native dialect: each method is a JSON function.

``GET /`` lists the methods, ``GET /NAME`` gives one, ``POST /NAME`` calls one,
``POST /`` calls ``serving_default``. The forms of a call are in :mod:`..forms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import attrs
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET

from ..bodies import asked_by
from ..bounds import check_calls
from ..codings import WORTH_PACKING
from ..errors import InferenceError, InvalidInput, RowsMissing
from ..forms import Asked, Form
from ..interfaces import IFetcher, IMethod, IPredictor
from ..limits import CallLimits
from ..observe import NOBODY, IObserver
from ..replies import Kind, Parts, has_rows, kind_of, size_of, written
from ..routing import answer_with
from ..tensors import Signature, Tensors, TensorSpec, listed_shape, split
from ..urls import fill_each
from ..visits import Visit
from ..web import new_router, reply, reply_bytes, reply_packed
from .quick import QuickWay

# TensorFlow's DEFAULT_SERVING_SIGNATURE_DEF_KEY.
DEFAULT_METHOD = "serving_default"

#: A Deferred that fires with the body of an answer whose head is set; or
#: NOT_DONE_YET. (Klein's types know of no such choice.)
Answer = Any


@attrs.frozen
class Dialect:
    """What the native dialect needs.

    Args:
        predictor: has the methods.
        fetcher: fetches URL inputs; None takes none.
        limits: what one call may hold.
        clock: the reactor.
        batch_transpose: an object is always one example, never columns.
        observer: is told of calls that are too late.
    """

    predictor: IPredictor
    fetcher: IFetcher | None
    limits: CallLimits
    clock: IReactorTime
    batch_transpose: bool = False
    observer: IObserver = NOBODY
    _quick_way: QuickWay = attrs.field(init=False)

    @_quick_way.default
    def _make_quick_way(self) -> QuickWay:
        return QuickWay(self.limits, self.clock, self.batch_transpose)

    def router(self) -> Klein:
        """The routes of the dialect."""
        router = new_router()

        @router.route("/", methods=["GET"])
        async def list_methods(request: IRequest) -> bytes:
            return await self.list_all(request, self.predictor)

        @router.route("/", methods=["POST"])
        def call_default(request: IRequest) -> Answer:
            return self.call(request, self.predictor, DEFAULT_METHOD)

        @router.route("/<path:name>", methods=["GET"])
        def list_method(request: IRequest, name: str) -> bytes:
            return self.list_one(request, self.predictor, name)

        @router.route("/<path:name>", methods=["POST"])
        def call(request: IRequest, name: str) -> Answer:
            return self.call(request, self.predictor, name)

        return router

    async def list_all(self, request: IRequest, predictor: IPredictor) -> bytes:
        """Answer with all methods of a predictor."""
        body = reply(request, [listed(method) for method in predictor.methods()])
        if len(body) < WORTH_PACKING:
            return body
        return await reply_packed(request, body, self.clock)

    def list_one(self, request: IRequest, predictor: IPredictor, name: str) -> bytes:
        """Answer with one method of a predictor."""
        return reply(request, listed(predictor.method(name)))

    def call(self, request: IRequest, predictor: IPredictor, name: str) -> Answer:
        """Call a method of a predictor, and answer with its outputs."""
        try:
            method = predictor.method(name)
        except InferenceError:
            # The long way meets the same, and sees to what belongs to it.
            return Deferred.fromCoroutine(self._call(request, predictor, name))
        if self._quick_way.take(request, method, self._call_row_by_row):
            return NOT_DONE_YET
        return Deferred.fromCoroutine(self._call(request, predictor, name))

    def refuse(self, request: IRequest, error: InferenceError) -> NoReturn:
        """Raise what a call fails with before it is known whose method is called."""
        with Visit(request, self.limits, self.observer, self.clock):
            raise error

    def _call_row_by_row(
        self, request: IRequest, method: IMethod, asked: Asked, tensors: Tensors
    ) -> None:
        """Answer a request that was read the quick way.

        The method has read it, and goes on: if another version has been published
        meanwhile, that may want other inputs. It need not be leased, since each row is
        submitted before the one before it, or the whole call, counts as answered.
        """

        async def answer() -> bytes:
            with Visit(request, self.limits, self.observer, self.clock) as visit:
                visit.begin(method.labels)
                kind = kind_of(request, method.signature)
                parts = await self._predict_rows(method, kind, asked, tensors, visit)
                body = await self._reply(request, method, kind, asked, parts)
                visit.encoded()
                return body

        answer_with(request, answer)

    async def _call(self, request: IRequest, predictor: IPredictor, name: str) -> bytes:
        with Visit(request, self.limits, self.observer, self.clock) as visit:
            with predictor.lease(name) as method:
                visit.begin(method.labels)
                body = await self._answer(request, method, visit)
            visit.encoded()
            return body

    async def _answer(self, request: IRequest, method: IMethod, visit: Visit) -> bytes:
        signature = method.signature
        kind = kind_of(request, signature)
        asked = asked_by(
            request,
            signature,
            self.limits,
            self.batch_transpose,
            method.direct is not None,
        )
        visit.decoded()
        calls = await self._tensors(signature, asked, visit)
        parts = await self._predict(method, kind, asked, calls, visit)
        return await self._reply(request, method, kind, asked, parts)

    async def _reply(
        self,
        request: IRequest,
        method: IMethod,
        kind: Kind,
        asked: Asked,
        parts: Parts,
    ) -> bytes:
        body = written(kind, asked, method.signature, parts)
        reply_bytes(request, body, kind.value)
        # Arrays of floats become hardly smaller.
        if len(body) < WORTH_PACKING or kind is not Kind.JSON:
            return body
        return await reply_packed(request, body, self.clock)

    async def _tensors(
        self, signature: Signature, asked: Asked, visit: Visit
    ) -> list[Tensors]:
        """The arrays of each call, what is behind URLs among them."""
        try:
            calls = await visit.in_time(
                fill_each(asked.calls, self.fetcher, self.limits, visit.client)
            )
            check_calls(signature, calls, self.limits)
        except InvalidInput as error:
            number, *index = error.index
            raise asked.placed(error.at(tuple(index)), number) from None
        visit.fetched(*asked.calls)
        return calls

    async def _predict(
        self,
        method: IMethod,
        kind: Kind,
        asked: Asked,
        calls: list[Tensors],
        visit: Visit,
    ) -> Parts:
        """The outputs for a request: one part, or one after the other."""
        if asked.apart:
            return await self._predict_each(method, kind, asked, calls, visit)
        try:
            outputs = await visit.predict(method, calls[0])
        except InvalidInput as error:
            raise asked.placed(error) from None
        if asked.form is Form.ROWS and not has_rows(outputs, asked.rows):
            # It has just been found out that the method must be called directly.
            return await self._predict_rows(method, kind, asked, calls[0], visit)
        if asked.wrapped and not has_rows(outputs, 1):
            raise RowsMissing
        size_of(kind, outputs, self.limits)
        return [outputs]

    async def _predict_rows(
        self,
        method: IMethod,
        kind: Kind,
        asked: Asked,
        tensors: Tensors,
        visit: Visit,
    ) -> Parts:
        """The outputs for a call, one row after the other."""
        calls = split(tensors, [1] * asked.rows)
        asked = asked._replace(apart=True, wrapped=True)
        return await self._predict_each(method, kind, asked, calls, visit)

    async def _predict_each(
        self,
        method: IMethod,
        kind: Kind,
        asked: Asked,
        calls: list[Tensors],
        visit: Visit,
    ) -> Parts:
        """The outputs for one example after the other."""
        parts = []
        size = 0
        for number, call in enumerate(calls):
            try:
                outputs = await visit.predict(method, call)
            except InvalidInput as error:
                raise asked.placed(error, number) from None
            if asked.wrapped and not has_rows(outputs, 1):
                raise RowsMissing
            size = size_of(kind, outputs, self.limits, size)
            parts.append(outputs)
        return parts


# Translations


def listed(method: IMethod) -> dict[str, Any]:
    """What the listing says of a method."""
    return {
        "name": method.name,
        "inputs": _listed_specs(method.signature.inputs),
        "outputs": _listed_specs(method.signature.outputs),
        "batched": method.direct is None,
        "reason": method.reason,
    }


def _listed_specs(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    return {
        name: {
            "type": spec.type,
            "shape": None if spec.shape is None else listed_shape(spec.shape),
        }
        for name, spec in specs.items()
    }
