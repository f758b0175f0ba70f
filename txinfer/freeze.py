"""A graph whose variables have become constants.

What only reads a variable reads a constant just as well, and what TensorFlow
does for variables in each run (fold, fuse, lay out) it does once for constants.
Only nodes that are known to read are rewritten. At any other use of a variable
the graph is refused, so nothing that writes is ever frozen.

Works on ``GraphDef`` and ``FunctionDef`` (``tensorflow/core/framework``) as they
are stored; TensorFlow itself is not needed for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from .graphs import WRITERS, reachable_functions

DT_INT32 = 3  # tensorflow/core/framework/types.proto

#: Calls: the attributes that name functions, that with the types of what they
#: are given, and how many inputs come before that.
CALLS = {
    "PartitionedCall": (("f",), "Tin", 0),
    "StatefulPartitionedCall": (("f",), "Tin", 0),
    "If": (("then_branch", "else_branch"), "Tin", 1),
    "StatelessIf": (("then_branch", "else_branch"), "Tin", 1),
    "Case": (("branches",), "Tin", 1),
    "StatelessCase": (("branches",), "Tin", 1),
    "While": (("cond", "body"), "T", 0),
    "StatelessWhile": (("cond", "body"), "T", 0),
}

#: What hands its first input on, which is of type ``T``, and its outputs.
PASSES = {
    "Identity": ("output",),
    "Enter": ("output",),
    "Switch": ("output_false", "output_true"),
}

#: What reads a variable: the op that does the same with a value, the attribute
#: of that op for the value's type, and the attributes that it does not have.
READS = {
    "ReadVariableOp": ("Identity", "T", ("dtype",)),
    "VariableShape": ("Shape", "T", ()),
    "ResourceGather": ("GatherV2", "Tparams", ("dtype", "validate_indices")),
    "ResourceGatherNd": ("GatherNd", "Tparams", ("dtype",)),
}

#: What TensorFlow notes for itself, and is not so any more.
NOTES = ("_class", "_output_shapes", "_read_only_resource_inputs")


class Unfrozen(Exception):
    """``variable`` is used by something that may write it."""

    def __init__(self, variable: str, op: str) -> None:
        super().__init__(f"{op} uses variable '{variable}'")
        self.variable = variable


@attrs.frozen
class Origin:
    """What is behind the handle of a resource: a variable, and its dtype."""

    variable: str
    type: int


def freeze(graph_def: Any, constants: Mapping[str, Any]) -> None:
    """Put constants in the place of variables, in every function that is called.

    Args:
        graph_def: the graph, which is changed; half changed if it is refused.
        constants: a ``TensorProto`` for the name of each variable's node.

    Raises:
        Unfrozen: a variable is used by what is not known to leave it as it is.
    """
    variables = [node for node in graph_def.node if node.name in constants]
    handles = {}
    for node in variables:
        if node.op == "VarHandleOp":
            origin = Origin(node.name, constants[node.name].dtype)
            handles[f"{node.name}:0"] = origin
        else:
            _refuse_writers(node.name, graph_def.node)
    functions = _Functions(graph_def.library)
    _rewrite(_Scope(graph_def.node, False, handles), functions)
    for node in variables:
        node.op = "Const"
        node.ClearField("attr")
        node.attr["dtype"].type = constants[node.name].dtype
        node.attr["value"].tensor.CopyFrom(constants[node.name])
    _keep_reachable(graph_def)


def _refuse_writers(variable: str, nodes: Iterable[Any]) -> None:
    """See that whatever takes a variable of TensorFlow 1 takes its value."""
    for node in nodes:
        if variable not in (name.partition(":")[0] for name in node.input):
            continue
        if node.op.startswith(("Ref", "IsVariable")) or WRITERS.fullmatch(node.op):
            raise Unfrozen(variable, node.op)


def _keep_reachable(graph_def: Any) -> None:
    library = graph_def.library
    kept = list(reachable_functions(graph_def.node, library.function))
    # Gradients of functions are for building graphs, which is over.
    library.Clear()
    library.function.extend(kept)


class _Scope:
    """The nodes of a graph or of a function's body, and the handles in it.

    A tensor is called ``node:0`` in a graph, ``node:output:0`` in a body, where
    an argument has just its name.
    """

    def __init__(self, nodes: Any, in_body: bool, handles: dict[str, Origin]) -> None:
        self.nodes = nodes
        self.in_body = in_body
        self.handles = handles

    def tensor(self, node: Any, output: str, index: int = 0) -> str:
        """The name of a node's output; ``index`` counts within a list."""
        if self.in_body:
            return f"{node.name}:{output}:{index}"
        return f"{node.name}:{index}"

    def origin(self, name: str) -> Origin | None:
        """What is behind a tensor, if it is the handle of a variable."""
        if not self.in_body and ":" not in name:
            name += ":0"
        return self.handles.get(name)

    def uses(self, node: Any) -> Iterator[tuple[int, Origin]]:
        """The inputs of a node that are handles."""
        for index, name in enumerate(node.input):
            origin = self.origin(name)
            if origin is not None:
                yield index, origin

    def rename(self, moved: Mapping[str, str]) -> None:
        """Call tensors by other names in every input."""
        for node in self.nodes if moved else ():
            for index, name in enumerate(node.input):
                node.input[index] = moved.get(name, name)


