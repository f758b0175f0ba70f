"""A SavedModel folder as an :class:`~txinfer.interfaces.IModel`.

The only module that imports TensorFlow. A model is run in a session of its own,
by TensorFlow 1's loader: a call costs a third of what ``tf.saved_model.load``'s
functions cost, or less. What that loader leaves out is taken from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from zope.interface import implementer

from . import layout
from .failures import Unserved, as_failure, reason
from .graphs import Graph
from .interfaces import IModel
from .tensors import Array, Shape, Signature, Tensors, TensorSpec

v1 = tf.compat.v1

#: The dtypes served: those for which both numpy and the wire have a form.
SERVED = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)} | {
    *("float16", "float32", "float64", "bfloat16", "bool", "string")
}

#: Takes an array for each input and gives a value for each output, in order.
Runner = Callable[..., Sequence[Any]]


@attrs.frozen
class Entry:
    """A signature that can be served, with what runs it."""

    signature: Signature
    run: Runner
    stateful: str | None


@implementer(IModel)
class SavedModel:
    """A loaded SavedModel; see :class:`~txinfer.interfaces.IModel`.

    ``run`` may be called in several threads at once; ``close`` may not be
    called while it runs.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        refused: Mapping[str, str],
        close: Callable[[], None],
    ) -> None:
        self.signatures = {name: entry.signature for name, entry in entries.items()}
        self.refused = dict(refused)
        self.stateful = {
            name: entry.stateful for name, entry in entries.items() if entry.stateful
        }
        self._runners = {name: entry.run for name, entry in entries.items()}
        self._close = close

    def run(self, name: str, tensors: Tensors) -> Tensors:
        """Run one signature once; blocks."""
        signature = self.signatures[name]
        feeds = [tensors[input] for input in signature.inputs]
        try:
            values = self._runners[name](*feeds)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise as_failure(error) from error
        return {
            output: as_array(value, spec.dtype)
            for (output, spec), value in zip(
                signature.outputs.items(), values, strict=True
            )
        }

    def close(self) -> None:
        """Give back the session, or the functions, and the variables in it."""
        self._runners.clear()
        self._close()


def load(path: str, tags: Sequence[str]) -> SavedModel:
    """Load the graph of a SavedModel folder that has exactly these tags.

    Blocks, for seconds where the model is large; any thread may call.

    Raises:
        InvalidModel: the folder cannot be loaded, or none of its signatures
            can be served; the text is one line saying why.
    """
    layout.check(path, tags)
    try:
        model = load_in_session(path, tags)
    except Exception as first:
        try:
            model = load_functions(path, tags)
        except Exception:
            raise layout.invalid(path, reason(first)) from first
    if not model.signatures:
        model.close()
        whys = "; ".join(f"{name}: {why}" for name, why in model.refused.items())
        raise layout.invalid(path, f"no signature can be served: {whys or 'none'}")
    return model


def load_in_session(path: str, tags: Sequence[str]) -> SavedModel:
    """Load by TensorFlow 1's loader, into a graph and a session of its own.

    Raises:
        Unserved: variables are left without value, though they were saved.
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    graph = tf.Graph()
    session = v1.Session(graph=graph, config=v1.ConfigProto(allow_soft_placement=True))
    try:
        with graph.as_default():
            meta = v1.saved_model.loader.load(session, list(tags), path)
        definitions = _public(meta.signature_def)
        walk = Graph(meta.graph_def)
        ends = [end for it in definitions.values() for end in it.outputs.values()]
        unset = _without_value(session, walk.variables(end.name for end in ends))
        if unset and meta.HasField("object_graph_def"):
            source = tf.saved_model.load(path, tags=list(tags))
            _copy_variables(session, definitions, unset, source.signatures)
            unset = _without_value(session, unset)
            if unset:
                raise Unserved(f"variable '{unset[0]}' is not restored")
        return SavedModel(
            *_sort_out(
                definitions, lambda it: _session_entry(session, walk, it, unset)
            ),
            session.close,
        )
    except BaseException:
        session.close()
        raise


def load_functions(path: str, tags: Sequence[str]) -> SavedModel:
    """Load by ``tf.saved_model.load``: any model that TensorFlow itself can run.

    Raises:
        Exception: whatever TensorFlow raises for a model it cannot load.
    """
    kept = [tf.saved_model.load(path, tags=list(tags))]
    functions = _public(kept[0].signatures)
    return SavedModel(*_sort_out(functions, _function_entry), kept.clear)


def make_callable(session: Any, feeds: list[str], fetches: list[str]) -> Runner:
    """What runs a part of a session's graph, in any thread.

    ``Session.make_callable`` adds 150 µs to each call for conversions that are
    not needed here; what lies below it has a private name, so it may go away.

    Args:
        session: a ``tf.compat.v1.Session``.
        feeds: the names of the tensors to be fed, as ``x:0``.
        fetches: the names of the tensors to be given.
    """
    low_level = getattr(session, "_make_callable_from_options", None)
    if low_level is None:
        return cast(Runner, session.make_callable(fetches, feed_list=feeds))
    options = config_pb2.CallableOptions()
    options.feed.extend(feeds)
    options.fetch.extend(fetches)
    return cast(Runner, low_level(options))


def as_array(value: Any, dtype: np.dtype[Any]) -> Array:
    """A result as an array; TensorFlow gives bare scalars and ``bytes``.

    An array may share its memory with a variable or a constant of the model, so
    nobody may write to it.
    """
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
        return value
    array = np.empty((), dtype)
    array[()] = value
    return array


def _public(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """The signatures meant for callers, in the order of their names."""
    return {
        name: signatures[name] for name in sorted(filter(layout.is_public, signatures))
    }


def _sort_out(
    definitions: Mapping[str, Any], make: Callable[[Any], Entry]
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Make an entry of each signature: those that can be served, and why not."""
    entries: dict[str, Entry] = {}
    refused: dict[str, str] = {}
    for name, definition in definitions.items():
        try:
            entries[name] = make(definition)
        except (Unserved, tf.errors.OpError) as error:
            refused[name] = reason(error)
    return entries, refused


