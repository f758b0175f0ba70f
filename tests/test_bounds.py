from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.arrays import spec
from txinfer.bounds import check_calls
from txinfer.errors import InputTooLarge
from txinfer.limits import CallLimits
from txinfer.madeup import png
from txinfer.tensors import Signature, Tensors

NUMBERS = Signature(
    {"x": spec("float64", (None, None)), "z": spec("int8", (None,))},
    {"y": spec("float32", (None,))},
)
STRINGS = Signature(
    {"x": spec("string", (None, None))}, {"y": spec("float32", (None,))}
)
ONE_STRING = Signature({"x": spec("string", ())}, {"y": spec("float32", ())})


def numbers(rows: int) -> Tensors:
    """Seventeen bytes a row."""
    return {"x": np.zeros((rows, 2)), "z": np.zeros(rows, np.int8)}


def strings(*values: bytes) -> Tensors:
    return {"x": np.array([values], object)}


def refusal(signature: Signature, calls: list[Tensors], **limits: Any) -> InputTooLarge:
    with pytest.raises(InputTooLarge) as caught:
        check_calls(signature, calls, CallLimits(**limits))
    assert caught.value.status == 413
    return caught.value


def test_a_call_has_as_many_rows_as_the_limit_and_no_more() -> None:
    check_calls(NUMBERS, [numbers(5)], CallLimits(request_rows=5))
    error = refusal(NUMBERS, [numbers(6)], request_rows=5)
    assert (error.why, error.input) == ("more than 5 rows in one request", "x")


def test_without_rows_there_is_no_limit_to_dimension_0() -> None:
    whole = Signature({"x": spec("float32", None)}, {"y": spec("float32", None)})
    for shape in ((), (9,), (9, 2)):
        check_calls(whole, [{"x": np.zeros(shape)}], CallLimits(request_rows=1))


def test_tensors_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    check_calls(NUMBERS, [numbers(5)], CallLimits(tensor_size=85))
    error = refusal(NUMBERS, [numbers(5)], tensor_size=84)
    assert str(error) == ("input 'z'[0]: more than 84 bytes of tensors in one request")


def test_strings_are_counted_with_their_bytes() -> None:
    for calls in ([strings(b"abc", b"d")], [strings(b"abcd"), strings(b"")]):
        check_calls(STRINGS, calls, CallLimits(tensor_size=20))
        refusal(STRINGS, calls, tensor_size=19)


def test_calls_of_one_request_are_counted_together() -> None:
    check_calls(NUMBERS, [numbers(1)] * 3, CallLimits(tensor_size=51))
    error = refusal(NUMBERS, [numbers(1)] * 4, tensor_size=51)
    assert (error.input, error.index) == ("x", (3,))


def test_an_image_has_as_many_pixels_as_the_limit_and_no_more() -> None:
    check_calls(STRINGS, [strings(b"", png(4, 0))], CallLimits(image_pixels=16))
    error = refusal(STRINGS, [strings(b"", png(4, 0))], image_pixels=15)
    assert str(error) == (
        "input 'x'[0][0][1]: an image of more than 15 pixels, or too long a header"
    )
    one: Tensors = {"x": np.array(png(4, 0), object)}
    check_calls(ONE_STRING, [one], CallLimits(image_pixels=16))
    assert refusal(ONE_STRING, [one], image_pixels=15).index == (0,)


def test_each_image_has_a_limit_of_its_own() -> None:
    check_calls(STRINGS, [strings(*[png(4, 0)] * 9)], CallLimits(image_pixels=16))
