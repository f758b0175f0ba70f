"""Where the variables of a SavedModel's graph are in its checkpoint.

A SavedModel of TensorFlow 2 has its objects beside its graph
(``tensorflow/core/protobuf/saved_object_graph.proto``): a signature is one call
of a function in the graph, whose last inputs are what the function has captured,
and the objects say what that is. The checkpoint has a graph of its own
(``trackable_object_graph.proto``) in which the same objects have the same paths.

Works on these messages as they are stored; TensorFlow is not needed for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .graphs import node_name

#: The attribute of an object of the checkpoint that is a variable's value
#: (``tensorflow/python/trackable/base.py``).
VALUE = "VARIABLE_VALUE"


class Unmatched(Exception):
    """The objects, the graph and the checkpoint do not fit together."""


def checkpoint_keys(meta: Any, checkpoint: Any) -> dict[str, str]:
    """The key in the checkpoint for the node of each variable of the signatures.

    Args:
        meta: the ``MetaGraphDef``.
        checkpoint: the ``TrackableObjectGraph`` of its checkpoint.

    Raises:
        Unmatched: a variable is not found.
    """
    objects = meta.object_graph_def
    keys = _keys_of_objects(objects.nodes, checkpoint.nodes)
    nodes = {node.name: node for node in meta.graph_def.node}
    found: dict[str, str] = {}
    for name, captured in _captures(objects).items():
        for handle, number in _bound(meta.signature_def[name], nodes, captured):
            if objects.nodes[number].WhichOneof("kind") != "variable":
                continue
            if number not in keys:
                raise Unmatched(f"variable '{handle}' is not in the checkpoint")
            if found.setdefault(handle, keys[number]) != keys[number]:
                raise Unmatched(f"variable '{handle}' is two")
    return found


def _captures(objects: Any) -> dict[str, list[int]]:
    """The numbers of the objects that each signature's function has captured."""
    root = _children(objects.nodes[0])
    if "signatures" not in root:
        raise Unmatched("the signatures are not among the objects")
    found = {}
    for name, number in _children(objects.nodes[root["signatures"]]).items():
        node = objects.nodes[number]
        functions = [node.bare_concrete_function.concrete_function_name]
        if node.WhichOneof("kind") == "function":
            functions = list(node.function.concrete_functions)
        if len(functions) != 1 or functions[0] not in objects.concrete_functions:
            raise Unmatched(f"signature '{name}' is not one function")
        found[name] = list(objects.concrete_functions[functions[0]].bound_inputs)
    return found


def _bound(
    signature: Any, nodes: Mapping[str, Any], captured: list[int]
) -> list[tuple[str, int]]:
    """The node of each capture, from the call that makes a signature's outputs."""
    callers = {node_name(info.name) for info in signature.outputs.values()}
    if not captured or not callers:
        return []
    caller = nodes.get(callers.pop())
    if callers or caller is None or "PartitionedCall" not in caller.op:
        raise Unmatched("a signature's outputs are not of one call")
    inputs = [node_name(name) for name in caller.input if not name.startswith("^")]
    if len(inputs) != len(signature.inputs) + len(captured):
        raise Unmatched("a signature's call takes other inputs")
    return list(zip(inputs[-len(captured) :], captured, strict=True))


def _keys_of_objects(saved: Any, stored: Any) -> dict[int, str]:
    """The key of the value of each saved object that has one.

    Both graphs are walked from their roots along the same names.
    """
    keys: dict[int, str] = {}
    seen = {0}
    waiting = [(0, 0)]
    while waiting:
        number, twin = waiting.pop()
        for attribute in stored[twin].attributes:
            if attribute.name == VALUE:
                keys[number] = attribute.checkpoint_key
        there = _children(stored[twin])
        for name, child in _children(saved[number]).items():
            if name in there and child not in seen:
                seen.add(child)
                waiting.append((child, there[name]))
    return keys


def _children(node: Any) -> dict[str, int]:
    return {child.local_name: child.node_id for child in node.children}
