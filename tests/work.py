"""A method for tests of the collector and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import attrs
from zope.interface import implementer

from txinfer.cost import Cost
from txinfer.interfaces import IRunnable
from txinfer.observe import Labels
from txinfer.tensors import Tensors

LABELS = Labels(method="work")


def double(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"] * 2}


@implementer(IRunnable)
@attrs.define(eq=False)
class Work:
    """A method whose runs are recorded by their number of rows."""

    function: Callable[[Tensors], Tensors] = double
    labels: Labels = LABELS
    direct: str | None = None
    cost: Cost = attrs.field(factory=Cost)
    runs: list[int] = attrs.field(factory=list)

    def key(self, tensors: Tensors) -> Hashable:
        kinds = [(array.dtype, array.shape[1:]) for array in tensors.values()]
        return (self, *kinds)

    def run(self, tensors: Tensors) -> Tensors:
        self.runs.append(len(tensors["x"]))
        return self.function(tensors)

    def serve_directly(self, why: str) -> None:
        self.direct = why
