"""A model without TensorFlow, for tests of everything above the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from zope.interface import implementer

from txinfer.interfaces import IModel
from txinfer.tensors import Shape, Signature, Tensors, TensorSpec

Function = Callable[[Tensors], Tensors]


def spec(type: str = "float32", shape: Shape | None = (None,)) -> TensorSpec:
    """A tensor spec by the name of its dtype: numpy's own, or ``string``."""
    return TensorSpec(type, np.dtype(object if type == "string" else type), shape)


def affine(tensors: Tensors) -> Tensors:
    """y = 2x + 1, so that a result tells which rows it was made of."""
    x = tensors["x"]
    return {"y": np.asarray(2 * x + 1, dtype=x.dtype)}


AFFINE = Signature(inputs={"x": spec()}, outputs={"y": spec()})


@implementer(IModel)
class MemoryModel:
    """An :class:`IModel` of Python functions that records its calls.

    Args:
        signatures: by name; by default one, ``serving_default``: x -> y,
            both float32 ``[-1]``.
        functions: what each signature computes, by name; :func:`affine` for
            those not named. A function may raise what a model would raise.
        stateful: signatures that change state, with the reason.
        refused: signatures that cannot be served, with the reason.

    ``calls`` holds the tensors of each run, in order, and ``names`` the
    signature of each; ``closed`` counts the calls of ``close``.
    """

    def __init__(
        self,
        signatures: Mapping[str, Signature] | None = None,
        functions: Mapping[str, Function] | None = None,
        stateful: Mapping[str, str] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        self.signatures = dict(signatures or {"serving_default": AFFINE})
        self.refused = dict(refused or {})
        self.stateful = dict(stateful or {})
        self.calls: list[Tensors] = []
        self.names: list[str] = []
        self.closed = 0
        self._functions = dict(functions or {})

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """Record the call and run the signature's function."""
        assert name in self.signatures, name
        assert not self.closed, "run after close"
        self.calls.append(tensors)
        self.names.append(name)
        return self._functions.get(name, affine)(tensors)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1
