"""The native dialect: each method is a JSON function.

``GET /`` lists the methods, ``GET /NAME`` gives one, ``POST /NAME`` calls one,
``POST /`` calls ``serving_default``. A call comes in one of three forms and is
answered in the same:

* columns: an object of whole inputs, ``{"image": [a, b]}`` -> ``{"names": [x, y]}``
* a row: an object of one example, ``{"image": a}`` -> ``{"names": x}``
* rows: a list of such objects -> a list of objects, in order

For a method that does not work by rows an example is a whole call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..bodies import Columns, Form, Given, check_rows, given_by, stacked
from ..codings import WORTH_PACKING
from ..errors import InvalidInput, RowsMissing
from ..interfaces import IFetcher, IMethod, IPredictor
from ..limits import CallLimits
from ..observe import NOBODY, IObserver
from ..replies import Kind, Parts, kind_of, written
from ..tensors import Signature, Tensors, TensorSpec, listed_shape, split
from ..urls import fill, fill_each
from ..visits import Visit
from ..web import new_router, reply, reply_bytes, reply_packed

# TensorFlow's DEFAULT_SERVING_SIGNATURE_DEF_KEY.
DEFAULT_METHOD = "serving_default"


@attrs.frozen
class Dialect:
    """What the native dialect needs.

    Args:
        predictor: has the methods.
        fetcher: fetches URL inputs; None takes none.
        limits: what one call may hold.
        clock: the reactor.
        batch_transpose: an object is always one example, never columns.
        observer: is told of the answers.
    """

    predictor: IPredictor
    fetcher: IFetcher | None
    limits: CallLimits
    clock: IReactorTime
    batch_transpose: bool = False
    observer: IObserver = NOBODY

    def router(self) -> Klein:
        """The routes of the dialect."""
        router = new_router()

        @router.route("/", methods=["GET"])
        async def list_methods(request: IRequest) -> bytes:
            return await self.list_all(request, self.predictor)

        @router.route("/", methods=["POST"])
        async def call_default(request: IRequest) -> bytes:
            return await self.call(request, self.predictor, DEFAULT_METHOD)

        @router.route("/<path:name>", methods=["GET"])
        def list_method(request: IRequest, name: str) -> bytes:
            return self.list_one(request, self.predictor, name)

        @router.route("/<path:name>", methods=["POST"])
        async def call(request: IRequest, name: str) -> bytes:
            return await self.call(request, self.predictor, name)

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

    async def call(self, request: IRequest, predictor: IPredictor, name: str) -> bytes:
        """Call a method of a predictor, and answer with its outputs."""
        with Visit(request, self.observer, self.clock) as visit:
            with predictor.lease(name) as method:
                visit.labels = method.labels
                body = await self._answer(request, method, visit)
            visit.encoded()
            return body

    async def _answer(self, request: IRequest, method: IMethod, visit: Visit) -> bytes:
        signature = method.signature
        kind = kind_of(request, signature)
        given = given_by(request, signature, self.limits, self.batch_transpose)
        parts = await self._parts(method, given, visit)
        body = written(kind, given.form, signature, parts)
        reply_bytes(request, body, kind.value)
        # Arrays of floats become hardly smaller.
        if len(body) < WORTH_PACKING or kind is not Kind.JSON:
            return body
        return await reply_packed(request, body, self.clock)

    async def _parts(self, method: IMethod, given: Given, visit: Visit) -> Parts:
        """The outputs for a request: one part, or one after the other."""
        if given.form is Form.COLUMNS:
            tensors = await self._tensors(method.signature, given, given.values, visit)
            return [await visit.predict(method, tensors)]
        try:
            return await self._predict_rows(method, given, visit)
        except InvalidInput as error:
            if given.form is Form.ROWS:
                raise
            # The caller has sent no list for the row's number to point into.
            raise InvalidInput(error.why, error.input, error.index[1:]) from None

    async def _tensors(
        self, signature: Signature, given: Given, columns: Columns, visit: Visit
    ) -> Tensors:
        inputs = given.parse(signature, columns)
        visit.decoded()
        tensors = await fill(inputs, self.fetcher, self.limits, visit.client)
        visit.fetched(inputs)
        return tensors

    async def _predict_rows(self, method: IMethod, given: Given, visit: Visit) -> Parts:
        """Answer examples: in one call if the method is batched, else one by one."""
        signature, rows = method.signature, given.values
        check_rows(signature, rows)
        if method.direct is None and rows:
            columns = stacked(signature, rows)
            tensors = await self._tensors(signature, given, columns, visit)
            outputs = await visit.predict(method, tensors)
            if has_rows(outputs, len(rows)):
                return [outputs]
            # It has just been found out that the method must be called directly.
            calls = split(tensors, [1] * len(rows))
        else:
            calls = await self._calls(signature, given, visit)
        parts = []
        for number, call in enumerate(calls):
            try:
                parts.append(await visit.predict(method, call))
            except InvalidInput as error:
                raise in_row(error, number, signature) from None
            if signature.by_rows and not has_rows(parts[-1], 1):
                raise RowsMissing
        return parts

    async def _calls(
        self, signature: Signature, given: Given, visit: Visit
    ) -> list[Tensors]:
        """Each example as a call of its own."""
        calls = []
        for number, row in enumerate(given.values):
            columns = stacked(signature, [row]) if signature.by_rows else row
            try:
                calls.append(given.parse(signature, columns))
            except InvalidInput as error:
                raise in_row(error, number, signature) from None
        visit.decoded()
        try:
            tensors = await fill_each(calls, self.fetcher, self.limits, visit.client)
        except InvalidInput as error:
            number, *index = error.index
            inner = InvalidInput(error.why, error.input, tuple(index))
            raise in_row(inner, number, signature) from None
        visit.fetched(*calls)
        return tensors


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


def in_row(error: InvalidInput, number: int, signature: Signature) -> InvalidInput:
    """The error of an example that was called alone, with its place in the list."""
    inner = error.index[1:] if signature.by_rows else error.index
    return InvalidInput(error.why, error.input, (number, *inner))


def has_rows(outputs: Tensors, count: int) -> bool:
    """Whether every output has ``count`` rows."""
    return all(array.ndim > 0 and len(array) == count for array in outputs.values())