def _rewrite(scope: _Scope, functions: _Functions) -> dict[str, str]:
    """Make all that uses a handle use a value; the outputs that are renamed."""
    _spread(scope)
    moved: dict[str, str] = {}
    for node in list(scope.nodes):
        used = dict(scope.uses(node))
        if not used:
            continue
        origin = next(iter(used.values()))
        if node.op in READS and list(used) == [0]:
            if node.op == "ReadVariableOp" and scope.in_body:
                moved[scope.tensor(node, "value")] = scope.tensor(node, "output")
            _read(scope, node, origin)
        elif node.op in PASSES and list(used) == [0]:
            node.attr["T"].type = origin.type
        elif node.op in CALLS:
            _call(node, used, functions)
        else:
            raise Unfrozen(origin.variable, node.op)
        for note in NOTES:
            node.attr.pop(note, None)
    scope.rename(moved)
    return moved


def _spread(scope: _Scope) -> None:
    """Find every handle that is made of a handle; nodes are in no order."""
    known = -1
    while known != len(scope.handles):
        known = len(scope.handles)
        for node in scope.nodes:
            for index, origin in scope.uses(node):
                if node.op in PASSES and index == 0:
                    for place, output in enumerate(PASSES[node.op]):
                        at = 0 if scope.in_body else place
                        scope.handles[scope.tensor(node, output, at)] = origin
                elif node.op in ("While", "StatelessWhile"):
                    scope.handles[scope.tensor(node, "output", index)] = origin


def _read(scope: _Scope, node: Any, origin: Origin) -> None:
    """Make a node that reads a variable take its value."""
    if node.op == "ResourceGather":
        # Reading an attribute that is not there would put an empty one there.
        batch_dims = node.attr["batch_dims"].i if "batch_dims" in node.attr else 0
        axis = scope.nodes.add(name=f"{node.name}/frozen_axis", op="Const")
        axis.attr["dtype"].type = DT_INT32
        axis.attr["value"].tensor.dtype = DT_INT32
        axis.attr["value"].tensor.tensor_shape.SetInParent()
        axis.attr["value"].tensor.int_val.append(batch_dims)
        # Control inputs come last.
        node.input.insert(2, scope.tensor(axis, "output"))
        node.attr["Taxis"].type = DT_INT32
    node.op, type_name, gone = READS[node.op]
    for name in gone:
        node.attr.pop(name, None)
    node.attr[type_name].type = origin.type


def _call(node: Any, used: Mapping[int, Origin], functions: _Functions) -> None:
    """Make a call hand values to functions that take them."""
    attributes, types, before = CALLS[node.op]
    taken = {index - before: origin for index, origin in used.items()}
    if min(taken) < 0:
        raise Unfrozen(next(iter(used.values())).variable, node.op)
    for index, origin in taken.items():
        node.attr[types].list.type[index] = origin.type
    for attribute in attributes:
        value = node.attr[attribute]
        called = value.list.func if value.HasField("list") else [value.func]
        for function in called:
            function.name = functions.taking(function.name, taken, attribute)
    if "body" in attributes and "output_shapes" in node.attr:
        shapes = node.attr["output_shapes"].list.shape
        for index in taken if shapes else ():
            # It was a handle's.
            shapes[index].Clear()
            shapes[index].unknown_rank = True


class _Functions:
    """The functions of a library, and those made of them that take values."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._known = {it.signature.name: it for it in library.function}
        self._made: dict[Any, str] = {}

    def taking(self, name: str, taken: Mapping[int, Origin], role: str) -> str:
        """The name of a function that is another but takes values for handles.

        Args:
            name: of the function.
            taken: its arguments to be changed, by their numbers.
            role: the attribute that names it; a loop's body gives back what it
                takes, nothing else may give back a handle.
        """
        key = (name, role == "body", tuple(sorted(taken.items(), key=lambda it: it[0])))
        if key not in self._made:
            self._made[key] = f"{name}_frozen_{len(self._made)}"
            self._make(self._made[key], name, taken, role == "body")
        return self._made[key]

    def _make(
        self, name: str, source: str, taken: Mapping[int, Origin], is_body: bool
    ) -> None:
        first = next(iter(taken.values()))
        if source not in self._known:
            raise Unfrozen(first.variable, source)
        function = self._library.function.add()
        function.CopyFrom(self._known[source])
        signature = function.signature
        signature.name = name
        function.attr.pop("_input_shapes", None)
        handles = {}
        for index, origin in taken.items():
            argument = signature.input_arg[index]
            argument.type = origin.type
            argument.ClearField("handle_data")
            function.arg_attr.pop(index, None)
            handles[argument.name] = origin
        scope = _Scope(function.node_def, True, handles)
        moved = _rewrite(scope, self)
        for index, output in enumerate(signature.output_arg):
            given = function.ret[output.name]
            function.ret[output.name] = moved.get(given, given)
            kept = scope.origin(given)
            if kept != (taken.get(index) if is_body else None):
                raise Unfrozen((kept or first).variable, source)
            if kept is not None:
                output.type = kept.type
                output.ClearField("handle_data")
