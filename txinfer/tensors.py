"""Tensors as a signature describes them, and how rows travel together.

A *row* is one slice along dimension 0. Nothing here knows TensorFlow: a
tensor is a :class:`numpy.ndarray`, strings are object arrays of ``bytes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Tensors = Mapping[str, Array]
Shape = tuple[int | None, ...]

# numpy takes no more dimensions than this before version 2 (NPY_MAXDIMS).
MAX_RANK = 32


@attrs.frozen
class TensorSpec:
    """What a signature says of one tensor.

    ``type`` is TensorFlow's name of the dtype (``float32``, ``string`` ...),
    ``dtype`` numpy's counterpart (``object`` for strings), ``shape`` has None
    for an unknown dimension and is itself None when not even the rank is known.
    """

    type: str
    dtype: np.dtype[Any]
    shape: Shape | None

    @property
    def has_rows(self) -> bool:
        """Whether dimension 0 exists and may have any size."""
        return bool(self.shape) and self.shape is not None and self.shape[0] is None

    @property
    def row_shape(self) -> Shape:
        """The shape of one row. Only for a spec that ``has_rows``."""
        assert self.shape is not None
        return self.shape[1:]

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape fits."""
        if self.shape is None:
            return True
        if len(shape) != len(self.shape):
            return False
        # Not by all(), which takes twice as long; each call comes here.
        for want, got in zip(self.shape, shape):  # noqa: B905, their lengths agree
            if want is not None and want != got:
                return False
        return True

    def shape_text(self) -> str:
        """The shape as the listing writes it: ``[-1, 3]``, or ``null``."""
        return "null" if self.shape is None else str(listed_shape(self.shape))


def listed_shape(shape: Shape) -> list[int]:
    """A shape with -1 for each unknown dimension, as TensorFlow writes it."""
    return [-1 if size is None else size for size in shape]


@attrs.frozen
class Signature:
    """The inputs and outputs of one method, by name.

    ``by_rows`` is whether every input and output has rows, so that calls can be
    joined. ``notes`` is for what others work out from a signature once, each
    under the name of its module.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    by_rows: bool = attrs.field(init=False, repr=False)
    notes: dict[str, Any] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    @by_rows.default
    def _by_rows(self) -> bool:
        return self.why_not_by_rows() is None

    def why_not_by_rows(self) -> str | None:
        """Which tensor keeps calls from being joined, in words; None if none does."""
        if not self.inputs:
            return "it has no inputs"
        for kind, specs in (("input", self.inputs), ("output", self.outputs)):
            for name, spec in specs.items():
                if not spec.has_rows:
                    return f"dimension 0 of {kind} '{name}' is not free"
        return None


def row_count(tensors: Tensors) -> int:
    """The rows of a call whose tensors all have the same dimension 0."""
    return len(next(iter(tensors.values())))


def byte_count(tensors: Tensors) -> int:
    """What a call's tensors hold in memory, in bytes, strings included."""
    size = 0
    for array in tensors.values():
        size += array.nbytes
        if array.dtype.char == "O":
            size += sum(map(len, array.flat))
    return size


def stack(calls: Sequence[Tensors]) -> Tensors:
    """Join calls along dimension 0, in order.

    Each maps the same names to arrays that agree but for dimension 0.
    """
    if len(calls) == 1:
        return calls[0]
    return {
        name: np.concatenate([tensors[name] for tensors in calls]) for name in calls[0]
    }


def pad(tensors: Tensors, count: int) -> Tensors:
    """A call with so many more rows, each equal to its last one."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], count, axis=0)])
        for name, array in tensors.items()
    }


def split(tensors: Tensors, rows: Sequence[int]) -> list[Tensors]:
    """Cut along dimension 0 into parts of ``rows`` rows each; the parts are views."""
    parts: list[Tensors] = []
    start = 0
    for count in rows:
        end = start + count
        parts.append({name: array[start:end] for name, array in tensors.items()})
        start = end
    return parts
