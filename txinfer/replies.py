"""A method's outputs as the body of an answer, in the form it was asked for.

The outputs of a request are *parts*: the tensors of one call, or, for examples
that were not answered together, of one call after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
from twisted.web.iweb import IRequest

from .accept import media_weight, weights
from .errors import AnswerTooLarge
from .forms import Asked, Form
from .jsonout import weight, write
from .limits import CallLimits
from .npy import NPY, write_npy
from .npz import NPZ, write_npz
from .refusals import NotAcceptable
from .tensors import Array, Signature, Tensors, TensorSpec

Parts = Sequence[Tensors]

JSON = b"application/json"


class Kind(Enum):
    """What an answer is written as; the value is its media type."""

    JSON = JSON
    NPY = NPY
    NPZ = NPZ


def kind_of(request: IRequest, signature: Signature) -> Kind:
    """What a request wants its answer to be written as.

    JSON, unless its Accept names one of numpy's formats, and does not prefer
    JSON to it. What else it may name is nothing to choose by: an answer in
    JSON is better than none (RFC 9110, section 12.5.1).

    Raises:
        NotAcceptable: it takes nothing else, and the method's outputs cannot
            be written so.
    """
    accept = request.getHeader(b"Accept")
    if accept is None or b"/x-np" not in accept.lower():
        return Kind.JSON
    request.responseHeaders.addRawHeader(b"Vary", b"Accept")
    named, json = kinds_in(accept)
    whys = [why_not(kind, signature) for kind in named]
    for kind, why in zip(named, whys, strict=True):
        if why is None:
            return kind
    if json or not whys:
        return Kind.JSON
    raise NotAcceptable(whys[0] or "")


def kinds_in(accept: bytes) -> tuple[list[Kind], float]:
    """Which of numpy's formats an Accept asks for, the best first; the weight of JSON.

    Those that JSON is preferred to are not among them.
    """
    wanted = weights(accept)
    json = media_weight(wanted, JSON)
    named = [kind for kind in (Kind.NPY, Kind.NPZ) if wanted.get(kind.value, 0.0)]
    named = [kind for kind in named if wanted[kind.value] >= json]
    named.sort(key=lambda kind: -wanted[kind.value])
    return named, json


def why_not(kind: Kind, signature: Signature) -> str | None:
    """Why outputs cannot be written as arrays; None if they can."""
    for name, spec in signature.outputs.items():
        if spec.type == "string":
            return f"output '{name}' is of strings, which have no form in numpy's files"
    if kind is Kind.NPY and len(signature.outputs) != 1:
        return "application/x-npy holds one output; ask for application/x-npz"
    return None


def has_rows(outputs: Tensors, count: int) -> bool:
    """Whether every output has ``count`` rows."""
    return all(array.ndim > 0 and len(array) == count for array in outputs.values())


def size_of(kind: Kind, outputs: Tensors, limits: CallLimits, before: int = 0) -> int:
    """How large an answer is so far: in elements as JSON, in bytes as arrays.

    Args:
        kind: what it is written as.
        outputs: some of its tensors.
        limits: how large it may be.
        before: how large it is without these.

    Raises:
        AnswerTooLarge: it is larger.
    """
    if kind is Kind.JSON:
        return json_size(outputs, limits, before)
    size, most = before, limits.tensor_size
    for name, array in outputs.items():
        size += array.nbytes
        if size > most:
            raise AnswerTooLarge(f"{most} bytes", name)
    return size


def json_size(outputs: Tensors, limits: CallLimits, before: int = 0) -> int:
    """:func:`size_of` an answer in JSON, in elements."""
    size, most = before, limits.output_elements
    for name, array in outputs.items():
        size += weight(array)
        if size > most:
            raise AnswerTooLarge(f"{most} elements", name)
    return size


def written(kind: Kind, asked: Asked, signature: Signature, parts: Parts) -> bytes:
    """The body of an answer.

    Args:
        kind: what it is written as.
        asked: what the request asked for.
        signature: the method's.
        parts: one, if the form is COLUMNS; for ROW and ROWS, parts of a signature
            with rows have all the same rows in each output.

    Raises:
        NotAcceptable: there are several results that are not one array.
    """
    if kind is Kind.JSON:
        return write(signature, parts, asked.form, asked.rows)
    tensors = arrays_out(asked.form, signature, parts)
    if kind is Kind.NPZ:
        return write_npz(tensors)
    (array,) = tensors.values()
    return write_npy(array)


def arrays_out(form: Form, signature: Signature, parts: Parts) -> Tensors:
    """An array for each output: one row of it, if the request was one row."""
    if form is Form.ROWS and not signature.by_rows:
        raise NotAcceptable("a list of examples of this method is answered in JSON")
    whole = {
        name: _joined(spec, [outputs[name] for outputs in parts])
        for name, spec in signature.outputs.items()
    }
    if form is Form.ROW and signature.by_rows:
        return {name: array[0] for name, array in whole.items()}
    return whole


def _joined(spec: TensorSpec, arrays: list[Array]) -> Array:
    if len(arrays) == 1:
        return arrays[0]
    if not arrays:
        return np.empty((0, *(size or 0 for size in spec.row_shape)), spec.dtype)
    if len({array.shape[1:] for array in arrays}) > 1:
        raise NotAcceptable("the rows are of different shapes; ask for JSON")
    return np.concatenate(arrays)
