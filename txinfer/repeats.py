"""JSON bodies like others before, with other numbers: read without being looked at.

What is left of a body when all that numbers are written with is taken away
tells all but the numbers: the names, the brackets, and that there is no string,
boolean or null. Clients send the same form again and again, so what it meant
the first time (:mod:`.jsonin` said so) is kept; then only the numbers are read,
and counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import orjson

from .forms import Asked, Form
from .leaves import BadLeaf, Parsed
from .limits import CallLimits
from .numeric import NUMBERS_AND_SPACE, Column, columns_of, flat_numbers
from .tensors import Array, Signature

# Bytes. Up to so many, numbers are read faster as Python objects.
FEW = 1024

# Bytes of a body, and forms that are kept for one signature: half a megabyte at
# most, which nobody fills by accident.
LARGEST = 16384
MAX_KEPT = 256


class Meaning(NamedTuple):
    """What bodies of a form ask for: an array of that shape, of so many numbers."""

    form: Form
    shape: tuple[int, ...]
    numbers: int
    wrapped: bool
    limits: CallLimits


Kept = dict[tuple[bytes, bool], Meaning]


def read(
    body: bytes, signature: Signature, limits: CallLimits, batch_transpose: bool
) -> Asked | None:
    """What a body asks for that is like one before; None if it is not, or for
    whatever else :mod:`.jsonin` should look at it.
    """
    if len(body) > LARGEST:
        return None
    left = body.translate(None, NUMBERS_AND_SPACE)
    meaning = _kept(signature).get((left, batch_transpose))
    if meaning is None or meaning.limits is not limits:
        return None
    (column,) = columns_of(signature)
    is_small = len(body) <= FEW and column.kind == "d"
    numbers = _few(body, column) if is_small else flat_numbers(body, column)
    try:
        if numbers is None or numbers.size != meaning.numbers:
            return None
        array = column.array(numbers if numbers.ndim == 1 else numbers.ravel())
        if array.shape != meaning.shape:
            array = array.reshape(meaning.shape)
    except BadLeaf:
        return None
    return Asked(
        meaning.form, ({column.name: Parsed(array)},), 1, False, meaning.wrapped
    )


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
    ((_, parsed),) = inputs.items()
    kept = _kept(signature)
    if len(kept) >= MAX_KEPT:
        kept.clear()
    left = body.translate(None, NUMBERS_AND_SPACE)
    kept[left, batch_transpose] = Meaning(
        asked.form, parsed.array.shape, parsed.array.size, asked.wrapped, limits
    )


def _kept(signature: Signature) -> Kept:
    kept: Kept | None = signature.notes.get(__name__)
    if kept is None:
        kept = signature.notes[__name__] = {}
    return kept


def _few(body: bytes, column: Column) -> Array | None:
    """The numbers of a small body for floats; None if it is not JSON."""
    try:
        value: Any = orjson.loads(body)[column.name]
        return np.array(value, np.float64)
    except (KeyError, OverflowError, ValueError):
        # Among them orjson's JSONDecodeError, and numpy's for ragged lists.
        return None
