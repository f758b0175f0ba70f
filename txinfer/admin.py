"""Management over HTTP, at a port of its own.

Whoever gets here can have any program run, since a SavedModel is one. So it is never
at the public port, and nothing that a browser sends is taken: a stranger's page, in
the browser of somebody on this machine, must not get here either.

* ``GET /models``, ``GET /models/NAME``: what there is, and what is wrong with it
* ``POST /models/NAME``: load a model, ``{"path": …}`` as in a file of options
* ``DELETE /models/NAME``: unload it
* ``POST /models/NAME/reload``: load again what is loaded
* ``POST /models/NAME/versions/N``: load a version, whatever the policy says
* ``POST /models/NAME/versions/N/reload``: load it again
* ``DELETE /models/NAME/versions/N``: unload it
* ``PUT /models/NAME/labels/L``: ``{"version": N}``
* ``DELETE /models/NAME/labels/L``

Each is answered when it is done, with what there is of the model then.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from klein import Klein
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from .administration import Administration
from .config import InvalidConfig, parse_model
from .errors import InferenceError, InvalidBody, UnknownVersion
from .observe import NOBODY, IObserver
from .refusals import UnsupportedMediaType
from .routing import Api, respond_error
from .specs import parse_name, parse_version
from .values import loads
from .web import new_router, reply

# A model's description is a few hundred bytes.
BODY_SIZE = 65536

JSON_TYPE = b"application/json"


class Forbidden(InferenceError):
    """The request comes from where none may come from."""

    status = 403


class AdminRoot(Resource):
    """Answers what is asked of the administration, but no browser.

    Args:
        models: the administration.
        observer: is told of every answer, if the site is one of our own.
    """

    isLeaf = True

    def __init__(self, models: Administration, observer: IObserver = NOBODY) -> None:
        super().__init__()
        self.observer = observer
        self._api = Api(router(models))

    def render(self, request: IRequest) -> int:
        """Answer, once it is clear that no page of anybody's asks."""
        # Browsers say where a request comes from unless it is a plain GET, of which
        # they hide the answer from pages of other origins ...
        if request.getHeader(b"Origin") is not None:
            return respond_error(request, Forbidden("browsers may not manage models"))
        # ... unless their own name was made to lead here (DNS rebinding).
        if not _is_here(request.getRequestHostname()):
            why = "ask by an address or as localhost, not by another name"
            return respond_error(request, Forbidden(why))
        return self._api.render(request)


def router(models: Administration) -> Klein:
    """The routes."""
    routes = new_router()

    @routes.route("/models", methods=["GET"])
    def list_models(request: IRequest) -> bytes:
        return reply(request, models.models())

    @routes.route("/models/<name>", methods=["GET"])
    def list_model(request: IRequest, name: str) -> bytes:
        return reply(request, models.model(name))

    @routes.route("/models/<name>", methods=["POST"])
    async def load(request: IRequest, name: str) -> bytes:
        spec = _checked(parse_model, _body(request))
        return reply(request, await models.load(_checked(parse_name, name), spec))

    @routes.route("/models/<name>", methods=["DELETE"])
    async def unload(request: IRequest, name: str) -> bytes:
        return reply(request, await models.unload(name))

    @routes.route("/models/<name>/reload", methods=["POST"])
    async def reload(request: IRequest, name: str) -> bytes:
        return reply(request, await models.reload(name))

    _add_versions(routes, models)
    _add_labels(routes, models)
    return routes


def _add_versions(routes: Klein, models: Administration) -> None:
    place = "/models/<name>/versions/<version>"

    @routes.route(place, methods=["POST"])
    async def load_version(request: IRequest, name: str, version: str) -> bytes:
        return reply(request, await models.load_version(name, _number(version)))

    @routes.route(f"{place}/reload", methods=["POST"])
    async def reload_version(request: IRequest, name: str, version: str) -> bytes:
        return reply(request, await models.reload(name, _number(version)))

    @routes.route(place, methods=["DELETE"])
    async def unload_version(request: IRequest, name: str, version: str) -> bytes:
        return reply(request, await models.unload_version(name, _number(version)))


def _add_labels(routes: Klein, models: Administration) -> None:
    place = "/models/<name>/labels/<label>"

    @routes.route(place, methods=["PUT"])
    async def set_label(request: IRequest, name: str, label: str) -> bytes:
        body = _body(request)
        number = body.get("version")
        if body.keys() != {"version"} or type(number) is not int:
            raise InvalidBody('the body must be {"version": N}')
        label = _checked(parse_name, label)
        return reply(request, await models.label(name, label, number))

    @routes.route(place, methods=["DELETE"])
    async def remove_label(request: IRequest, name: str, label: str) -> bytes:
        return reply(request, await models.label(name, label, None))


def _body(request: IRequest) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        UnsupportedMediaType: it is not said to be JSON.
        InvalidBody: it is none, or not even JSON.
    """
    kind = (request.getHeader(b"Content-Type") or b"").split(b";")[0].strip().lower()
    if kind != JSON_TYPE:
        raise UnsupportedMediaType("the request body must be application/json")
    value = loads(request.content.read())
    if not isinstance(value, dict):
        raise InvalidBody("the body must be a JSON object")
    return value


def _checked(rule: Any, value: object) -> Any:
    """What a rule makes of a value; InvalidBody if it does not fit."""
    try:
        return rule(value)
    except (InvalidConfig, ValueError) as error:
        raise InvalidBody(str(error)) from None


def _number(text: str) -> int:
    try:
        return parse_version(text)
    except ValueError:
        raise UnknownVersion(text) from None


def _is_here(host: bytes) -> bool:
    """Whether a host is an address, or this machine by its own name for itself."""
    name = host.decode("ascii", "replace").strip("[]").lower()
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
