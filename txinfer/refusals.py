"""Why a request is turned away that is no call yet: by its head, size or form.

As of all errors, the texts are made to be shown to a client.
"""

from __future__ import annotations

from .errors import InferenceError


class InvalidHeader(InferenceError):
    """A header of the request makes no sense.

    Args:
        name: of the header.
        rule: what it must be.
    """

    status = 400

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(f"{name} must be {rule}")


class TooLarge(InferenceError):
    """The request is larger than the server takes.

    Args:
        limit: the largest body taken, in bytes.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is larger than {limit} bytes")


class TooManyParts(InferenceError):
    """A multipart body has more parts than the server takes.

    Args:
        limit: how many it may have.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body has more than {limit} parts")


class Unauthorized(InferenceError):
    """The request has no API key, or one that is not known.

    Args:
        given: whether there was a key, or something in its place.
    """

    status = 401

    def __init__(self, given: bool) -> None:
        super().__init__(
            "the API key is not known" if given else "an API key is needed"
        )
        self.given = given


class RateLimited(InferenceError):
    """The client asks more often than it may.

    Args:
        retry_after: whole seconds until its next request is taken.
    """

    status = 429

    def __init__(self, retry_after: int) -> None:
        super().__init__("more requests than this client may make")
        self.retry_after = retry_after


class UnsupportedMediaType(InferenceError):
    """The request body is in a form the server does not read."""

    status = 415


class UnsupportedCoding(UnsupportedMediaType):
    """The request body is compressed in a way that the server does not undo.

    Args:
        known: the codings that it does undo, as an Accept-Encoding header.
    """

    def __init__(self, known: str) -> None:
        super().__init__(f"the body may have one Content-Encoding of: {known}")
        self.known = known


class NotAcceptable(InferenceError):
    """The answer cannot be written in the form that the client asks for."""

    status = 406
