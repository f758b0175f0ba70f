"""What the nodes of a TensorFlow graph tell about running it.

Walks a ``GraphDef`` (``tensorflow/core/framework/graph.proto``) as it is
stored; TensorFlow itself is not needed for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

#: The ops that change what a later run sees, or the world outside, by the names
#: in TensorFlow's ``core/ops/*.cc``. Not here: those that only set up or restore
#: (``InitializeTableV2``, ``RestoreV2``), since no run reaches them; random ops,
#: even those that advance a generator, since a probe finds them; ``StackPushV2``
#: and ``TensorArrayWriteV3``, whose resources live for one run
#: (``kernels/stack.cc``: the step container).
WRITERS = re.compile(
    r"""
    Assign.* | (Resource)?StridedSliceAssign | (Resource)?CountUpTo
    | ResourceScatter.* | Scatter(Nd)?(Add|Sub|Mul|Div|Min|Max|Update)
    | (Resource)?(Sparse)?Apply.*
    | LookupTable(Insert|Import|Remove)(V2)?
    | Queue(Enqueue|Dequeue|Close).* | Barrier(InsertMany|TakeMany|Close)
    | (Ordered)?(Map)?(Stage|Unstage|UnstageNoKey|Clear) | StageClear
    | (Resource|Sparse)?Accumulator(Apply|Take|Set).*
    | (MultiDevice)?IteratorGetNext.*
    | Reader(Read|ReadUpTo|Reset|RestoreState)(V2)?
    | PyFunc | EagerPyFunc | Print(V2)?
    | Write.*(File|Summary) | Save(V2|Slices|Dataset|DatasetV2)?
    | DatasetToTFRecord | MergeV2Checkpoints
    """,
    re.VERBOSE,
)

#: The ops that call a function of the Python process that saved the model, which
#: is not in it (``python/ops/script_ops.py``).
PYTHON = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc"))

#: The ops that make a variable, as a resource or as a reference.
VARIABLES = frozenset(("VarHandleOp", "VariableV2", "Variable"))


class Graph:
    """A ``GraphDef`` made ready to be walked backwards."""

    def __init__(self, graph_def: Any) -> None:
        self._empty = type(graph_def)
        self._versions = graph_def.versions
        self._nodes = {node.name: node for node in graph_def.node}
        self._functions = {
            function.signature.name: function for function in graph_def.library.function
        }

    def pruned(self, tensors: Iterable[str]) -> Any:
        """A new ``GraphDef`` of just what makes these tensors, or nodes."""
        graph_def = self._empty()
        graph_def.versions.CopyFrom(self._versions)
        graph_def.node.extend(self.nodes(tensors))
        library = self._functions.values()
        graph_def.library.function.extend(reachable_functions(graph_def.node, library))
        return graph_def

    def nodes(self, tensors: Iterable[str]) -> list[Any]:
        """Every ``NodeDef`` that these tensors, or nodes, are made by."""
        seen: dict[str, Any] = {}
        waiting = list(tensors)
        while waiting:
            name = node_name(waiting.pop())
            if name in seen or name not in self._nodes:
                continue
            node = seen[name] = self._nodes[name]
            waiting += node.input
        return list(seen.values())

    def variables(self, tensors: Iterable[str]) -> set[str]:
        """The names of the variables that these tensors are made of."""
        return {node.name for node in self.nodes(tensors) if node.op in VARIABLES}

    def why_stateful(self, tensors: Iterable[str]) -> str | None:
        """What making these tensors writes, in words; None if it writes nothing.

        A function counts with its whole body, since the runtime keeps the
        stateful ops of a body even where no result depends on them.
        Nothing that only sets up the graph counts: no tensor is made by it.
        """
        for op in self.writers(tensors):
            return f"it writes state ({op})"
        return None

    def python(self, tensors: Iterable[str]) -> str | None:
        """An op that calls Python while these tensors are made; None if none does."""
        nodes = self._with_bodies(self.nodes(tensors))
        return next((node.op for node in nodes if node.op in PYTHON), None)

    def writers(self, tensors: Iterable[str]) -> Iterator[str]:
        """The ops that write something while these tensors, or nodes, are made."""
        for node in self._with_bodies(self.nodes(tensors)):
            if WRITERS.fullmatch(node.op):
                yield node.op

    def _with_bodies(self, nodes: Iterable[Any]) -> Iterator[Any]:
        """The nodes, and those of every function called from them."""
        nodes = list(nodes)
        yield from nodes
        for function in reachable_functions(nodes, self._functions.values()):
            yield from function.node_def


def reachable_functions(nodes: Iterable[Any], library: Iterable[Any]) -> Iterator[Any]:
    """Every ``FunctionDef`` of a library that is called from nodes, each once."""
    functions = {function.signature.name: function for function in library}
    waiting = list(nodes)
    while waiting:
        for name in called(waiting.pop()):
            function = functions.pop(name, None)
            if function is not None:
                yield function
                waiting += function.node_def


def node_name(tensor: str) -> str:
    """The node of an input: of ``x``, ``x:1`` and the control input ``^x``."""
    return tensor.lstrip("^").partition(":")[0]


def called(node: Any) -> Iterator[str]:
    """The functions a node may call: its op, or any of its attributes."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        elif value.HasField("list"):
            yield from (function.name for function in value.list.func)
