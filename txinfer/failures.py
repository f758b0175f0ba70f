"""What a TensorFlow error means to a caller, and to an operator.

TensorFlow's texts hold paths of its sources and bytes of the client, so a
caller is told only the code. Known by its attributes: this imports nothing.
"""

from __future__ import annotations

import re

from .errors import InferenceError, InputRefused, ModelFailed
from .transfer import Failed

#: Names by number, from 0: https://github.com/googleapis/googleapis
#: ``google/rpc/code.proto``, whose numbers ``tf.errors`` has too.
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)

#: By these the model says that the values are at fault.
REFUSALS = frozenset(("INVALID_ARGUMENT", "OUT_OF_RANGE"))

#: By these TensorFlow says that it may go well another time.
PASSING = frozenset(("RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"))

#: How TensorFlow's importers name an op that is not linked in.
UNKNOWN_OP = re.compile(r"(?:Op type not registered|No op named|unknown op:?) '?(\w+)")

#: What TensorFlow may say before it says what is wrong.
HEADING = re.compile(r"|Graph execution error:|Detected at node .*")

#: A TensorFlow error says first what is wrong, then where, at any length.
LONGEST_REASON = 300


class Unserved(Exception):
    """Why a signature, or a way to load, cannot be used, in words."""


def refuse_python(op: str | None) -> None:
    """Raise Unserved if a signature calls Python by an op."""
    if op is not None:
        raise Unserved(f"it calls a Python function ({op}), which no SavedModel holds")


def may_pass(error: BaseException | None) -> bool:
    """Whether loading failed for a reason that may be gone later, whatever the files:
    what came over a network did not, memory or disk was full, a right was missing.
    """
    while error is not None:
        if isinstance(error, (Failed, MemoryError, OSError)):
            return True
        if _code(error) in PASSING:
            return True
        error = error.__cause__
    return False


def _code(error: BaseException) -> str | None:
    """The name of a TensorFlow error's code; None if it has none."""
    number = getattr(error, "error_code", None)
    if not isinstance(number, int):
        return None
    return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


def as_failure(error: Exception) -> InferenceError:
    """The public error for what a run raised.

    A kernel that quotes the client's bytes makes TensorFlow fail to decode its
    own error text (``UnicodeDecodeError``): that kernel refused a value.
    """
    if isinstance(error, UnicodeDecodeError):
        return InputRefused("INVALID_ARGUMENT")
    code = _code(error)
    if code is None:
        return ModelFailed()
    return InputRefused(code) if code in REFUSALS else ModelFailed(code)


def reason(error: Exception) -> str:
    """What an error of loading says is wrong, in one short line."""
    text = str(error).strip()
    if isinstance(error, Unserved):
        return text
    unknown = UNKNOWN_OP.search(text)
    if unknown:
        return f"it needs the op {unknown[1]}, which this TensorFlow does not have"
    lines = (line.strip() for line in text.splitlines())
    line = next((line for line in lines if not HEADING.fullmatch(line)), "")
    return f"{type(error).__name__}: {line[:LONGEST_REASON]}"
