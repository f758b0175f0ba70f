"""A SavedModel's graph in a session as it was saved, by TensorFlow 1's loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from .failures import Unserved
from .graphs import Graph
from .session import (
    Assignment,
    Opened,
    ends_of,
    open_session,
    outputs_of,
    public,
    sort_out,
    without_value,
)

v1 = tf.compat.v1

AS_SAVED = "its variables are read in each run"


def open_original(path: str, tags: Sequence[str], config: Any) -> Opened:
    """Load by TensorFlow 1's loader, into a graph and a session of its own.

    Raises:
        Unserved: variables are left without value, though they were saved.
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    session = open_session(config)
    try:
        with session.graph.as_default():
            meta = v1.saved_model.loader.load(session, list(tags), path)
        definitions = public(meta.signature_def)
        walk = Graph(meta.graph_def)
        unset = without_value(session, walk.variables(outputs_of(definitions)))
        if unset and meta.HasField("object_graph_def"):
            source = tf.saved_model.load(path, tags=list(tags))
            _copy_variables(session, definitions, unset, source.signatures)
            unset = without_value(session, unset)
            if unset:
                raise Unserved(f"variable '{unset[0]}' is not restored")
        ends, refused = sort_out(
            definitions, lambda it: ends_of(session.graph, walk, it, unset)
        )
        return Opened(session, meta, walk, ends, refused, unset, AS_SAVED)
    except BaseException:
        session.close()
        raise


def _copy_variables(
    session: Any,
    definitions: Mapping[str, Any],
    unset: Sequence[str],
    functions: Mapping[str, Any],
) -> None:
    """Set variables to the values they have after ``tf.saved_model.load``.

    A Keras 3 model inside a ``tf.Module`` is saved with each variable twice in
    the graph: the restore op writes the one, the signature reads the other.
    What ties that one to its value is that a signature is one call of a function
    in the graph: its last arguments are what the loaded function has captured.
    """
    sources: dict[str, Any] = {}
    for name, definition in definitions.items():
        output = next((it.name for it in definition.outputs.values() if it.name), None)
        if output is None:
            continue
        inputs = list(session.graph.get_tensor_by_name(output).op.inputs)
        captured = functions[name].captured_inputs
        if len(inputs) == len(functions[name].inputs):
            last = inputs[len(inputs) - len(captured) :]
            names = [handle.op.name for handle in last]
            sources.update(zip(names, captured, strict=True))
    found = {name: sources[name] for name in unset if name in sources}
    values = {name: _value(session.graph, name, it) for name, it in found.items()}
    Assignment(session.graph, values).run(session)


def _value(graph: Any, name: str, source: Any) -> Any:
    """What an eager handle holds, of the dtype of a variable in the graph."""
    dtype = tf.as_dtype(graph.get_operation_by_name(name).get_attr("dtype"))
    return tf.raw_ops.ReadVariableOp(resource=source, dtype=dtype).numpy()
