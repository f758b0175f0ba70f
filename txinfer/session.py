"""A TensorFlow session, and the signatures that can be run in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import attrs
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.core.protobuf import config_pb2

from . import layout
from .failures import Unserved, reason, refuse_python
from .graphs import Graph
from .tensors import Shape, Signature, TensorSpec
from .tune import Runner, SessionPolicy

v1 = tf.compat.v1

#: The dtypes served: those for which both numpy and the wire have a form.
SERVED = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)} | {
    *("float16", "float32", "float64", "bfloat16", "bool", "string")
}

# Constants of fewer elements are not worth the trouble of forgetting them.
FEW = 256

# ``tensorflow/core/protobuf/config.proto``, ``RunOptions.inter_op_thread_pool``.
IN_CALLERS_THREAD = -1


@attrs.frozen
class Ends:
    """A signature that can be served, with its tensors' names in the graph.

    ``stateful`` says in words what a run writes; None if it writes nothing.
    """

    signature: Signature
    feeds: list[str]
    fetches: list[str]
    stateful: str | None


@attrs.frozen(eq=False)
class Opened:
    """A session in which a SavedModel's graph is, with values for its variables.

    ``unset`` are variables that signatures read and that have no value;
    ``how`` says in words what became of the variables, of which ``frozen`` are
    constants; ``is_bare`` is whether the session holds nothing but its graph.
    """

    session: Any
    meta: Any
    walk: Graph
    ends: Mapping[str, Ends]
    refused: Mapping[str, str]
    unset: Sequence[str]
    how: str
    frozen: int = 0
    is_bare: bool = False

    def again(self, config: Any) -> Opened:
        """Another session of the same graph. Only if ``is_bare``."""
        # What a callable runs is kept once.
        config.experimental.disable_output_partition_graphs = True
        session = v1.Session(graph=self.session.graph, config=config)
        return attrs.evolve(self, session=session)

    def runner(self, name: str, in_callers_thread: bool) -> Runner:
        """What runs a signature.

        Args:
            name: a key of ``ends``.
            in_callers_thread: whether ops run one after the other in the thread
                that calls, which is quicker if they are few or each waits for
                the one before; else in TensorFlow's threads.
        """
        ends = self.ends[name]
        return make_callable(self.session, ends.feeds, ends.fetches, in_callers_thread)

    def close(self) -> None:
        """Give back the session and the variables in it."""
        close_session(self.session)


def session_config(policy: SessionPolicy) -> Any:
    """A new ``ConfigProto`` that says what a policy says."""
    return v1.ConfigProto(
        allow_soft_placement=True,
        intra_op_parallelism_threads=policy.intra_threads,
        inter_op_parallelism_threads=policy.inter_threads,
    )


def open_session(config: Any) -> Any:
    """A session with an empty graph of its own."""
    return v1.Session(graph=tf.Graph(), config=config)


def close_session(session: Any) -> None:
    """Give back a session and the variables in it.

    Now, not when the garbage collector finds it: it is in a circle with its graph.
    """
    session.close()
    session.__del__()


def import_graph(graph_def: Any, operators: Any = None) -> None:
    """Import a ``GraphDef`` into the graph that is the default; it is cut in two.

    The graph keeps the ``FunctionDef`` s of what it imports, and with one of those
    all that the message was made of: the constants, too.

    Args:
        graph_def: its functions are imported first, and taken out of it.
        operators: the ``OpList`` of its ops as they were when it was saved.
    """
    functions = type(graph_def)()
    functions.versions.CopyFrom(graph_def.versions)
    functions.library.CopyFrom(graph_def.library)
    tf.import_graph_def(functions, name="")
    graph_def.ClearField("library")
    tf.import_graph_def(graph_def, name="", producer_op_list=operators)


def make_callable(
    session: Any,
    feeds: Sequence[str],
    fetches: Sequence[str],
    in_callers_thread: bool = False,
) -> Runner:
    """What runs a part of a session's graph, in any thread.

    ``Session.make_callable`` adds 150 µs to each call for conversions that are
    not needed here; what lies below it has a private name, so it may go away.

    Args:
        session: a ``tf.compat.v1.Session``.
        feeds: the names of the tensors to be fed, as ``x:0``.
        fetches: the names of the tensors to be given.
        in_callers_thread: run the ops in the thread that calls, if possible.
    """
    low_level = getattr(session, "_make_callable_from_options", None)
    if low_level is None:
        public = session.make_callable(list(fetches), feed_list=list(feeds))
        return cast(Runner, public)
    options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
    if in_callers_thread:
        options.run_options.inter_op_thread_pool = IN_CALLERS_THREAD
    return cast(Runner, low_level(options))


def sort_out(
    definitions: Mapping[str, Any], make: Callable[[Any], Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Make something of each signature: those that can be served, and why not."""
    made: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, definition in definitions.items():
        try:
            made[name] = make(definition)
        except (Unserved, tf.errors.OpError) as error:
            refused[name] = reason(error)
    return made, refused


