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
from enum import Enum
from typing import Any

import attrs
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from ..errors import InvalidBody, InvalidInput, RowsMissing
from ..inputs import check_names, parse_inputs
from ..interfaces import IFetcher, IMethod, IPredictor
from ..limits import CallLimits
from ..observe import NOBODY, IObserver
from ..tensors import Signature, Tensors, TensorSpec, listed_shape, split
from ..urls import fill, fill_each
from ..values import depth, jsonable, loads
from ..visits import Visit
from ..web import json_body, new_router, reply

# TensorFlow's DEFAULT_SERVING_SIGNATURE_DEF_KEY.
DEFAULT_METHOD = "serving_default"

Columns = Mapping[str, Any]


class Form(Enum):
    """The form of a call and of its answer."""

    COLUMNS = "columns"
    ROW = "row"
    ROWS = "rows"


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
        def list_methods(request: IRequest) -> bytes:
            return reply(request, [listed(m) for m in self.predictor.methods()])

        @router.route("/", methods=["POST"])
        async def call_default(request: IRequest) -> bytes:
            return await self._call(request, DEFAULT_METHOD)

        @router.route("/<path:name>", methods=["GET"])
        def list_method(request: IRequest, name: str) -> bytes:
            return reply(request, listed(self.predictor.method(name)))

        @router.route("/<path:name>", methods=["POST"])
        async def call(request: IRequest, name: str) -> bytes:
            return await self._call(request, name)

        return router

    async def _call(self, request: IRequest, name: str) -> bytes:
        with Visit(request, self.observer, self.clock) as visit:
            with self.predictor.lease(name) as method:
                visit.labels = method.labels
                body = await self._answer(request, method, visit)
            visit.encoded()
            return body

    async def _answer(self, request: IRequest, method: IMethod, visit: Visit) -> bytes:
        # No body at all is a call without inputs.
        value = loads(json_body(request, self.limits.request_size) or b"{}")
        form = form_of(value, method.signature, self.batch_transpose)
        if form is Form.COLUMNS:
            outputs = await self._predict(method, value, visit)
            return reply(request, columns_out(method.signature, outputs))
        if form is Form.ROWS:
            return reply(request, await self._predict_rows(method, value, visit))
        try:
            [answer] = await self._predict_rows(method, [value], visit)
            return reply(request, answer)
        except InvalidInput as error:
            # The caller has sent no list for the row's number to point into.
            raise InvalidInput(error.why, error.input, error.index[1:]) from None

    async def _predict(
        self, method: IMethod, columns: Columns, visit: Visit
    ) -> Tensors:
        tensors = await self._tensors(method.signature, columns, visit)
        return await visit.predict(method, tensors)

    async def _tensors(
        self, signature: Signature, columns: Columns, visit: Visit
    ) -> Tensors:
        inputs = parse_inputs(signature, columns)
        visit.decoded()
        tensors = await fill(inputs, self.fetcher, self.limits, visit.client)
        visit.fetched(inputs)
        return tensors

    async def _predict_rows(
        self, method: IMethod, rows: list[Columns], visit: Visit
    ) -> list[dict[str, Any]]:
        """Answer examples: in one call if the method is batched, else one by one."""
        signature = method.signature
        check_rows(signature, rows)
        if method.direct is None and rows:
            columns = stacked(signature, rows)
            tensors = await self._tensors(signature, columns, visit)
            outputs = await visit.predict(method, tensors)
            if has_rows(outputs, len(rows)):
                return rows_out(signature, outputs, len(rows))
            # It has just been found out that the method must be called directly.
            calls = split(tensors, [1] * len(rows))
        else:
            calls = await self._calls(signature, rows, visit)
        answers = []
        for number, call in enumerate(calls):
            try:
                outputs = await visit.predict(method, call)
            except InvalidInput as error:
                raise in_row(error, number, signature) from None
            if signature.by_rows:
                answers += rows_out(signature, outputs, 1)
            else:
                answers.append(columns_out(signature, outputs))
        return answers

    async def _calls(
        self, signature: Signature, rows: list[Columns], visit: Visit
    ) -> list[Tensors]:
        """Each example as a call of its own."""
        calls = []
        for number, row in enumerate(rows):
            columns = stacked(signature, [row]) if signature.by_rows else row
            try:
                calls.append(parse_inputs(signature, columns))
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


def form_of(value: object, signature: Signature, batch_transpose: bool) -> Form:
    """The form of a request body.

    Raises:
        InvalidBody: it has none of the three.
    """
    if isinstance(value, list):
        return Form.ROWS
    if not isinstance(value, dict):
        raise InvalidBody("the body must be a JSON object or a list of objects")
    return Form.ROW if batch_transpose or is_row(value, signature) else Form.COLUMNS


def is_row(value: Columns, signature: Signature) -> bool:
    """Whether each of an object's values has one dimension fewer than its input."""
    return signature.by_rows and all(
        name in signature.inputs
        and depth(item) == len(signature.inputs[name].row_shape)
        for name, item in value.items()
    )


def check_rows(signature: Signature, rows: list[Any]) -> None:
    """Raise InvalidBody or InvalidInput unless all are examples of the inputs."""
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidBody(f"[{number}] of the list is not a JSON object")
        if row.keys() != signature.inputs.keys():
            check_names(signature, row, (number,))


def stacked(signature: Signature, rows: list[Columns]) -> Columns:
    """Examples as columns; each has all the inputs."""
    return {name: [row[name] for row in rows] for name in signature.inputs}


def in_row(error: InvalidInput, number: int, signature: Signature) -> InvalidInput:
    """The error of an example that was called alone, with its place in the list."""
    inner = error.index[1:] if signature.by_rows else error.index
    return InvalidInput(error.why, error.input, (number, *inner))


def columns_out(signature: Signature, outputs: Tensors) -> dict[str, Any]:
    """An answer as columns."""
    specs = signature.outputs.items()
    return {name: jsonable(spec, outputs[name]) for name, spec in specs}


def has_rows(outputs: Tensors, count: int) -> bool:
    """Whether every output has ``count`` rows."""
    return all(array.ndim > 0 and len(array) == count for array in outputs.values())


def rows_out(
    signature: Signature, outputs: Tensors, count: int
) -> list[dict[str, Any]]:
    """An answer as one object for each row.

    Raises:
        RowsMissing: the method did not give ``count`` rows.
    """
    if not has_rows(outputs, count):
        raise RowsMissing
    columns = columns_out(signature, outputs)
    return [
        {name: column[number] for name, column in columns.items()}
        for number in range(count)
    ]
