"""JSON to arrays: the body of a call.

Most bodies are arrays of numbers and are read by :mod:`.numeric`. What is not
so plain is read the long way, by which all rules are defined and every error
is worded. What is like a body before is read by :mod:`.repeats`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import numeric, repeats
from .collecting import no_collecting
from .counting import check_depth, check_elements
from .errors import InputTooLarge, InvalidInput, TooManyElements
from .forms import Asked, Columns, Form, check_rows, form_of, read_example, stacked
from .inputs import Inputs, parse_inputs
from .leaves import BadLeaf, Parsed
from .limits import CallLimits
from .numeric import Column, Numbers
from .tensors import Array, Signature
from .values import loads, wrong_shape


def read(
    body: bytes,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool = False,
    apart: bool = False,
) -> Asked:
    """What a JSON body asks of a method.

    Args:
        body: the whole body.
        signature: the method's.
        limits: how much it may hold.
        batch_transpose: an object is always one example, never columns.
        apart: each example of a list is to be a call of its own.

    Raises:
        InvalidBody: it is not JSON, or not in one of the forms, or nested too deep.
        InvalidInput: naming the input, and the index of the first offender.
        TooManyElements: it has more values and names than are read.
        InputTooLarge: it has more rows than a request may have.
    """
    known = repeats.read(body, signature, limits, batch_transpose)
    if known is not None:
        asked, tensors = known
        inputs = {name: Parsed(array) for name, array in tensors.items()}
        return asked._replace(calls=[inputs])
    return read_new(body, signature, limits, batch_transpose, apart)


def read_new(
    body: bytes,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool = False,
    apart: bool = False,
) -> Asked:
    """:func:`read` what is like no body before, or no longer is."""
    numbers_only = check_elements(limits, body)
    found = numeric.read(body, signature)
    if found is not None:
        asked = _asked(*found, signature, limits, batch_transpose, apart)
        if asked is not None:
            repeats.keep(body, signature, limits, batch_transpose, asked)
            return asked
    if numbers_only:
        why = " and is not just numbers in regular arrays"
        raise TooManyElements(limits.json_elements, why)
    return read_any(body, signature, limits, batch_transpose, apart)


def read_any(
    body: bytes,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool = False,
    apart: bool = False,
) -> Asked:
    """:func:`read` the long way, its elements counted already."""
    check_depth(body, limits)
    with no_collecting:
        return _read_value(loads(body), signature, limits, batch_transpose, apart)


# The long way


def _read_value(
    value: object,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool,
    apart: bool,
) -> Asked:
    form = form_of(value, signature, batch_transpose)
    if isinstance(value, list):
        return _read_rows(value, signature, limits, apart)
    assert isinstance(value, dict)  # form_of has said so
    if form is Form.COLUMNS or not signature.by_rows:
        return Asked(form, [parse_inputs(signature, value)])
    return Asked(form, [read_example(value, signature)], wrapped=True)


def _read_rows(
    rows: list[Columns], signature: Signature, limits: CallLimits, apart: bool
) -> Asked:
    if len(rows) > limits.request_rows:
        raise _too_many_rows(limits)
    check_rows(signature, rows)
    if not apart and rows:
        inputs = parse_inputs(signature, stacked(signature, rows))
        return Asked(Form.ROWS, [inputs], len(rows))
    calls = []
    for number, row in enumerate(rows):
        try:
            calls.append(read_example(row, signature))
        except InvalidInput as error:
            raise error.at((number, *error.index)) from None
    return Asked(Form.ROWS, calls, len(rows), apart=True, wrapped=signature.by_rows)


def _too_many_rows(limits: CallLimits) -> InputTooLarge:
    return InputTooLarge(f"more than {limits.request_rows} rows in one request")


# The short way


def _asked(
    rows: int | None,
    numbers: Sequence[Numbers],
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool,
    apart: bool,
) -> Asked | None:
    """What numbers ask for; None if it is for the long way to say."""
    is_row = signature.by_rows
    for found in numbers:
        rank = len(found.shape)
        if rank + 1 > limits.json_depth:
            return None
        # As in forms.is_row.
        is_row = is_row and rank == len(found.column.spec.row_shape)
    if rows is not None:
        # Each of several calls has errors of its own.
        if apart:
            return None
        if rows > limits.request_rows:
            raise _too_many_rows(limits)
        return Asked(Form.ROWS, [_inputs(numbers)], rows)
    if not batch_transpose and not is_row:
        return Asked(Form.COLUMNS, [_inputs(numbers)])
    if not signature.by_rows:
        return Asked(Form.ROW, [_inputs(numbers)])
    try:
        return Asked(Form.ROW, [_inputs(numbers, (1,))], wrapped=True)
    except InvalidInput as error:
        raise error.at(error.index[1:]) from None


def _inputs(numbers: Sequence[Numbers], outer: tuple[int, ...] = ()) -> Inputs:
    """The arrays, with these dimensions put around each."""
    return {
        column.name: Parsed(_array(column, flat, outer + shape))
        for column, flat, shape in numbers
    }


def _array(column: Column, flat: Array, shape: tuple[int, ...]) -> Array:
    if not column.spec.admits(shape):
        raise wrong_shape(column.name, column.spec, shape)
    try:
        return column.array(flat).reshape(shape)
    except BadLeaf as bad:
        index = np.unravel_index(bad.position, shape) if shape else ()
        raise InvalidInput(bad.why, column.name, tuple(map(int, index))) from None
