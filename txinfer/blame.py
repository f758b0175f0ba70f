"""What a caller is told of what a model raised; the rest is for the log."""

from __future__ import annotations

from twisted.python.failure import Failure

from .errors import InferenceError, InputRefused, ModelFailed
from .quota import LogQuota


def blame(failure: Failure, log: LogQuota) -> InferenceError:
    """The error a caller sees for a failed run of its call alone."""
    error = failure.value
    if isinstance(error, InputRefused):
        cause = error.__cause__
        words = getattr(cause, "message", None) or repr(cause)
        log.info("{error}: {words}", error=error, words=words)
        return error
    log.failure("A model failed", failure)
    if isinstance(error, InferenceError):
        return error
    blamed = ModelFailed()
    blamed.__cause__ = error
    return blamed
