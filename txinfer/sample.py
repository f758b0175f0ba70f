"""A call that a method is known to answer, found by trying.

It goes into the curl line that a person sees at the start.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from .inputs import parse_inputs
from .madeup import MAX_ELEMENTS, png
from .tensors import Signature, Tensors, TensorSpec

# What a string input may mean, and sizes that unknown inner dimensions may have.
IMAGE = {"b64": base64.b64encode(png(1, 128)).decode()}
TEXTS: tuple[object, ...] = ("hello", IMAGE, "1")
SIZES = (1, 8, 128)

# Some models refuse 0: they divide by it, or count from 1.
NUMBERS = (0, 1)

Values = Mapping[str, Any]


def find_sample(
    run: Callable[[Tensors], Tensors], signature: Signature
) -> Values | None:
    """Columns of one row that the model answers. Blocks for at most 18 runs.

    Returns:
        JSON values, one for each input; None if the model refuses all that can
        be made up.
    """
    for values in made_up(signature):
        try:
            inputs = parse_inputs(signature, values)
            run({name: parsed.array for name, parsed in inputs.items()})
        except Exception:
            continue
        return values
    return None


def listed(tensors: Tensors) -> Values:
    """Made-up tensors as JSON values; strings are text."""
    return {
        name: [value.decode() for value in array]
        if array.dtype == object
        else array.tolist()
        for name, array in tensors.items()
    }


def made_up(signature: Signature) -> Iterator[Values]:
    """Different values for the inputs, each the same for the same signature."""
    specs = signature.inputs
    has_text = any(spec.type == "string" for spec in specs.values())
    has_numbers = any(spec.type not in ("string", "bool") for spec in specs.values())
    has_gaps = any(None in (spec.shape or ())[1:] for spec in specs.values())
    for number, size, text in product(
        NUMBERS if has_numbers else NUMBERS[:1],
        SIZES if has_gaps else SIZES[:1],
        TEXTS if has_text else TEXTS[:1],
    ):
        shapes = {name: _shape(spec, size) for name, spec in specs.items()}
        if sum(map(prod, shapes.values())) > MAX_ELEMENTS:
            continue
        yield {
            name: _filled(spec, shapes[name], number, text)
            for name, spec in specs.items()
        }


def _shape(spec: TensorSpec, size: int) -> list[int]:
    shape = (None,) if spec.shape is None else spec.shape
    inner = [size if n is None else n for n in shape[1:]]
    outer = [1 if n is None else n for n in shape[:1]]
    return outer + inner


def _filled(spec: TensorSpec, shape: list[int], number: int, text: object) -> object:
    value: object = {"string": text, "bool": False}.get(spec.type, number)
    for count in reversed(shape):
        value = [value] * count
    return value
