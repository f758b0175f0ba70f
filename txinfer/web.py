"""What all wire dialects share: the router, error replies, CORS, the root."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from .accept import prefers_gzip
from .codings import packed, unpacked
from .elsewhere import Elsewhere
from .errors import InferenceError
from .guard import Guard
from .headers import request_id
from .observe import NOBODY, IObserver
from .refusals import TooLarge
from .routing import Shortcuts, header_lines, respond_error
from .values import dumps

# The Fetch standard, "CORS protocol": for requests without credentials * stands
# for every origin and header, but for Authorization, which must be named.
CORS_HEADERS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Expose-Headers", b"*"),
    # Server-Timing is not a page's to read otherwise.
    (b"Timing-Allow-Origin", b"*"),
)
PREFLIGHT_HEADERS = (
    (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"*, Authorization"),
    # Seconds; no browser keeps a preflight longer than a day.
    (b"Access-Control-Max-Age", b"86400"),
)


def reply(request: IRequest, value: object, status: int = 200) -> bytes:
    """Set the head of a JSON answer and return its body."""
    return reply_bytes(request, dumps(value), b"application/json", status)


def reply_bytes(
    request: IRequest, body: bytes, kind: bytes, status: int = 200
) -> bytes:
    """Set the head of an answer of a media type and return its body."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def reply_error(request: IRequest, status: int, text: str) -> bytes:
    """Answer with an error; its text is the client's to see."""
    return reply(request, {"error": text}, status)


async def reply_packed(request: IRequest, body: bytes, clock: IReactorTime) -> bytes:
    """Turn an answer whose head is set into gzip, if the client wants that.

    Returns:
        The body to be sent. The reactor turns while a large one is made.
    """
    headers = request.responseHeaders
    accepted = request.getHeader(b"Accept-Encoding")
    # A site around this one may be compressing already.
    if accepted is None or headers.hasHeader(b"Content-Encoding"):
        return body
    headers.addRawHeader(b"Vary", b"Accept-Encoding")
    if not prefers_gzip(accepted):
        return body
    small = await packed(body, clock)
    headers.setRawHeaders(b"Content-Encoding", [b"gzip"])
    headers.setRawHeaders(b"Content-Length", [b"%d" % len(small)])
    return small


def media_type(request: IRequest) -> bytes:
    """What a request says its body is, in lower case, without parameters."""
    header: bytes = request.getHeader(b"Content-Type") or b""
    return header.partition(b";")[0].strip().lower()


def read_body(request: IRequest, limit: int) -> bytes:
    """The body of a request, without its Content-Encoding.

    Raises:
        TooLarge: it has more than ``limit`` bytes, or comes to have (under a
            site of our own the channel has refused the first before).
        InvalidBody: it is not in the coding that it says it is in.
        UnsupportedCoding: that coding is not known, or there are several.
    """
    body: bytes = request.content.read(limit + 1)
    if len(body) > limit:
        raise TooLarge(limit)
    if request.getHeader(b"Content-Encoding") is None:
        return body
    codings = request.requestHeaders.getRawHeaders(b"Content-Encoding", [])
    return unpacked(body, b",".join(codings), limit)


def new_router() -> Klein:
    """A Klein router whose paths mean what they say."""
    router: Any = Klein()
    # Otherwise //x is redirected to /x, and POST bodies are lost on the way.
    router.url_map.merge_slashes = False
    return router  # type: ignore[no-any-return]


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

    def render(self, request: IRequest) -> int:
        """Answer any verb."""
        return respond_error(request, self.error)


def _never_full(announced: int) -> InferenceError | None:
    return None


def _not_due(request: IRequest) -> float | None:
    return None


class Root(Resource):
    """The API, folders beside it, and what applies to all of them.

    Args:
        api: answers every path that is not one of the folders.
        headers: set on every answer, as (name, value).
        preflight: set on answers to CORS preflight requests besides; none are
            answered if it is empty.
        guard: who is let in; None lets everybody in.
        full: why not to read a body of so many bytes; None to read it.
        private: first segments of paths that are not for scripts of other origins:
            they get neither the headers nor preflights.
        observer: is told of every answer.
        due: when the answer to a request has to be there whose head is read.
    """

    def __init__(
        self,
        api: IResource,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        preflight: tuple[tuple[bytes, bytes], ...] = (),
        guard: Guard | None = None,
        full: Callable[[int], InferenceError | None] = _never_full,
        private: Container[bytes] = (),
        observer: IObserver = NOBODY,
        due: Callable[[IRequest], float | None] = _not_due,
    ) -> None:
        super().__init__()
        self.due = due
        self.observer = observer
        self.elsewhere = Elsewhere(observer)
        self._api = api
        self._private = private
        self._full = full
        self._guard = guard
        self._headers = headers
        self._preflight = preflight
        self.head = b"".join(b"%s: %s\r\n" % pair for pair in headers)
        self.shortcuts: Shortcuts = getattr(api, "shortcuts", {})

    def gate(self, request: Any, announced: int) -> tuple[int, str, bytes] | None:
        """Why not to read the body of a request at the site's root.

        Returns:
            None to read it; otherwise a status, a text and header lines.
        """
        error = None
        if self._guard is not None:
            segment = request.path[1:].partition(b"/")[0]
            if not self._is_preflight(request, segment):
                error = self._guard.admit(request, segment)
        error = error or self._full(announced)
        if error is None:
            return None
        return error.status, str(error), header_lines(error)

    def getChildWithDefault(self, path: bytes, request: IRequest) -> IResource:
        """The folder of that name, or the API with the path given back to it."""
        self.elsewhere.follow(request)
        is_ours = hasattr(request, "respond")
        for name, value in self._headers:
            if path not in self._private:
                request.setHeader(name, value)
            elif is_ours:
                # The site has them on every answer.
                request.responseHeaders.removeHeader(name)
        if not is_ours:
            # Our own site names all requests itself.
            request.setHeader(b"X-Request-Id", request_id(request))
        if self._is_preflight(request, path):
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

    def _is_preflight(self, request: IRequest, segment: bytes) -> bool:
        return (
            bool(self._preflight)
            and segment not in self._private
            and request.method == b"OPTIONS"
            and request.getHeader(b"Access-Control-Request-Method") is not None
        )


class _Preflight(Resource):
    isLeaf = True

    def __init__(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        super().__init__()
        self._headers = headers

    def render(self, request: IRequest) -> int:
        request.setResponseCode(204)
        for name, value in self._headers:
            request.setHeader(name, value)
        # A returned body would get a length, which a 204 must not have (RFC 9110,
        # section 8.6).
        request.finish()
        return NOT_DONE_YET


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
