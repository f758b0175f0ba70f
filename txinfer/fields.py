"""The parts of a form to the columns of a method: one part a row, in order.

A part's bytes are what its input takes: for strings the bytes themselves, for
numbers JSON. A part that says it is JSON or an ``.npy`` file is read as that, and
may then also be a whole column, if it is the only one of its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from .casts import cast, check_room
from .collecting import no_collecting
from .counting import check_depth, check_elements
from .errors import InvalidBody, InvalidInput, TooManyElements
from .inputs import check_names
from .limits import CallLimits
from .multipart import Part
from .npy import NPY, read_npy
from .refusals import UnsupportedMediaType
from .tensors import Array, Shape, Signature, TensorSpec
from .values import depth, loads, parse

JSON = "application/json"

# Those whose bytes are the same in UTF-8, in which models expect text.
UTF_8 = {"", "utf-8", "utf8", "us-ascii", "ascii"}


def columns_of(
    signature: Signature, parts: Sequence[Part], limits: CallLimits
) -> Mapping[str, object]:
    """The values of a form's parts, by input.

    Args:
        signature: of the method that is called.
        parts: all of them, in order.
        limits: how much their JSON may hold, and an array.

    Returns:
        For numbers an array, for strings a list (or a single value, where an
        input has no dimension for a list), as
        :func:`~txinfer.inputs.conform_inputs` takes them.

    Raises:
        InvalidInput: naming the input, and which of its parts.
        TooLarge: an array is larger than a body may be.
        TooManyElements: their JSON has more values and names than are read.
    """
    named: dict[str, list[Part]] = {}
    for part in parts:
        named.setdefault(part.name, []).append(part)
    check_names(signature, named)
    _check_json(signature, parts, limits)
    with no_collecting:
        return {
            name: (_texts if spec.type == "string" else _numbers)(
                name, spec, named[name], limits
            )
            for name, spec in signature.inputs.items()
        }


def _check_json(
    signature: Signature, parts: Sequence[Part], limits: CallLimits
) -> None:
    """Raise TooManyElements or InvalidBody for what is too much to be parsed."""
    json = [
        part.data
        for part in parts
        if _is_json(part.type)
        or (signature.inputs[part.name].type != "string" and part.type != NPY.decode())
    ]
    if check_elements(limits, *json):
        raise TooManyElements(limits.json_elements)
    for data in json:
        check_depth(data, limits)


def alone(value: object, shape: Shape | None) -> object:
    """A value in as many lists as dimensions take just one: ``[["a"]]`` for [-1, 1]."""
    for size in reversed(shape or ()):
        if size not in (None, 1):
            break
        value = [value]
    return value


def check_charset(media_type: str, charset: str) -> None:
    """Raise UnsupportedMediaType for text that is not in UTF-8."""
    if media_type.startswith("text/") and charset not in UTF_8:
        raise UnsupportedMediaType("text must be in UTF-8")


def _texts(
    name: str, spec: TensorSpec, parts: Sequence[Part], limits: CallLimits
) -> object:
    """The values of an input of strings."""
    values = [_text(name, number, part) for number, part in enumerate(parts)]
    if _is_whole(spec, [depth(value) for value in values]):
        return values[0]
    row = spec.shape and spec.shape[1:]
    return [value if depth(value) else alone(value, row) for value in values]


def _text(name: str, number: int, part: Part) -> object:
    check_charset(part.type, part.charset)
    if part.type == NPY.decode():
        raise InvalidInput("expected strings, got an array", name, (number,))
    return _json(name, number, part) if _is_json(part.type) else part.data


def _numbers(
    name: str, spec: TensorSpec, parts: Sequence[Part], limits: CallLimits
) -> object:
    """The values of an input of numbers or booleans, as an array."""
    values = [
        _array(name, number, part, limits.request_size)
        if part.type == NPY.decode()
        else _json(name, number, part)
        for number, part in enumerate(parts)
    ]
    elements = sum(v.size for v in values if isinstance(v, np.ndarray))
    check_room(name, spec, elements, limits.tensor_size)
    ranks = [v.ndim if isinstance(v, np.ndarray) else depth(v) for v in values]
    if _is_whole(spec, ranks):
        return _fitted(name, spec, values[0])
    row = attrs.evolve(spec, shape=spec.shape and spec.shape[1:])
    rows = [_row(name, row, number, value) for number, value in enumerate(values)]
    for number, array in enumerate(rows):
        if array.shape != rows[0].shape:
            why = "not as long as its neighbours (ragged)"
            raise InvalidInput(why, name, (number,))
    return np.stack(rows)


def _row(name: str, spec: TensorSpec, number: int, value: object) -> Array:
    try:
        return _fitted(name, spec, value)
    except InvalidInput as error:
        raise InvalidInput(error.why, name, (number, *error.index)) from None


def _fitted(name: str, spec: TensorSpec, value: object) -> Array:
    if isinstance(value, np.ndarray):
        return cast(name, spec, value)
    return parse(name, spec, value if depth(value) else alone(value, spec.shape)).array


def _is_whole(spec: TensorSpec, ranks: Sequence[int]) -> bool:
    """Whether an input's parts, of these ranks, are one that is the whole input."""
    if len(ranks) != 1:
        return False
    return spec.shape is None or ranks[0] == len(spec.shape)


def _is_json(media_type: str) -> bool:
    return media_type in (JSON, "text/json") or media_type.endswith("+json")


def _json(name: str, number: int, part: Part) -> object:
    try:
        return loads(part.data)
    except InvalidBody:
        raise InvalidInput("not JSON", name, (number,)) from None


def _array(name: str, number: int, part: Part, limit: int) -> Array:
    try:
        return read_npy(part.data, limit)
    except InvalidBody as error:
        raise InvalidInput(str(error), name, (number,)) from None
