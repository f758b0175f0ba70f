"""Every way a call can fail, by whose fault it is.

The text of each error is made to be shown to a client: it names inputs,
indices and rules, and never holds payload, paths or a model's own text.
What is fit only for an operator travels as the exception's ``__cause__``.
"""

from __future__ import annotations

from typing import Literal


class InferenceError(Exception):
    """A call that was not answered; the base of all below.

    ``status`` is the HTTP status that says the same (RFC 9110, section 15);
    ``retry_after`` the whole seconds after which it is worth asking again, if
    that is known.
    """

    status = 500
    retry_after: int | None = None


class InvalidInput(InferenceError):
    """The caller's tensors do not fit the signature.

    Args:
        why: the rule that was broken, in words.
        input: the name of the input that broke it, or None for the call.
        index: where inside that input, one number a dimension.
    """

    status = 400

    def __init__(
        self, why: str, input: str | None = None, index: tuple[int, ...] = ()
    ) -> None:
        place = "".join(f"[{i}]" for i in index)
        where = "" if input is None else f"input {clip(input)}{place}: "
        super().__init__(f"{where}{why}")
        self.why = why
        self.input = input
        self.index = index

    def at(self, index: tuple[int, ...]) -> InvalidInput:
        """The same error at another place in the input."""
        return type(self)(self.why, self.input, index)


class InputTooLarge(InvalidInput):
    """The caller's tensors fit the signature, but not a limit."""

    status = 413


class InvalidBody(InferenceError):
    """The request body is not in the form it says it is."""

    status = 400


class NotJSON(InvalidBody):
    """The request body is not JSON.

    Args:
        why: what is wrong with it, and where.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"the body is not JSON: {why}")


class InputRefused(InferenceError):
    """The model itself refused the values it was given (a bad row).

    Args:
        code: the runtime's name for the reason, as ``INVALID_ARGUMENT``.
    """

    status = 400

    def __init__(self, code: str) -> None:
        super().__init__(f"the model refused this input ({code})")
        self.code = code


class Unknown(InferenceError):
    """Nothing of its ``kind`` has that name.

    Args:
        name: what was asked for.
        known: the names that exist.
    """

    status = 404
    kind = ""

    def __init__(self, name: str, known: list[str]) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"no {self.kind} {clip(name)}; known: {names}")


class UnknownMethod(Unknown):
    """No method has that name."""

    kind = "method"


class UnknownModel(Unknown):
    """No model has that name."""

    kind = "model"


class UnknownLabel(Unknown):
    """No version of the model has that label."""

    kind = "label"


class UnknownVersion(InferenceError):
    """The model has no such version, or it is not served.

    Args:
        version: what was asked for.
        known: the versions that are served; None if that is beside the point.
    """

    status = 404

    def __init__(self, version: str, known: list[int] | None = None) -> None:
        numbers = "" if known is None else ", ".join(map(str, known)) or "none"
        more = numbers and f"; known: {numbers}"
        super().__init__(f"no version {clip(version)}{more}")


class TooManyElements(InferenceError):
    """The request body holds more values and names than the server reads.

    Args:
        limit: the most that it reads of such a body.
        kind: what such a body is, in words.
    """

    status = 413

    def __init__(self, limit: int, kind: str = "") -> None:
        super().__init__(f"the request body has more than {limit} JSON elements{kind}")


class AnswerTooLarge(InferenceError):
    """The call was answered with more than the server writes.

    Args:
        most: the largest answer, in words.
        output: the output that went past it.
    """

    status = 413

    def __init__(self, most: str, output: str) -> None:
        super().__init__(
            f"output {clip(output)}: the answer would have more than {most}"
        )


class CallTooLarge(InferenceError):
    """The call alone is more than the queue ever holds.

    Args:
        rows: the most rows that are queued.
        size: the most bytes of tensors that are queued.
    """

    status = 413

    def __init__(self, rows: int, size: int) -> None:
        super().__init__(f"a call may have at most {rows} rows and {size} bytes")


class BodiesTooLarge(InferenceError):
    """The URL inputs of a request lead to more than the server holds.

    Args:
        limit: the most that is held, in bytes.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the URLs lead to more than {limit} bytes")


class ModelFailed(InferenceError):
    """The model broke down on this call; nothing is known to be wrong with it.

    Args:
        code: the runtime's name for the reason, as ``INTERNAL``.
    """

    status = 500

    def __init__(self, code: str = "INTERNAL") -> None:
        super().__init__(f"the model failed ({code})")
        self.code = code


class RowsMissing(InferenceError):
    """Rows were asked for, but the method does not give one for each example."""

    status = 400

    def __init__(self) -> None:
        super().__init__(
            "the answer has not one row for each row put in; send columns instead"
        )


class Unavailable(InferenceError):
    """No calls are taken now: the model is still loading, or draining.

    Args:
        why: the reason, in words.
        retry_after: seconds after which it is worth asking again.
    """

    status = 503
    retry_after: int

    def __init__(self, why: str, retry_after: int = 1) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    """The queue is full, so the call was refused at once.

    Args:
        retry_after: seconds until the queue is expected to have drained.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the queue is full", retry_after)


class NoTime(Unavailable):
    """The call cannot be answered before its deadline, so it was refused.

    Args:
        retry_after: seconds until it is expected that it could be.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "the deadline would pass before the answer is there", retry_after
        )


class DeadlineExceeded(InferenceError):
    """The call's deadline passed before its answer was there."""

    status = 504

    def __init__(self) -> None:
        super().__init__("the deadline passed before the answer was there")


# The words of observe.Fetched for what is not done.
FetchOutcome = Literal["denied", "failed", "timeout", "too_large", "cancelled"]


class FetchFailed(Exception):
    """A URL input was denied or could not be fetched.

    Its text is for the log. A client is told only that the fetch failed, so
    that nobody can map a network by the answers.

    Args:
        why: what happened, in words.
        outcome: what observers are told.
        position: of the URL among those that were asked for together.
    """

    def __init__(
        self, why: str, outcome: FetchOutcome = "failed", position: int = 0
    ) -> None:
        super().__init__(why)
        self.outcome = outcome
        self.position = position


class InvalidModel(Exception):
    """A path that cannot be served; the text is one line naming it and why."""


def clip(text: str, size: int = 64) -> str:
    """Quote a client's word for an error text, at most ``size`` characters."""
    shown = text if len(text) <= size else text[: size - 1] + "…"
    return ascii(shown) if not shown.isprintable() else f"'{shown}'"
