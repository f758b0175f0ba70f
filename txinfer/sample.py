"""A call that a method is known to answer, found by trying.

It goes into the curl line that a person sees at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .inputs import parse_inputs
from .tensors import Signature, Tensors, TensorSpec

# The smallest PNG: one grey pixel. TensorFlow's JPEG decoder takes it as well.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81y"
    "tgAAAABJRU5ErkJggg=="
)

# What a string input may mean, and sizes that unknown inner dimensions may have.
TEXTS: tuple[object, ...] = ("hello", {"b64": PNG})
SIZES = (1, 8, 128)

Values = Mapping[str, Any]


def find_sample(run: Callable[[Tensors], Tensors], signature: Signature) -> Values:
    """Columns of one row that the model answers. Blocks for at most six runs.

    Returns:
        JSON values, one for each input. If the model refuses all that can be
        made up, the plainest of them.
    """
    candidates = list(made_up(signature))
    for values in candidates:
        try:
            inputs = parse_inputs(signature, values)
            run({name: parsed.array for name, parsed in inputs.items()})
        except Exception:
            continue
        return values
    return candidates[0]


def made_up(signature: Signature) -> Iterator[Values]:
    """Different values for the inputs, each the same for the same signature."""
    specs = signature.inputs.values()
    has_text = any(spec.type == "string" for spec in specs)
    has_gaps = any(None in (spec.shape or ())[1:] for spec in specs)
    for size in SIZES if has_gaps else SIZES[:1]:
        for text in TEXTS if has_text else TEXTS[:1]:
            yield {
                name: _filled(spec, size, text)
                for name, spec in signature.inputs.items()
            }


def _filled(spec: TensorSpec, size: int, text: object) -> object:
    value: object = {"string": text, "bool": False}.get(spec.type, 0)
    shape = (None,) if spec.shape is None else spec.shape
    inner = [size if n is None else n for n in shape[1:]]
    outer = [1 if n is None else n for n in shape[:1]]
    for count in reversed(outer + inner):
        value = [value] * count
    return value
