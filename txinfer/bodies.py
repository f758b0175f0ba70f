"""What a request's body asks of a method, by its media type.

JSON has one of three forms (see :mod:`.forms`). An array is a whole input or one
row of it, as its rank says. A form has a part for each row of each input. Any
other body is one string. What comes as one row is answered by one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from twisted.web.iweb import IRequest

from .casts import cast, check_room
from .errors import InvalidBody, NotJSON
from .fields import alone, check_charset, columns_of
from .forms import Asked, Form, read_example
from .inputs import Inputs, check_names, conform_inputs
from .jsonin import read
from .leaves import Parsed
from .limits import CallLimits
from .multipart import FORM, media_type_of, read_parts
from .npy import NPY, read_npy
from .npz import NPZ, read_npz
from .refusals import UnsupportedMediaType
from .tensors import Array, Signature
from .values import wrong_shape
from .web import media_type, read_body

JSON = b"application/json"

# What says nothing, and what curl says for everything: -d means JSON mostly.
UNTOLD = {b"", b"application/x-www-form-urlencoded"}

JSON_TYPES = {JSON, b"text/json", *UNTOLD}

#: Reads a whole body, for a method of a signature, within limits.
Reads = Callable[[bytes, Signature, CallLimits], Asked]


def asked_by(
    request: IRequest,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool,
    apart: bool,
) -> Asked:
    """Read a request's body.

    Args:
        request: whole.
        signature: of the method that is called.
        limits: what one call may hold.
        batch_transpose: a JSON object is always one example, never columns.
        apart: each of several examples is to be a call of its own.

    Raises:
        TooLarge: the body is larger than it may be, or becomes so.
        TooManyElements: it holds more than it may.
        UnsupportedMediaType: the method takes no body of that type.
        InvalidBody: the body is not of the type that it says it is of.
        InvalidInput: it does not fit the method's inputs.
    """
    body = read_body(request, limits.request_size)
    kind = media_type(request)
    if kind in JSON_TYPES or kind.endswith(b"+json"):
        # No body at all is a call without inputs.
        body = body or b"{}"
        try:
            return read(body, signature, limits, batch_transpose, apart)
        except NotJSON as error:
            raise _not_json(error, kind) from None
    if kind in ARRAYS:
        return ARRAYS[kind](body, signature, limits)
    header: bytes = request.getHeader(b"Content-Type")
    if kind == FORM:
        parts = read_parts(body, header, limits.multipart_parts)
        columns = columns_of(signature, parts, limits)
        return Asked(Form.COLUMNS, [conform_inputs(signature, columns)])
    return asked_by_bytes(body, header, signature)


def _not_json(error: NotJSON, kind: bytes) -> InvalidBody:
    if kind not in UNTOLD:
        return error
    return InvalidBody(
        f"{error}; if it is meant to be something else, send its Content-Type"
    )


def asked_by_bytes(body: bytes, header: bytes, signature: Signature) -> Asked:
    """The body as it is, for the only input, which takes strings."""
    kind, charset = media_type_of(header)
    if "/" not in kind:
        raise UnsupportedMediaType("the Content-Type is not a media type")
    check_charset(kind, charset)
    if len(signature.inputs) == 1:
        ((name, spec),) = signature.inputs.items()
        if spec.type == "string":
            shape = spec.row_shape if signature.by_rows else spec.shape
            return _of_row(signature, {name: alone(body, shape)})
    raise UnsupportedMediaType(
        "only methods with one input, of strings, take such a body; send JSON"
    )


def asked_by_array(body: bytes, signature: Signature, limits: CallLimits) -> Asked:
    """An ``.npy`` file, for the only input."""
    if len(signature.inputs) != 1:
        raise UnsupportedMediaType(
            "only methods with one input take an array; send application/x-npz"
        )
    (name,) = signature.inputs
    array = read_npy(body, limits.request_size)
    return _of_arrays(signature, {name: array}, limits)


def asked_by_arrays(body: bytes, signature: Signature, limits: CallLimits) -> Asked:
    """An ``.npz`` archive, with an array for each input."""
    arrays = read_npz(body, partial(check_names, signature), limits.request_size)
    return _of_arrays(signature, arrays, limits)


#: What reads a body of one of numpy's formats, by its media type.
ARRAYS: Mapping[bytes, Reads] = {NPY: asked_by_array, NPZ: asked_by_arrays}


def reader_of(header: bytes) -> Reads | None:
    """What reads bodies with a Content-Type that is a media type and nothing more.

    It gives and raises what :func:`asked_by` does.

    Args:
        header: the whole header.

    Returns:
        None if they are JSON or a form, or the header may say more.
    """
    if header in ARRAYS:
        return ARRAYS[header]
    if b";" in header or header != header.strip().lower():
        return None
    if header in JSON_TYPES or header.endswith(b"+json") or header == FORM:
        return None

    def read_bytes(body: bytes, signature: Signature, limits: CallLimits) -> Asked:
        return asked_by_bytes(body, header, signature)

    return read_bytes


def _of_arrays(
    signature: Signature, arrays: Mapping[str, Array], limits: CallLimits
) -> Asked:
    specs = signature.inputs
    room = limits.tensor_size
    for name, spec in specs.items():
        room = check_room(name, spec, arrays[name].size, room)
    columns = {name: cast(name, spec, arrays[name]) for name, spec in specs.items()}
    if signature.by_rows and _are_one_row(signature, columns):
        row = {name: array[np.newaxis] for name, array in columns.items()}
        return Asked(Form.ROW, [_fitting(signature, row)], wrapped=True)
    return Asked(Form.COLUMNS, [_fitting(signature, columns)])


def _are_one_row(signature: Signature, columns: Mapping[str, Array]) -> bool:
    for name, array in columns.items():
        if array.ndim != len(signature.inputs[name].row_shape):
            return False
    return True


def _fitting(signature: Signature, columns: Mapping[str, Array]) -> Inputs:
    """Arrays of the right dtypes, once it is known that their shapes are right."""
    for name, array in columns.items():
        spec = signature.inputs[name]
        if not spec.admits(array.shape):
            raise wrong_shape(name, spec, array.shape)
    return {name: Parsed(array) for name, array in columns.items()}


def _of_row(signature: Signature, row: Mapping[str, object]) -> Asked:
    inputs = read_example(row, signature, conform_inputs)
    return Asked(Form.ROW, [inputs], wrapped=signature.by_rows)
