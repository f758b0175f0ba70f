"""Arrays to JSON: the body of an answer.

The shortest text of each float's own dtype, ``null`` for what JSON has no
number for, text for UTF-8 and ``{"b64": text}`` for other bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Any

import numpy as np
import orjson
import pybase64

from .forms import COLUMNS, Form
from .shortest import shortest
from .tensors import Array, Signature, Tensors, TensorSpec
from .values import dumps

# Lists of numbers that are written at a time.
LISTS = 1024

# Types that ``dumps`` takes as they are.
PLAIN = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64"),
}


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
    if form is COLUMNS:
        return dumps(_whole(signature, parts[0]))
    if not signature.by_rows:
        wholes = [_whole(signature, outputs) for outputs in parts]
        return dumps(wholes if form is Form.ROWS else wholes[0])
    if form is Form.ROW:
        return dumps(_row(_columns(signature, parts[0]), 0))
    examples: list[dict[str, Any]] = []
    for outputs in parts:
        columns = _columns(signature, outputs)
        count = rows if len(parts) == 1 else 1
        examples += (_row(columns, number) for number in range(count))
    return dumps(examples)


def weight(array: Array) -> int:
    """How many elements an array is as JSON: its values and the lists around them.

    A list of lists takes as long to write as eight values; there are few, unless
    dimensions of 1 make many.
    """
    if array.ndim < 2:
        size: int = array.size
        return size + array.ndim
    lists = list(accumulate(array.shape[:-1], mul, initial=1))
    return int(array.size + lists[-1] + 8 * sum(lists[:-1]))


def _whole(signature: Signature, outputs: Tensors) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    # Not by a comprehension, which is a function of its own: each call comes here.
    for name, spec in signature.outputs.items():
        whole[name] = _fragment(jsonable(spec, outputs[name]))
    return whole


def _row(columns: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: _fragment(column[number]) for name, column in columns.items()}


def _columns(signature: Signature, outputs: Tensors) -> dict[str, Any]:
    specs = signature.outputs.items()
    return {name: jsonable(spec, outputs[name]) for name, spec in specs}


def jsonable(spec: TensorSpec, array: Array) -> Any:
    """What ``dumps`` takes for an array: an array, a scalar, or nested lists."""
    if spec.type in PLAIN and array.ndim and array.flags.c_contiguous:
        return array
    if spec.type == "string":
        leaves = map(_text, array.flat)
        return np.fromiter(leaves, object, array.size).reshape(array.shape).tolist()
    if spec.type in ("float16", "bfloat16"):
        array = shortest(spec, array)
    return np.ascontiguousarray(array) if array.shape else array[()]


def _fragment(value: Any) -> Any:
    """A jsonable value, written already if it is an array of many lists."""
    if type(value) is np.ndarray and value.ndim > 1:
        lists = prod(value.shape[:-1])
        if lists > LISTS:
            return orjson.Fragment(_in_pieces(value, lists))
    return value


def _in_pieces(array: Array, lists: int) -> bytes:
    """The JSON of an array of many lists, some of them at a time.

    orjson makes an object of a hundred bytes of each list before it writes the
    first; for [1000000, 1] that took twice the time, and 100 MB.
    """
    rows = len(array)
    if rows == 1 or lists <= LISTS:
        if array.ndim < 3 or lists <= LISTS:
            return dumps(array)
        return b"[%s]" % _in_pieces(array[0], lists)
    step = max(rows * LISTS // lists, 1)
    parts = [array[start : start + step] for start in range(0, rows, step)]
    texts = [_in_pieces(part, lists * len(part) // rows) for part in parts]
    return b"[%s]" % b",".join([text[1:-1] for text in texts])


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": pybase64.b64encode_as_string(value)}