def _spec(kind: str, name: str, dtype: Any, shape: Any) -> TensorSpec:
    """The spec of one tensor, from TensorFlow's dtype and shape."""
    base = dtype.base_dtype
    if base.name not in SERVED:
        raise Unserved(f"{kind} '{name}' is of dtype {base.name}, which is not served")
    sizes: Shape | None = None if shape.rank is None else tuple(shape.as_list())
    return TensorSpec(base.name, np.dtype(base.as_numpy_dtype), sizes)


def _session_entry(
    session: Any, walk: Graph, signature: Any, unset: list[str]
) -> Entry:
    """A ``SignatureDef`` whose tensors are in the session's graph.

    Args:
        unset: the variables without value; one that reads them is not served.
    """
    inputs, feeds = _ends(session.graph, "input", signature.inputs)
    outputs, fetches = _ends(session.graph, "output", signature.outputs)
    if not outputs:
        raise Unserved("it has no outputs")
    fed = [it.name for it in feeds]
    names = [it.name for it in fetches]
    for variable in walk.variables(names).intersection(unset):
        raise Unserved(f"its variable '{variable}' has no value")
    with session.graph.as_default():
        # No tensor may be both fed and fetched, but a copy of it may.
        copies = [tf.identity(it) if it.name in fed else it for it in fetches]
    run = make_callable(session, fed, [it.name for it in copies])
    return Entry(Signature(inputs, outputs), run, walk.why_stateful(names))


def _ends(
    graph: Any, kind: str, infos: Mapping[str, Any]
) -> tuple[dict[str, TensorSpec], list[Any]]:
    """The specs and the tensors of one side of a signature, ordered by name.

    What the signature says of a dtype may be wrong (``float32_ref``, or float
    for a string): it is taken from the graph. So is the shape, joined with the
    signature's where they agree.
    """
    specs, tensors = {}, []
    for name, info in sorted(infos.items()):
        encoding = info.WhichOneof("encoding")
        if encoding != "name":
            raise Unserved(f"{kind} '{name}' is no plain tensor ({encoding})")
        try:
            tensor = graph.get_tensor_by_name(info.name)
        except (KeyError, ValueError):
            raise Unserved(f"{kind} '{name}' is not in the graph") from None
        said = tf.TensorShape(info.tensor_shape)
        agree = tensor.shape.is_compatible_with(said)
        shape = tensor.shape.merge_with(said) if agree else tensor.shape
        specs[name] = _spec(kind, name, tensor.dtype, shape)
        tensors.append(tensor)
    return specs, tensors


def _without_value(session: Any, variables: Iterable[str]) -> list[str]:
    """Those of the variables that hold no value in the session."""
    known = {}
    with session.graph.as_default():
        for name in sorted(variables):
            handle = session.graph.get_tensor_by_name(f"{name}:0")
            known[name] = (
                tf.raw_ops.VarIsInitializedOp(resource=handle)
                if handle.dtype == tf.resource
                else tf.raw_ops.IsVariableInitialized(ref=handle)
            )
    return [name for name, is_set in session.run(known).items() if not is_set]


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
    _assign(session, {name: sources[name] for name in unset if name in sources})


def _assign(session: Any, sources: Mapping[str, Any]) -> None:
    """Set variables of the session, by name, to what eager handles hold.

    In one run: the session would prepare the whole graph anew for each.
    """
    assigns, values = [], {}
    for name, source in sources.items():
        handle = session.graph.get_tensor_by_name(f"{name}:0")
        dtype = tf.as_dtype(handle.op.get_attr("dtype"))
        value = tf.raw_ops.ReadVariableOp(resource=source, dtype=dtype).numpy()
        with session.graph.as_default():
            fed = v1.placeholder(dtype)
            assigns.append(tf.raw_ops.AssignVariableOp(resource=handle, value=fed))
        values[fed] = value
    session.run(assigns, values)


def _function_entry(function: Any) -> Entry:
    """A signature as ``tf.saved_model.load`` gives it, a function by keywords."""
    inputs = _function_specs("input", function.structured_input_signature[1])
    outputs = _function_specs("output", function.structured_outputs)
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
    stateful = Graph(graph_def).why_stateful(node.name for node in graph_def.node)
    return Entry(Signature(inputs=inputs, outputs=outputs), run, stateful)


def _function_specs(kind: str, tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """The specs of a function's inputs or outputs, in the order of their names."""
    specs = {}
    for name, tensor in sorted(tensors.items()):
        if not isinstance(tensor, tf.TensorSpec | tf.Tensor):
            raise Unserved(f"{kind} '{name}' is no plain tensor")
        specs[name] = _spec(kind, name, tensor.dtype, tensor.shape)
    return specs
