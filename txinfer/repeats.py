"""JSON bodies like others before, with other numbers: read without being looked at.

What is left of a body when all that numbers are written with is taken away
tells all but the numbers: the names, the brackets, and that there is no string,
boolean or null. Clients send the same form again and again, so what it meant
the first time (:mod:`.jsonin` said so) is kept; then only the numbers are read,
and counted.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

import orjson

from .bounds import check_calls
from .errors import InputTooLarge
from .forms import Asked, Form
from .leaves import BadLeaf, rounded
from .limits import CallLimits
from .numeric import NUMBERS_AND_SPACE, Column, columns_of, flat_numbers
from .tensors import Array, Signature, Tensors

# Bytes. Up to so many, numbers are read faster as Python objects.
FEW = 1024

# Bytes of a body, and forms that are kept for one signature: half a megabyte at
# most, which nobody fills by accident.
LARGEST = 16384
MAX_KEPT = 256


class Meaning(NamedTuple):
    """What bodies of a form ask for, all but the numbers.

    ``asked`` has no calls; the only one has one input, which ``column`` reads: an
    array of that shape, of so many numbers, in ``depth`` lists inside each other.
    """

    asked: Asked
    column: Column
    shape: tuple[int, ...]
    numbers: int
    depth: int
    limits: CallLimits


Kept = dict[tuple[bytes, bool], Meaning]


def read(
    body: bytes, signature: Signature, limits: CallLimits, batch_transpose: bool
) -> tuple[Asked, Tensors] | None:
    """What a body asks for that is like one before; None if it is not, or for
    whatever else :mod:`.jsonin` should look at it.

    Returns:
        What is asked, but for the calls; and the tensors of the only one, which are
        within the limits.
    """
    if len(body) > LARGEST:
        return None
    left = body.translate(None, NUMBERS_AND_SPACE)
    meaning = _kept(signature).get((left, batch_transpose))
    if meaning is None or meaning.limits is not limits:
        return None
    column = meaning.column
    is_small = len(body) <= FEW and column.kind == "d"
    try:
        array = _few(body, meaning) if is_small else _many(body, column)
    except BadLeaf:
        return None
    if array is None or array.size != meaning.numbers:
        return None
    if len(meaning.shape) != 1:
        array = array.reshape(meaning.shape)
    return meaning.asked, {column.name: array}


def keep(
    body: bytes,
    signature: Signature,
    limits: CallLimits,
    batch_transpose: bool,
    asked: Asked,
) -> None:
    """Keep what a body of numbers meant, if others like it can be told by that."""
    if len(body) > LARGEST or len(signature.inputs) != 1 or asked.form is Form.ROWS:
        return
    (inputs,) = asked.calls
    ((name, parsed),) = inputs.items()
    array = parsed.array
    try:
        # It tells by shape and dtype, which are the same each time.
        check_calls(signature, [{name: array}], limits)
    except InputTooLarge:
        return
    kept = _kept(signature)
    if len(kept) >= MAX_KEPT:
        kept.clear()
    left = body.translate(None, NUMBERS_AND_SPACE)
    (column,) = columns_of(signature)
    depth = array.ndim - asked.wrapped
    kept[left, batch_transpose] = Meaning(
        asked._replace(calls=()), column, array.shape, array.size, depth, limits
    )


def _kept(signature: Signature) -> Kept:
    kept: Kept | None = signature.notes.get(__name__)
    if kept is None:
        kept = signature.notes[__name__] = {}
    return kept


def _few(body: bytes, meaning: Meaning) -> Array | None:
    """The numbers of a small body for floats, flat; None if it is not JSON."""
    column = meaning.column
    try:
        value: Any = orjson.loads(body)[column.name]
        if meaning.depth != 1:
            value = _flat(value, meaning.depth)
        return rounded(column.spec, value)
    except (KeyError, OverflowError, ValueError):
        # Among them orjson's JSONDecodeError.
        return None


def _flat(value: Any, depth: int) -> list[float]:
    """The numbers in lists inside each other, which are known to be there.

    The lists need not be of one length: if they are not, there are fewer numbers
    than there should be.
    """
    if not depth:
        return [value]
    for _ in range(depth - 1):
        value = list(chain.from_iterable(value))
    numbers: list[float] = value
    return numbers


def _many(body: bytes, column: Column) -> Array | None:
    """The numbers of any body, flat; None if they are of another type, or it is not
    JSON.
    """
    numbers = flat_numbers(body, column)
    return None if numbers is None else column.array(numbers)
