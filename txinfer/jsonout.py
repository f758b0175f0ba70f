"""Arrays to JSON: the body of an answer.

The shortest text of each float's own dtype, ``null`` for what JSON has no
number for, text for UTF-8 and ``{"b64": text}`` for other bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .forms import Form
from .tensors import Array, Signature, Tensors, TensorSpec
from .values import dumps


def write(
    signature: Signature, parts: Sequence[Tensors], form: Form, rows: int = 1
) -> bytes:
    """The JSON of an answer in the form of its call.

    Args:
        signature: whose outputs they are.
        parts: the outputs of each call. Unless the form is columns, those of a
            signature with rows have all the same rows in each output.
        form: how the call came.
        rows: how many examples there were.
    """
    if form is Form.COLUMNS or not (form is Form.ROWS or signature.by_rows):
        return dumps(_columns(signature, parts[0]))
    if form is Form.ROW:
        columns = _columns(signature, parts[0])
        return dumps({name: column[0] for name, column in columns.items()})
    if not signature.by_rows:
        return dumps([_columns(signature, outputs) for outputs in parts])
    examples: list[dict[str, Any]] = []
    for outputs in parts:
        columns = _columns(signature, outputs)
        examples += (
            {name: column[number] for name, column in columns.items()}
            for number in range(rows if len(parts) == 1 else 1)
        )
    return dumps(examples)


def _columns(signature: Signature, outputs: Tensors) -> dict[str, Any]:
    specs = signature.outputs.items()
    return {name: jsonable(spec, outputs[name]) for name, spec in specs}


def jsonable(spec: TensorSpec, array: Array) -> Any:
    """What ``dumps`` takes for an array: an array, a scalar, or nested lists."""
    if spec.type == "string":
        leaves = map(_text, array.flat)
        return np.fromiter(leaves, object, array.size).reshape(array.shape).tolist()
    if spec.type in ("float16", "bfloat16"):
        bits = np.ascontiguousarray(array).view(np.uint16).ravel().tolist()
        doubles = (_shortest(pattern, array.dtype) for pattern in bits)
        with np.errstate(over="ignore"):
            flat = np.fromiter(doubles, np.float64, array.size)
        array = flat.reshape(array.shape)
    return np.ascontiguousarray(array) if array.shape else array[()]


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


@lru_cache(maxsize=2 * 65536)
def _shortest(bits: int, dtype: np.dtype[Any]) -> float:
    """The double that prints as the shortest decimal for a 16-bit float.

    A double prints as the shortest decimal that is read back as itself; this
    one is the decimal with the fewest digits that rounds to ``value``: 0.1
    rather than 0.0999755859375 for float16. Five significant digits always do
    (IEEE 754-2019, 5.12.2: 1 + ceil(11 * log10(2))).
    """
    value = np.array(bits, np.uint16).view(dtype)[()]
    exact = float(value)
    for digits in range(1, 5):
        rounded = float(f"{exact:.{digits}g}")
        if dtype.type(rounded) == value:
            return rounded
    return float(f"{exact:.5g}")
