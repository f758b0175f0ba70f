"""TensorFlow's errors, told to a caller and to an operator."""

from __future__ import annotations

import pytest
import tensorflow as tf

from txinfer.errors import InputRefused, InvalidModel, ModelFailed
from txinfer.failures import CODES, Unserved, as_failure, may_pass, reason
from txinfer.transfer import Failed, TooMuch

SECRET = "client bytes; at /usr/lib/model.py"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (tf.errors.InvalidArgumentError, InputRefused, "INVALID_ARGUMENT"),
        (tf.errors.OutOfRangeError, InputRefused, "OUT_OF_RANGE"),
        (tf.errors.ResourceExhaustedError, ModelFailed, "RESOURCE_EXHAUSTED"),
        (tf.errors.FailedPreconditionError, ModelFailed, "FAILED_PRECONDITION"),
        (tf.errors.DataLossError, ModelFailed, "DATA_LOSS"),
    ],
)
def test_only_the_code_is_told(error: type, kind: type, code: str) -> None:
    failure = as_failure(error(None, None, SECRET))
    assert type(failure) is kind
    assert f"({code})" in str(failure)
    assert "client" not in str(failure)


def test_bytes_in_an_error_text_are_a_bad_input() -> None:
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, SECRET)
    assert str(as_failure(error)) == str(InputRefused("INVALID_ARGUMENT"))


@pytest.mark.parametrize("error", [TypeError(SECRET), ValueError(SECRET)])
def test_any_other_error_is_the_model_s(error: Exception) -> None:
    assert str(as_failure(error)) == str(ModelFailed("INTERNAL"))


def test_a_code_of_tomorrow_is_unknown() -> None:
    error = tf.errors.OpError(None, None, SECRET, 99)
    assert str(as_failure(error)) == str(ModelFailed("UNKNOWN"))


def test_the_codes_are_tensorflow_s() -> None:
    for number, name in enumerate(CODES):
        assert getattr(tf.errors, name) == number


def test_a_reason_is_one_short_line() -> None:
    line = reason(ValueError("a\nb" + "c" * 9999))
    assert line == "ValueError: a"
    assert len(reason(ValueError("c" * 9999))) < 400
    assert reason(ValueError()) == "ValueError: "
    assert reason(Unserved("words of our own")) == "words of our own"


@pytest.mark.parametrize(
    "text",
    [
        "Op type not registered 'MyOp' in binary running on host.",
        "No op named MyOp in defined operations.",
    ],
)
def test_an_unknown_op_is_named(text: str) -> None:
    why = "it needs the op MyOp, which this TensorFlow does not have"
    assert reason(RuntimeError(text)) == why


def test_headings_are_no_reason() -> None:
    text = "Graph execution error:\n\nDetected at node 'a' defined at …\nbad magic"
    assert reason(ValueError(text)) == "ValueError: bad magic"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (Failed("the store is not there"), True),
        (OSError(28, "No space left on device"), True),
        (MemoryError(), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), True),
        (tf.errors.UnavailableError(None, None, "the device is gone"), True),
        (tf.errors.NotFoundError(None, None, "no checkpoint"), False),
        (tf.errors.InvalidArgumentError(None, None, "bad graph"), False),
        (TooMuch("it is too large"), False),
        (Unserved("it calls Python"), False),
        (ValueError("no protocol buffer"), False),
        (None, False),
    ],
)
def test_what_may_pass_is_told_from_what_does_not(
    error: Exception | None, passes: bool
) -> None:
    outer = InvalidModel("m: it cannot be loaded")
    outer.__cause__ = error
    assert may_pass(error) is passes
    assert may_pass(outer) is passes
