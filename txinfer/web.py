"""What all wire dialects share: the router, error replies, CORS, the root."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from .errors import InferenceError, TooLarge, Unauthorized, UnsupportedMediaType
from .guard import Guard
from .values import dumps

log = Logger()

# The Fetch standard, "CORS protocol": for requests without credentials * stands
# for every origin and header, but for Authorization, which must be named.
CORS_HEADERS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Expose-Headers", b"*"),
)
PREFLIGHT_HEADERS = (
    (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"*, Authorization"),
    # Seconds; no browser keeps a preflight longer than a day.
    (b"Access-Control-Max-Age", b"86400"),
)

# What curl and HTML forms say when nobody tells them what they send.
JSON_TYPES = {
    b"",
    b"application/json",
    b"text/json",
    b"application/x-www-form-urlencoded",
}


def reply(request: IRequest, value: object, status: int = 200) -> bytes:
    """Set the head of a JSON answer and return its body."""
    body = dumps(value)
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def reply_error(request: IRequest, status: int, text: str) -> bytes:
    """Answer with an error; its text is the client's to see."""
    return reply(request, {"error": text}, status)


def reply_inference_error(request: IRequest, error: InferenceError) -> bytes:
    """Answer with an error and the headers that belong to it."""
    for name, value in error_headers(error):
        request.setHeader(name, value)
    return reply_error(request, error.status, str(error))


def error_headers(error: InferenceError) -> list[tuple[bytes, bytes]]:
    """What an error's answer says in its head besides the status."""
    if isinstance(error, Unauthorized):
        # Who has sent no key is not told that it was wrong (RFC 6750, section 3.1).
        wrong = b', error="invalid_token"' if error.given else b""
        return [(b"WWW-Authenticate", b'Bearer realm="txinfer"' + wrong)]
    if error.retry_after is not None:
        return [(b"Retry-After", b"%d" % error.retry_after)]
    return []


def json_body(request: IRequest, limit: int) -> bytes:
    """The body of a request that says it holds JSON, or says nothing.

    Raises:
        TooLarge: it has more than ``limit`` bytes (under a site of our own the
            channel has refused it before).
        UnsupportedMediaType: it says it holds something else.
    """
    media_type = (request.getHeader(b"Content-Type") or b"").split(b";")[0]
    media_type = media_type.strip().lower()
    if media_type not in JSON_TYPES and not media_type.endswith(b"+json"):
        raise UnsupportedMediaType("the request body must be application/json")
    body: bytes = request.content.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(limit)
    return body


def new_router() -> Klein:
    """A Klein router that answers every failure in JSON."""
    router: Any = Klein()
    # Otherwise //x is redirected to /x, and POST bodies are lost on the way.
    router.url_map.merge_slashes = False
    router.handle_errors(InferenceError)(_inference_error)
    router.handle_errors(HTTPException)(_routing_error)
    router.handle_errors(Exception)(_bug)
    return router  # type: ignore[no-any-return]


def _inference_error(request: IRequest, failure: Failure) -> bytes:
    error = failure.value
    assert isinstance(error, InferenceError)
    return reply_inference_error(request, error)


def _routing_error(request: IRequest, failure: Failure) -> bytes:
    """No rule for the path (404) or the verb (405, with ``Allow``)."""
    error = failure.value
    assert isinstance(error, HTTPException)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location"):
            request.setHeader(name.encode(), value.encode())
    return reply_error(request, error.code or 500, (error.name or "error").lower())


def _bug(request: IRequest, failure: Failure) -> bytes:
    log.failure("A request failed", failure)
    return reply_error(request, 500, "internal error")


class ErrorResource(Resource):
    """Answers every request, whatever its path below here, with one error."""

    isLeaf = True

    def __init__(self, status: int, text: str) -> None:
        super().__init__()
        self.status = status
        self.text = text

    def render(self, request: IRequest) -> bytes:
        """Answer any verb."""
        return reply_error(request, self.status, self.text)


class Refused(Resource):
    """Answers every request with what a call could have failed with."""

    isLeaf = True

    def __init__(self, error: InferenceError) -> None:
        super().__init__()
        self.error = error

    def render(self, request: IRequest) -> bytes:
        """Answer any verb."""
        return reply_inference_error(request, self.error)


class Root(Resource):
    """The API, folders beside it, and what applies to all of them.

    Args:
        api: answers every path that is not one of the folders.
        headers: set on every answer, as (name, value).
        preflight: set on answers to CORS preflight requests besides; none are
            answered if it is empty.
        guard: who is let in; None lets everybody in.
    """

    def __init__(
        self,
        api: IResource,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        preflight: tuple[tuple[bytes, bytes], ...] = (),
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self._api = api
        self._guard = guard
        self._headers = headers
        self._preflight = preflight

    def getChildWithDefault(self, path: bytes, request: IRequest) -> IResource:
        """The folder of that name, or the API with the path given back to it."""
        for name, value in self._headers:
            request.setHeader(name, value)
        if self._is_preflight(request):
            return _Preflight(self._preflight)
        refusal = self._guard and self._guard.admit(request, path)
        if refusal:
            return Refused(refusal)
        if path in self.children:
            child: IResource = self.children[path]
            return child
        request.postpath.insert(0, request.prepath.pop())
        # Klein would answer these two in plain text, or not at all.
        if not is_utf8(request.postpath):
            return ErrorResource(400, "the URL's path is not UTF-8")
        if not _is_host(request.getRequestHostname()):
            return ErrorResource(400, "the Host header is not a host's name")
        return self._api

    def render(self, request: IRequest) -> bytes | int:
        """Mounted somewhere and asked for by its bare name: the API's root."""
        # The API takes one segment back, so there has to be one.
        request.prepath.append(b"")
        answer: bytes | int = self.getChildWithDefault(b"", request).render(request)
        return answer

    def _is_preflight(self, request: IRequest) -> bool:
        return (
            bool(self._preflight)
            and request.method == b"OPTIONS"
            and request.getHeader(b"Access-Control-Request-Method") is not None
        )


class _Preflight(Resource):
    isLeaf = True

    def __init__(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        super().__init__()
        self._headers = headers

    def render(self, request: IRequest) -> bytes:
        request.setResponseCode(204)
        for name, value in self._headers:
            request.setHeader(name, value)
        return b""


def is_utf8(segments: list[bytes]) -> bool:
    """Whether the segments of a path are text."""
    try:
        b"/".join(segments).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_host(name: bytes) -> bool:
    try:
        name.decode().encode("idna")
    except UnicodeError:
        return False
    return True