def public(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """The signatures meant for callers, in the order of their names."""
    return {
        name: signatures[name] for name in sorted(filter(layout.is_public, signatures))
    }


def spec(kind: str, name: str, dtype: Any, shape: Any) -> TensorSpec:
    """The spec of one tensor, from TensorFlow's dtype and shape.

    Raises:
        Unserved: there is no form for the dtype.
    """
    base = dtype.base_dtype
    if base.name not in SERVED:
        raise Unserved(f"{kind} '{name}' is of dtype {base.name}, which is not served")
    sizes: Shape | None = None if shape.rank is None else tuple(shape.as_list())
    return TensorSpec(base.name, np.dtype(base.as_numpy_dtype), sizes)


def ends_of(graph: Any, walk: Graph, signature: Any, unset: Iterable[str]) -> Ends:
    """A ``SignatureDef`` whose tensors are in a graph.

    Args:
        graph: what the session runs; copies of some tensors may be added.
        walk: the graph as it was saved.
        signature: the ``SignatureDef``.
        unset: the variables without value.

    Raises:
        Unserved: it cannot be served, or it reads one of these variables.
    """
    inputs, feeds = _side(graph, "input", signature.inputs)
    outputs, fetches = _side(graph, "output", signature.outputs)
    if not outputs:
        raise Unserved("it has no outputs")
    fed = [it.name for it in feeds]
    names = [it.name for it in fetches]
    for variable in walk.variables(names).intersection(unset):
        raise Unserved(f"its variable '{variable}' has no value")
    refuse_python(walk.python(names))
    with graph.as_default():
        # No tensor may be both fed and fetched, but a copy of it may.
        copies = [tf.identity(it) if it.name in fed else it for it in fetches]
    return Ends(
        Signature(inputs, outputs),
        fed,
        [it.name for it in copies],
        walk.why_stateful(names),
    )


def _side(
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
        specs[name] = spec(kind, name, tensor.dtype, shape)
        tensors.append(tensor)
    return specs, tensors


def outputs_of(definitions: Mapping[str, Any]) -> list[str]:
    """The names of the tensors that signatures give."""
    return [info.name for it in definitions.values() for info in it.outputs.values()]


def setness(graph: Any, variables: Iterable[str]) -> dict[str, Any]:
    """For each variable a tensor that says whether it has a value."""
    found = {}
    with graph.as_default():
        for name in sorted(variables):
            handle = graph.get_tensor_by_name(f"{name}:0")
            found[name] = (
                tf.raw_ops.VarIsInitializedOp(resource=handle)
                if handle.dtype == tf.resource
                else tf.raw_ops.IsVariableInitialized(ref=handle)
            )
    return found


def without_value(session: Any, variables: Iterable[str]) -> list[str]:
    """Those of the variables that hold no value in the session."""
    known = session.run(setness(session.graph, variables))
    return [name for name, is_set in known.items() if not is_set]


def read(session: Any, variables: Iterable[str]) -> dict[str, Any]:
    """The values of variables that have one, by the names of their nodes."""
    tensors = {}
    with session.graph.as_default():
        for name in variables:
            handle = session.graph.get_tensor_by_name(f"{name}:0")
            if handle.dtype == tf.resource:
                dtype = tf.as_dtype(handle.op.get_attr("dtype"))
                handle = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
            tensors[name] = tf.identity(handle)
    values: dict[str, Any] = session.run(tensors)
    return values


class Assignment:
    """Gives variables of a graph values, all in one run.

    The session would prepare the whole graph anew for each. The variables are
    called by the names of their nodes.
    """

    def __init__(self, graph: Any, values: Mapping[str, Any]) -> None:
        self._ops, self._fed = [], {}
        for name, value in values.items():
            handle = graph.get_tensor_by_name(f"{name}:0")
            with graph.as_default():
                if handle.dtype == tf.resource:
                    dtype = tf.as_dtype(handle.op.get_attr("dtype"))
                    given = v1.placeholder(dtype)
                    op = tf.raw_ops.AssignVariableOp(resource=handle, value=given)
                else:
                    given = v1.placeholder(handle.dtype.base_dtype)
                    op = tf.raw_ops.Assign(
                        ref=handle, value=given, validate_shape=False
                    ).op
            self._ops.append(op)
            self._fed[given] = value

    def run(self, session: Any) -> None:
        """Assign them."""
        if self._ops:
            session.run(self._ops, self._fed)


def forget_constants(graph: Any) -> None:
    """Give back the memory of a graph's constants, once nothing more is built on it.

    The session has constants of its own; those of the graph that it was made
    of are never looked at again.
    """
    for op in graph.get_operations():
        # A private name: without it the memory is kept, and nothing else changes.
        set_attr = getattr(op, "_set_attr", None)
        if set_attr is None or op.type != "Const":
            continue
        if (op.outputs[0].shape.num_elements() or 0) >= FEW:
            nothing = attr_value_pb2.AttrValue()
            nothing.tensor.dtype = op.outputs[0].dtype.as_datatype_enum
            set_attr("value", nothing)
