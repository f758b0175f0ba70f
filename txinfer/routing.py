"""Requests to Klein's handlers, and what becomes of them to answers.

Klein holds the routes and finds the handler of a path. Its own resource makes
half a dozen Deferreds and a werkzeug adapter for each request, so it is not
used: here a (verb, target) that was answered well once is remembered with its
handler and arguments, and the site goes straight there the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import attrs
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException

from .errors import InferenceError
from .guard import Guard
from .headers import request_id
from .refusals import Unauthorized, UnsupportedCoding
from .request import JSON_TYPE, error_body

log = Logger()

# Remembered routes. More than this is somebody making up paths that have
# answers, as a path with another spelling; it costs them the short way.
MAX_SHORTCUTS = 1024

Shortcuts = dict[tuple[bytes, bytes], Callable[[Any], object]]


def respond(request: IRequest, status: int, lines: bytes, body: bytes) -> int:
    """Write a whole answer, and be done with the request.

    Args:
        request: of our own site or any other. If it is gone, nothing happens.
        status: the status.
        lines: header lines, each with its line end.
        body: the body; not sent in answer to HEAD.
    """
    anyhow: Any = request
    if hasattr(anyhow, "respond"):
        anyhow.respond(status, lines, body)
        return NOT_DONE_YET
    if anyhow._disconnected or anyhow.finished:
        return NOT_DONE_YET
    anyhow.setResponseCode(status)
    for line in lines.splitlines():
        name, _, value = line.partition(b": ")
        anyhow.setHeader(name, value)
    anyhow.setHeader(b"Content-Length", b"%d" % len(body))
    anyhow.write(body)
    anyhow.finish()
    return NOT_DONE_YET


def respond_error(request: IRequest, error: InferenceError) -> int:
    """Answer with an error and the headers that belong to it."""
    return respond(request, *error_answer(error))


def error_answer(error: InferenceError) -> tuple[int, bytes, bytes]:
    """An error's status, head and body, as :func:`respond` takes them."""
    return error.status, JSON_TYPE + header_lines(error), error_body(str(error))


def header_lines(error: InferenceError) -> bytes:
    """What an error's answer says in its head besides the status."""
    if isinstance(error, Unauthorized):
        # Who has sent no key is not told that it was wrong (RFC 6750, section 3.1).
        wrong = b', error="invalid_token"' if error.given else b""
        return b'WWW-Authenticate: Bearer realm="txinfer"%s\r\n' % wrong
    if isinstance(error, UnsupportedCoding):
        return f"Accept-Encoding: {error.known}\r\n".encode()
    if error.retry_after is not None:
        return b"Retry-After: %d\r\n" % error.retry_after
    return b""


def respond_failure(failure: Failure, request: Any) -> None:
    """Answer with whatever a handler failed with; what is a bug is logged."""
    error = failure.value
    if isinstance(error, InferenceError):
        respond_error(request, error)
    elif isinstance(error, HTTPException):
        respond_routing_error(request, error)
    elif not (request._disconnected and isinstance(error, CancelledError)):
        name = request_id(request).decode()
        # Under a site of Twisted's own, that site's owner has a say over its log.
        told = getattr(request.site, "quota", log)
        told.failure("Request {request_id} failed", failure, request_id=name)
        respond(request, 500, JSON_TYPE, error_body("internal error"))


def respond_routing_error(request: IRequest, error: HTTPException) -> int:
    """No rule for the path (404) or the verb (405, with ``Allow``)."""
    lines = JSON_TYPE
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location"):
            lines += f"{name}: {value}\r\n".encode()
    text = (error.name or "error").lower()
    return respond(request, error.code or 500, lines, error_body(text))


def handler_of(router: Klein, endpoint: str) -> Callable[..., Any]:
    """The function that was registered for an endpoint.

    Klein keeps it in a wrapper that passes on what an app is bound to, and has
    the function for an attribute (``klein._decorators.originalName`` goes by it).
    """
    handler: Any = router.endpoints[endpoint]
    return getattr(handler, "__original__", partial(handler, None))


