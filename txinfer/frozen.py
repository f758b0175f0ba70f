"""A SavedModel's signatures in a session of their own, variables as constants.

Only what the signatures need is taken out of the graph, and the values come
from the checkpoint without the Python objects that ``tf.saved_model.load`` makes
of it. That is loaded faster than by either of TensorFlow's loaders, is smaller,
and runs faster. What is not known to behave the same is left to them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import (
    meta_graph_pb2,
    saved_model_pb2,
    trackable_object_graph_pb2,
)

from . import layout
from .captures import checkpoint_keys
from .freeze import Unfrozen, freeze
from .graphs import Graph, node_name
from .session import (
    Assignment,
    Opened,
    ends_of,
    import_graph,
    open_session,
    outputs_of,
    public,
    read,
    setness,
    sort_out,
)

#: Where a checkpoint keeps its ``TrackableObjectGraph``.
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"

#: The signature and the collections that name what makes tables ready, first
#: come first served (``saved_model/constants.py``).
INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
ASSETS_COLLECTION = "saved_model_assets"

#: What a checkpoint restores into a session besides variables.
KEPT_STATE = re.compile(
    r"(Mutable|Anonymous|BoostedTrees)\w*|TemporaryVariable"
    r"|\w+(Queue|Iterator|Barrier|Accumulator|Reader)(V\d)?"
)
STATIC_TABLES = frozenset(("HashTable", "HashTableV2"))
RESTORERS = frozenset(("Assign", "AssignVariableOp"))

# Variables that turn out to be written one by one; with more of them the model
# is one that trains.
MOST_WRITTEN = 8


# Signatures up to which TensorFlow optimizes the graph, for each of them, and begins
# with the whole of it each time. It does not where each is to place just what it
# needs, by which a load of 200 signatures takes a quarter of the time; but a run of a
# MobileNet takes 1.4 times as long.
MOST_OPTIMIZED = 16


class Unfit(Exception):
    """A model that has to be loaded by TensorFlow itself; the text says why."""


def from_checkpoint(
    path: str, tags: Sequence[str], config: Any, most_bytes: int
) -> Opened:
    """Open a SavedModel of TensorFlow 2, with values read from its checkpoint.

    Args:
        path: the SavedModel folder.
        tags: of the graph.
        config: of the session, a ``ConfigProto``.
        most_bytes: of variables that become constants.

    Raises:
        Unfit: it is to be loaded in another way.
        Exception: so it is.
    """
    meta = _meta_graph(path, tags)
    if not meta.object_graph_def.nodes:
        raise Unfit("it has no objects")
    walk = Graph(meta.graph_def)
    wanted = walk.variables(outputs_of(public(meta.signature_def)))
    wanted -= walk.variables(_init_op(meta))
    values = _stored(path, meta, wanted)
    return _open(path, meta, walk, values, (), config, most_bytes)


def from_session(path: str, opened: Opened, config: Any, most_bytes: int) -> Opened:
    """Open a SavedModel anew, with the values that its variables have in a session.

    Raises:
        Unfit: it is to be run as it is.
        Exception: so it is.
    """
    meta, walk = opened.meta, opened.walk
    wanted = walk.variables(outputs_of(public(meta.signature_def)))
    wanted -= walk.variables(_init_op(meta))
    values = read(opened.session, wanted.difference(opened.unset))
    return _open(path, meta, walk, values, opened.unset, config, most_bytes)


def _open(
    path: str,
    meta: Any,
    walk: Graph,
    values: Mapping[str, Any],
    unset: Sequence[str],
    config: Any,
    most_bytes: int,
) -> Opened:
    definitions = public(meta.signature_def)
    _refuse_state(meta, walk, definitions)
    chosen = _smallest(walk, definitions, values, most_bytes)
    graph_def, frozen = _frozen(walk, _needed(meta, definitions), chosen)
    config.graph_options.place_pruned_graph = len(definitions) > MOST_OPTIMIZED
    # What a callable runs is kept once.
    config.experimental.disable_output_partition_graphs = True
    session = open_session(config)
    graph = session.graph
    try:
        with graph.as_default():
            operators = meta.meta_info_def.stripped_op_list
            import_graph(graph_def, operators)
        del graph_def
        ends, refused = sort_out(
            definitions, lambda it: ends_of(graph, walk, it, unset)
        )
        rest = {name: it for name, it in values.items() if name not in frozen}
        others = walk.variables(outputs_of(definitions)).difference(values, unset)
        init_op = _init_op(meta)
        if all(node.op == "NoOp" for node in walk.nodes(init_op)):
            # For any run the session prepares the whole graph.
            init_op = []
        _fill(session, rest, others, init_op, _assets(path, meta))
    except BaseException:
        session.close()
        raise
    how = _told(values, frozen)
    is_bare = not (init_op or rest or others)
    return Opened(session, meta, walk, ends, refused, unset, how, len(frozen), is_bare)


def _fill(
    session: Any,
    values: Mapping[str, Any],
    others: Iterable[str],
    init_op: Sequence[str],
    assets: Mapping[str, str],
) -> None:
    """Give variables and tables what they hold.

    Args:
        session: with the graph in it; nothing has run yet.
        values: of variables.
        others: the variables that the init op gives their values.
        init_op: its name, if there is one.
        assets: the files that tables are filled from, by tensors.
    """
    # All ops are made before anything runs: each extension copies the graph.
    assignment = Assignment(session.graph, values)
    checks = setness(session.graph, others)
    assignment.run(session)
    for name in init_op:
        session.run(session.graph.get_operation_by_name(name), assets)
    for name, is_set in session.run(checks).items():
        if not is_set:
            raise Unfit(f"variable '{name}' has no value")


def _meta_graph(path: str, tags: Sequence[str]) -> Any:
    """The ``MetaGraphDef`` that has exactly these tags."""
    try:
        with open(os.path.join(path, layout.BINARY), "rb") as file:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
    except OSError as error:
        raise Unfit(f"no {layout.BINARY}") from error
    for meta in saved.meta_graphs:
        if set(meta.meta_info_def.tags) == set(tags):
            return meta
    raise Unfit("no graph has these tags")


def _stored(path: str, meta: Any, wanted: set[str]) -> dict[str, Any]:
    """The values of variables in the checkpoint, by the names of their nodes."""
    if not wanted:
        return {}
    checkpoint = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
    stored = checkpoint.get_tensor(OBJECTS)
    objects = trackable_object_graph_pb2.TrackableObjectGraph.FromString(stored)
    keys = checkpoint_keys(meta, objects)
    if lost := wanted - keys.keys():
        raise Unfit(f"variable '{min(lost)}' is not stored")
    values = {name: checkpoint.get_tensor(keys[name]) for name in sorted(wanted)}
    for node in meta.graph_def.node:
        if node.name in values:
            shape = tf.TensorShape(node.attr["shape"].shape)
            if not shape.is_compatible_with(values[node.name].shape):
                raise Unfit(f"variable '{node.name}' is stored of another shape")
    return values


def _init_op(meta: Any) -> list[str]:
    """The name of the node that makes tables ready, if there is one."""
    if INIT_SIGNATURE in meta.signature_def:
        outputs = meta.signature_def[INIT_SIGNATURE].outputs
        return [node_name(outputs[INIT_SIGNATURE].name)]
    for collection in INIT_COLLECTIONS:
        if collection in meta.collection_def:
            return list(meta.collection_def[collection].node_list.value)
    return []


def _assets(path: str, meta: Any) -> dict[str, str]:
    """What the init op is fed: the path of a file, by the name of a tensor."""
    return {
        it.tensor_info.name: os.path.join(path, "assets", it.filename)
        for it in _asset_files(meta)
    }


def _asset_files(meta: Any) -> list[Any]:
    """The ``AssetFileDef`` s of a graph, or of a collection of the same name."""
    if meta.asset_file_def or ASSETS_COLLECTION not in meta.collection_def:
        return list(meta.asset_file_def)
    found = []
    for packed in meta.collection_def[ASSETS_COLLECTION].any_list.value:
        found.append(meta_graph_pb2.AssetFileDef())
        packed.Unpack(found[-1])
    return found


def _refuse_state(meta: Any, walk: Graph, definitions: Mapping[str, Any]) -> None:
    """See that nothing but variables, and tables made by the init op, is read."""
    made = {node.name for node in walk.nodes(_init_op(meta))}
    for node in walk.nodes(outputs_of(definitions)):
        is_table = node.op in STATIC_TABLES
        if KEPT_STATE.fullmatch(node.op) or (is_table and node.name not in made):
            raise Unfit(f"it has a {node.op}")
    for op in walk.writers([meta.saver_def.restore_op_name]):
        if op not in RESTORERS:
            raise Unfit(f"it is restored by {op}")


def _needed(meta: Any, definitions: Mapping[str, Any]) -> list[str]:
    """The tensors and nodes that everything is made for."""
    sides = [side for it in definitions.values() for side in (it.inputs, it.outputs)]
    names = [info.name for side in sides for info in side.values() if info.name]
    assets = [it.tensor_info.name for it in _asset_files(meta)]
    return [*names, *_init_op(meta), *assets]


def _smallest(
    walk: Graph,
    definitions: Mapping[str, Any],
    values: Mapping[str, Any],
    most_bytes: int,
) -> dict[str, Any]:
    """The variables to become constants: the smallest, up to so many bytes.

    A constant is there once for each signature that reads it. Small variables
    are most of what there is to read in a run, and of what can be folded.
    """
    users = Counter(
        name
        for it in definitions.values()
        for name in walk.variables(outputs_of({"": it}))
    )
    chosen = {}
    for name in sorted(values, key=lambda name: values[name].nbytes):
        most_bytes -= values[name].nbytes * users[name]
        if most_bytes < 0:
            break
        chosen[name] = values[name]
    return chosen


def _frozen(
    walk: Graph, needed: Sequence[str], values: Mapping[str, Any]
) -> tuple[Any, set[str]]:
    """What is needed of a graph, and the variables that are constants in it.

    Those that something may write stay variables.
    """
    constants = {name: tf.make_tensor_proto(value) for name, value in values.items()}
    for _ in range(MOST_WRITTEN):
        graph_def = walk.pruned(needed)
        for node in graph_def.node:
            # Neighbours on a device may have been left out.
            node.attr.pop("_class", None)
        try:
            freeze(graph_def, constants)
        except Unfrozen as written:
            del constants[written.variable]
            continue
        return graph_def, constants.keys() & values.keys()
    raise Unfit("many variables are written")


def _told(values: Mapping[str, Any], frozen: set[str]) -> str:
    """What became of the variables, in words."""
    if not values:
        return "it has no variables"
    if not frozen:
        return f"its {len(values)} variables are read in each run"
    if len(frozen) == len(values):
        return f"its {len(values)} variables are constants"
    size = sum(values[name].nbytes for name in frozen) / 2**20
    whole = sum(value.nbytes for value in values.values()) / 2**20
    return (
        f"{len(frozen)} of its {len(values)} variables are constants, "
        f"{size:.1f} of {whole:.1f} MiB"
    )
