"""The three forms in which calls come as JSON, and are answered.

* columns: an object of whole inputs, ``{"image": [a, b]}`` -> ``{"names": [x, y]}``
* a row: an object of one example, ``{"image": a}`` -> ``{"names": x}``
* rows: a list of such objects -> a list of objects, in order

For a method that does not work by rows an example is a whole call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from .errors import InvalidBody, InvalidInput
from .inputs import Inputs, check_names, parse_inputs
from .tensors import Signature
from .values import depth

Columns = Mapping[str, Any]


class Form(Enum):
    """The form of a call and of its answer."""

    COLUMNS = "columns"
    ROW = "row"
    ROWS = "rows"


#: Those of most calls: a member of an Enum takes long to look up (see :mod:`.ends`).
COLUMNS = Form.COLUMNS
ROW = Form.ROW


class Asked(NamedTuple):
    """What a body asks for.

    Args:
        form: the form it has, and its answer is to have.
        calls: the inputs of each call to make.
        rows: how many examples there are; 1 for columns.
        apart: whether each example is a call of its own.
        wrapped: whether each call is an example with a dimension of rows around it.
    """

    form: Form
    calls: Sequence[Inputs]
    rows: int = 1
    apart: bool = False
    wrapped: bool = False

    def placed(self, error: InvalidInput, number: int = 0) -> InvalidInput:
        """The error of a call, its index counted as in the body.

        Args:
            error: its index counts inside the call's tensors.
            number: which of the calls it is.
        """
        index = error.index[1:] if self.wrapped else error.index
        return error.at((number, *index) if self.apart else index)


def form_of(value: object, signature: Signature, batch_transpose: bool) -> Form:
    """The form of a request body.

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


def read_example(
    row: Columns,
    signature: Signature,
    parse: Callable[[Signature, Columns], Inputs] = parse_inputs,
) -> Inputs:
    """One example as a call; its rows, if there are rows, are one.

    Raises:
        InvalidInput: naming the input, and the index as counted in the example.
    """
    if not signature.by_rows:
        return parse(signature, row)
    check_names(signature, row)
    try:
        return parse(signature, stacked(signature, [row]))
    except InvalidInput as error:
        raise error.at(error.index[1:]) from None
