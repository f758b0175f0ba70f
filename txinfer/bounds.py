"""What the tensors of one request may hold, however they came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import InputTooLarge
from .images import BEGINNINGS, announced
from .limits import CallLimits
from .tensors import Array, Signature, Tensors


def check_calls(
    signature: Signature, calls: Sequence[Tensors], limits: CallLimits
) -> None:
    """See whether the calls of a request are within its limits.

    Args:
        signature: the method's.
        calls: the tensors of each, complete.
        limits: how many rows, bytes, and pixels in each image there may be.

    Raises:
        InputTooLarge: naming the input; the index begins with the call's number.
    """
    size = 0
    for number, tensors in enumerate(calls):
        for name, array in tensors.items():
            if signature.by_rows and len(array) > limits.request_rows:
                why = f"more than {limits.request_rows} rows in one request"
                raise InputTooLarge(why, name, (number,))
            size += array.nbytes
            has_strings = array.dtype.hasobject
            if has_strings:
                size += sum(map(len, array.flat))
            if size > limits.tensor_size:
                why = f"more than {limits.tensor_size} bytes of tensors in one request"
                raise InputTooLarge(why, name, (number,))
            if has_strings:
                _check_images(name, array, number, limits.image_pixels)


def _check_images(name: str, array: Array, number: int, most: int) -> None:
    values = array.ravel().tolist()
    # Most strings are words. Not to call anything for each takes half the time.
    likely = [n for n, value in enumerate(values) if value[:2] in BEGINNINGS]
    for position in likely:
        if announced(values[position]) > most:
            index = np.unravel_index(position, array.shape) if array.shape else ()
            why = f"an image of more than {most} pixels, or too long a header"
            raise InputTooLarge(why, name, (number, *map(int, index)))
