"""Variables are found in the checkpoint by the paths of objects."""

from __future__ import annotations

from typing import Any

import pytest
from tensorflow.core.protobuf import meta_graph_pb2, trackable_object_graph_pb2

from txinfer.captures import Unmatched, checkpoint_keys

#: A saved object: its children by name, and its kind.
Objects = list[tuple[dict[str, int], str]]

#: The root has the signatures and a variable; a signature calls ``inner``.
SAVED: Objects = [
    ({"signatures": 1, "layer": 2}, "user_object"),
    ({"f": 3}, "user_object"),
    ({"kernel": 4}, "user_object"),
    ({}, "bare_concrete_function"),
    ({}, "variable"),
]


def meta_graph(objects: Objects, bound: list[int], inputs: list[str]) -> Any:
    """A graph in which ``call`` makes the output of signature ``f``."""
    meta = meta_graph_pb2.MetaGraphDef()
    for children, kind in objects:
        node = meta.object_graph_def.nodes.add()
        getattr(node, kind).SetInParent()
        if kind == "bare_concrete_function":
            node.bare_concrete_function.concrete_function_name = "inner"
        for name, number in children.items():
            node.children.add(local_name=name, node_id=number)
    meta.object_graph_def.concrete_functions["inner"].bound_inputs.extend(bound)
    meta.graph_def.node.add(name="call", op="StatefulPartitionedCall", input=inputs)
    meta.signature_def["f"].inputs["x"].name = "x:0"
    meta.signature_def["f"].outputs["y"].name = "call:0"
    return meta


def checkpoint(*objects: tuple[dict[str, int], str]) -> Any:
    """Children by name, and the key of a value, of each object."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    for children, key in objects:
        node = graph.nodes.add()
        for name, number in children.items():
            node.children.add(local_name=name, node_id=number)
        if key:
            node.attributes.add(name="VARIABLE_VALUE", checkpoint_key=key)
    return graph


STORED = checkpoint(
    ({"layer": 2, "other": 1}, ""),
    ({}, "other/V"),
    ({"kernel": 3}, ""),
    ({}, "kernel/V"),
)


def test_a_variable_has_the_path_of_its_object() -> None:
    meta = meta_graph(SAVED, [4], ["x", "handle"])
    assert checkpoint_keys(meta, STORED) == {"handle": "kernel/V"}


def test_captures_are_the_last_inputs_in_their_order() -> None:
    objects = [*SAVED, ({}, "variable"), ({}, "constant")]
    objects[0] = ({"signatures": 1, "layer": 2, "other": 5}, "user_object")
    meta = meta_graph(objects, [5, 6, 4], ["x:0", "a:0", "b", "c:0", "^d"])
    assert checkpoint_keys(meta, STORED) == {"a": "other/V", "c": "kernel/V"}


def test_an_object_in_a_circle_is_seen_once() -> None:
    objects = [*SAVED]
    objects[2] = ({"kernel": 4, "parent": 0}, "user_object")
    stored = checkpoint(
        ({"layer": 1}, ""), ({"kernel": 2, "parent": 0}, ""), ({}, "kernel/V")
    )
    meta = meta_graph(objects, [4], ["x", "handle"])
    assert checkpoint_keys(meta, stored) == {"handle": "kernel/V"}


def test_a_signature_of_a_module_is_found_by_its_function() -> None:
    objects = [*SAVED]
    objects[3] = ({}, "function")
    meta = meta_graph(objects, [4], ["x", "handle"])
    meta.object_graph_def.nodes[3].function.concrete_functions.append("inner")
    assert checkpoint_keys(meta, STORED) == {"handle": "kernel/V"}


def test_nothing_captured_is_nothing_to_find() -> None:
    assert checkpoint_keys(meta_graph(SAVED, [], ["x"]), STORED) == {}


def test_a_variable_may_be_captured_twice() -> None:
    meta = meta_graph(SAVED, [4, 4], ["x", "same", "same"])
    assert checkpoint_keys(meta, STORED) == {"same": "kernel/V"}


def test_a_call_with_other_inputs_is_refused() -> None:
    meta = meta_graph(SAVED, [4], ["handle"])
    with pytest.raises(Unmatched, match="takes other inputs"):
        checkpoint_keys(meta, STORED)


def test_one_node_for_two_variables_is_refused() -> None:
    objects = [*SAVED, ({}, "variable")]
    objects[0] = ({"signatures": 1, "layer": 2, "other": 5}, "user_object")
    with pytest.raises(Unmatched, match="'same' is two"):
        checkpoint_keys(meta_graph(objects, [4, 5], ["x", "same", "same"]), STORED)


def test_a_variable_that_is_not_stored_is_named() -> None:
    with pytest.raises(Unmatched, match="'handle' is not in the checkpoint"):
        checkpoint_keys(meta_graph(SAVED, [4], ["x", "handle"]), checkpoint(({}, "")))


def test_outputs_of_several_nodes_are_refused() -> None:
    meta = meta_graph(SAVED, [4], ["x", "handle"])
    meta.signature_def["f"].outputs["z"].name = "another:0"
    with pytest.raises(Unmatched, match="not of one call"):
        checkpoint_keys(meta, STORED)


def test_objects_without_signatures_are_refused() -> None:
    objects = [*SAVED]
    objects[0] = ({"layer": 2}, "user_object")
    with pytest.raises(Unmatched, match="not among the objects"):
        checkpoint_keys(meta_graph(objects, [4], ["x", "handle"]), STORED)
