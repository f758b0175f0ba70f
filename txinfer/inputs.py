"""A call's values to arrays: names checked, values parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import InvalidInput
from .leaves import Parsed
from .tensors import Signature
from .values import conform, parse

Inputs = Mapping[str, Parsed]


def parse_inputs(signature: Signature, values: Mapping[str, object]) -> Inputs:
    """JSON values, one for each input, as arrays.

    Raises:
        InvalidInput: naming what is missing, unknown or wrong, and where.
    """
    check_names(signature, values)
    specs = signature.inputs.items()
    return {name: parse(name, spec, values[name]) for name, spec in specs}


def conform_inputs(signature: Signature, values: Mapping[str, object]) -> Inputs:
    """Python values, numpy arrays among them, one for each input, as arrays.

    Raises:
        InvalidInput: naming what is missing, unknown or wrong, and where.
    """
    check_names(signature, values)
    specs = signature.inputs.items()
    return {name: conform(name, spec, values[name]) for name, spec in specs}


def check_names(
    signature: Signature, names: Iterable[str], index: tuple[int, ...] = ()
) -> None:
    """Raise InvalidInput unless the names are the inputs, all and only these."""
    given = set(names)
    known = ", ".join(signature.inputs) or "none"
    for name in signature.inputs:
        if name not in given:
            raise InvalidInput("missing", name, index)
    for name in given - signature.inputs.keys():
        raise InvalidInput(f"unknown; the inputs are: {known}", name, index)
