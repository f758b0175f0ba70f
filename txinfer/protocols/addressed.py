"""The native dialect at the addresses of models, versions and labels.

``/models/NAME/…`` is to a model what the root is to the first one; so are
``/models/NAME/versions/N/…`` and ``/models/NAME/labels/L/…`` to one version of
it. ``GET /models`` lists the models.
"""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.web.iweb import IRequest

from ..errors import InferenceError, UnknownVersion
from ..interfaces import IModels, IPredictor
from ..specs import parse_version
from ..web import reply
from .native import DEFAULT_METHOD, Answer, Dialect

#: The first segment of all these paths.
SEGMENT = "models"

PLACES = {
    "model": f"/{SEGMENT}/<model>",
    "version": f"/{SEGMENT}/<model>/versions/<version>",
    "label": f"/{SEGMENT}/<model>/labels/<label>",
}


def add_routes(router: Klein, dialect: Dialect, models: IModels) -> None:
    """Add the routes of this module to those of the dialect."""

    @router.route(f"/{SEGMENT}", methods=["GET"])
    def list_models(request: IRequest) -> bytes:
        return reply(request, models.listing())

    for kind, place in PLACES.items():
        _add_place(router, dialect, models, place, kind)


def _add_place(
    router: Klein, dialect: Dialect, models: IModels, place: str, kind: str
) -> None:
    """The routes of the dialect below one kind of address."""

    def find(
        model: str, version: str | None = None, label: str | None = None
    ) -> IPredictor:
        try:
            number = None if version is None else parse_version(version)
        except ValueError:
            raise UnknownVersion(version or "") from None
        return models.at(model, number, label)

    def call_at(request: IRequest, name: str, address: dict[str, Any]) -> Answer:
        try:
            predictor = find(**address)
        except InferenceError as error:
            dialect.refuse(request, error)
        return dialect.call(request, predictor, name)

    # An address is the same with and without a slash at its end.
    for end in ("", "/"):

        @router.route(place + end, methods=["GET"], endpoint=f"{kind} methods {end}")
        async def list_methods(request: IRequest, **address: Any) -> bytes:
            return await dialect.list_all(request, find(**address))

        @router.route(place + end, methods=["POST"], endpoint=f"{kind} default {end}")
        def call_default(request: IRequest, **address: Any) -> Answer:
            return call_at(request, DEFAULT_METHOD, address)

    @router.route(f"{place}/<path:name>", methods=["GET"], endpoint=f"{kind} method")
    def list_method(request: IRequest, name: str, **address: Any) -> bytes:
        return dialect.list_one(request, find(**address), name)

    @router.route(f"{place}/<path:name>", methods=["POST"], endpoint=f"{kind} call")
    def call(request: IRequest, name: str, **address: Any) -> Answer:
        return call_at(request, name, address)
