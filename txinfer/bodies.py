"""What a request's body gives to a method, by its media type.

JSON has one of three forms (see :class:`Form`). An array is a whole input or one
row of it, as its rank says. A form has a part for each row of each input. Any
other body is one string. What comes as one row is answered by one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any

import attrs
from twisted.web.iweb import IRequest

from .casts import cast
from .errors import InvalidBody, UnsupportedMediaType
from .fields import alone, check_charset, columns_of
from .inputs import Inputs, check_names, conform_inputs, parse_inputs
from .limits import CallLimits
from .multipart import FORM, media_type_of, read_parts
from .npy import NPY, read_npy
from .npz import NPZ, read_npz
from .tensors import Array, Signature
from .values import depth, loads
from .web import media_type, read_body

Columns = Mapping[str, Any]

JSON = b"application/json"

# What says nothing, and what curl says for everything: -d means JSON mostly.
UNTOLD = {b"", b"application/x-www-form-urlencoded"}

JSON_TYPES = {JSON, b"text/json", *UNTOLD}


class Form(Enum):
    """The form of a call and of its answer."""

    COLUMNS = "columns"
    ROW = "row"
    ROWS = "rows"


@attrs.frozen
class Given:
    """What a request gives to a method.

    ``values`` are columns, or a list of examples: of one, if the form is ROW.
    ``parse`` makes arrays of columns of them.
    """

    form: Form
    values: Any
    parse: Callable[[Signature, Columns], Inputs] = conform_inputs


def given_by(
    request: IRequest, signature: Signature, limits: CallLimits, batch_transpose: bool
) -> Given:
    """Read a request's body.

    Args:
        request: whole.
        signature: of the method that is called.
        limits: what one call may hold.
        batch_transpose: a JSON object is always one example, never columns.

    Raises:
        TooLarge: the body is larger than it may be, or becomes so.
        UnsupportedMediaType: the method takes no body of that type.
        InvalidBody: the body is not of the type that it says it is of.
        InvalidInput: it does not fit the method's inputs.
    """
    body = read_body(request, limits.request_size)
    kind = media_type(request)
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        return given_by_json(body, kind, signature, batch_transpose)
    if kind == NPY:
        return given_by_array(body, signature, limits.request_size)
    if kind == NPZ:
        return given_by_arrays(body, signature, limits.request_size)
    header: bytes = request.getHeader(b"Content-Type")
    if kind == FORM:
        parts = read_parts(body, header, limits.multipart_parts)
        columns = columns_of(signature, parts, limits.request_size)
        return Given(Form.COLUMNS, columns)
    return given_by_bytes(body, header, signature)


def given_by_json(
    body: bytes, kind: bytes, signature: Signature, batch_transpose: bool
) -> Given:
    """A JSON object or list; no body at all is a call without inputs."""
    try:
        value = loads(body or b"{}")
    except InvalidBody as error:
        if kind not in UNTOLD:
            raise
        raise InvalidBody(
            f"{error}; if it is meant to be something else, send its Content-Type"
        ) from None
    form = form_of(value, signature, batch_transpose)
    return Given(form, [value] if form is Form.ROW else value, parse_inputs)


def given_by_bytes(body: bytes, header: bytes, signature: Signature) -> Given:
    """The body as it is, for the only input, which takes strings."""
    kind, charset = media_type_of(header)
    if "/" not in kind:
        raise UnsupportedMediaType("the Content-Type is not a media type")
    check_charset(kind, charset)
    if len(signature.inputs) == 1:
        ((name, spec),) = signature.inputs.items()
        if spec.type == "string":
            shape = spec.row_shape if signature.by_rows else spec.shape
            return Given(Form.ROW, [{name: alone(body, shape)}])
    raise UnsupportedMediaType(
        "only methods with one input, of strings, take such a body; send JSON"
    )


def given_by_array(body: bytes, signature: Signature, limit: int) -> Given:
    """An ``.npy`` file, for the only input."""
    if len(signature.inputs) != 1:
        raise UnsupportedMediaType(
            "only methods with one input take an array; send application/x-npz"
        )
    (name,) = signature.inputs
    return _of_arrays(signature, {name: read_npy(body, limit)})


def given_by_arrays(body: bytes, signature: Signature, limit: int) -> Given:
    """An ``.npz`` archive, with an array for each input."""
    return _of_arrays(signature, read_npz(body, partial(check_names, signature), limit))


def _of_arrays(signature: Signature, arrays: Mapping[str, Array]) -> Given:
    columns = {
        name: cast(name, spec, arrays[name]) for name, spec in signature.inputs.items()
    }
    if signature.by_rows and all(
        array.ndim == len(signature.inputs[name].row_shape)
        for name, array in columns.items()
    ):
        return Given(Form.ROW, [columns])
    return Given(Form.COLUMNS, columns)


def form_of(value: object, signature: Signature, batch_transpose: bool) -> Form:
    """The form of a JSON body.

    Raises:
        InvalidBody: it has none of the three.
    """
    if isinstance(value, list):
        return Form.ROWS
    if not isinstance(value, dict):
        raise InvalidBody("the body must be a JSON object or a list of objects")
    return Form.ROW if batch_transpose or is_row(value, signature) else Form.COLUMNS


def is_row(value: Columns, signature: Signature) -> bool:
    """Whether each of an object's values has one dimension fewer than its input."""
    return signature.by_rows and all(
        name in signature.inputs
        and depth(item) == len(signature.inputs[name].row_shape)
        for name, item in value.items()
    )


def check_rows(signature: Signature, rows: list[Any]) -> None:
    """Raise InvalidBody or InvalidInput unless all are examples of the inputs."""
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidBody(f"[{number}] of the list is not a JSON object")
        if row.keys() != signature.inputs.keys():
            check_names(signature, row, (number,))


def stacked(signature: Signature, rows: list[Columns]) -> Columns:
    """Examples as columns; each has all the inputs."""
    return {name: [row[name] for row in rows] for name in signature.inputs}
