"""A SavedModel's signatures as ``tf.saved_model.load`` gives them: functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import tensorflow as tf

from .failures import Unserved, refuse_python
from .graphs import Graph
from .session import public, sort_out, spec
from .tensors import Array, Signature, TensorSpec
from .tune import Runner


@attrs.frozen
class Entry:
    """A signature that can be served, with what runs it.

    ``stateful`` says in words what a run writes; None if it writes nothing.
    """

    signature: Signature
    run: Runner
    stateful: str | None


def load_entries(
    path: str, tags: Sequence[str]
) -> tuple[dict[str, Entry], dict[str, str], Callable[[], None]]:
    """Load any model that TensorFlow itself can run.

    Returns:
        The signatures that can be served, those that cannot, with the reason
        in words, and what gives the model back.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    kept = [tf.saved_model.load(path, tags=list(tags))]
    entries, refused = sort_out(public(kept[0].signatures), _entry)
    return entries, refused, kept.clear


def _entry(function: Any) -> Entry:
    """A signature as ``tf.saved_model.load`` gives it, a function by keywords."""
    inputs = _specs("input", function.structured_input_signature[1])
    outputs = _specs("output", function.structured_outputs)
    if not outputs:
        raise Unserved("it has no outputs")

    def run(*arrays: Array) -> list[Any]:
        fed = {
            name: tf.constant(array, spec.type)
            for (name, spec), array in zip(inputs.items(), arrays, strict=True)
        }
        results = function(**fed)
        return [results[name].numpy() for name in outputs]

    graph_def = function.graph.as_graph_def()
    walk, names = Graph(graph_def), [node.name for node in graph_def.node]
    refuse_python(walk.python(names))
    stateful = walk.why_stateful(names)
    return Entry(Signature(inputs=inputs, outputs=outputs), run, stateful)


def _specs(kind: str, tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """The specs of a function's inputs or outputs, in the order of their names."""
    specs = {}
    for name, tensor in sorted(tensors.items()):
        if not isinstance(tensor, tf.TensorSpec | tf.Tensor):
            raise Unserved(f"{kind} '{name}' is no plain tensor")
        specs[name] = spec(kind, name, tensor.dtype, tensor.shape)
    return specs