@attrs.frozen
class Route:
    """A handler with the arguments of one path."""

    _handler: Callable[..., Any]
    _arguments: Mapping[str, Any]

    def answer(self, request: IRequest) -> Deferred[Any] | None:
        """Let the handler answer; it responds itself, or gives a body.

        Returns:
            A Deferred that fires with None once the request is answered; None
            if it is answered already.
        """
        try:
            result: Any = self._handler(request, **self._arguments)
        except InferenceError as error:
            respond_error(request, error)
            return None
        except Exception:
            respond_failure(Failure(), request)
            return None
        if result is NOT_DONE_YET:
            return None
        if isinstance(result, Coroutine):
            result = Deferred.fromCoroutine(result)
        if isinstance(result, Deferred):
            return send_when_there(result, request)
        send_body(result, request)
        return None


@attrs.frozen
class Shortcut:
    """A route that the site goes to directly, once who asks is let in."""

    _route: Route
    _guard: Guard | None
    _segment: bytes

    def __call__(self, request: Any) -> None:
        """Answer a request."""
        if self._guard is not None:
            error = self._guard.admit(request, self._segment)
            if error is not None:
                respond_error(request, error)
                return
        self._route.answer(request)


class Api(Resource):
    """Answers every path below it by the routes of a Klein app.

    Args:
        router: the routes. A handler returns the body of an answer whose head
            it has set, or what :func:`respond` returned, or a Deferred of that.
        guard: asked on short ways, on which nobody else does.

    ``shortcuts`` holds the short ways, by verb and target.
    """

    isLeaf = True

    def __init__(self, router: Klein, guard: Guard | None = None) -> None:
        super().__init__()
        self.shortcuts: Shortcuts = {}
        self._router = router
        self._guard = guard
        self._rules: Any = router.url_map.bind("localhost")

    def render(self, request: IRequest) -> int:
        """Find the handler and let it answer."""
        path = b"/".join([b"", *request.postpath]).decode()
        try:
            endpoint, arguments = self._rules.match(path, request.method.decode())
        except HTTPException as error:
            return respond_routing_error(request, error)
        route = Route(handler_of(self._router, endpoint), arguments)
        answered = route.answer(request)
        if answered is None:
            self._remember(request, route)
        else:
            answered.addCallback(lambda _: self._remember(request, route))
        return NOT_DONE_YET

    def _remember(self, request: Any, route: Route) -> None:
        """Take the short way to what was answered well, where there is one."""
        if request.code != 200 or request.prepath or b"?" in request.uri:
            return
        if len(self.shortcuts) >= MAX_SHORTCUTS:
            self.shortcuts.clear()
        segment = request.postpath[0]
        shortcut = Shortcut(route, self._guard, segment)
        self.shortcuts[request.method, request.uri] = shortcut


def cancel_with(request: Any, pending: Deferred[Any]) -> None:
    """Cancel a Deferred when the client of a request hangs up."""
    if hasattr(request, "pending"):
        request.pending = pending
    else:
        request.notifyFinish().addErrback(lambda _: pending.cancel())


def answer_with(request: IRequest, handler: Callable[[], Any]) -> None:
    """Answer a request by a coroutine function that gives a body."""
    send_when_there(Deferred.fromCoroutine(handler()), request)


def send_when_there(body: Deferred[Any], request: IRequest) -> Deferred[None]:
    """Send a body when there is one, or answer with what it failed with.

    Returns:
        The same Deferred, which fires with None once the request is answered.
        The body is cancelled if the client hangs up before.
    """
    cancel_with(request, body)
    body.addCallback(send_body, request)
    return body.addErrback(respond_failure, request)


def send_body(result: Any, request: Any) -> None:
    """Send the body that a handler returned, unless it has responded itself."""
    if result is NOT_DONE_YET or request._disconnected or request.finished:
        return
    request.write(result)
    request.finish()
