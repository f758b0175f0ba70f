"""Graphs in their stored form, walked."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow.core.framework import graph_pb2

from txinfer.graphs import WRITERS, Graph


def graph(text: str) -> Graph:
    """A graph from the text of a GraphDef."""
    return Graph(text_format.Parse(text, graph_pb2.GraphDef()))


CALLS = """
node { name: "x" op: "Placeholder" }
node { name: "v" op: "VarHandleOp" }
node { name: "w" op: "VariableV2" }
node { name: "init" op: "AssignVariableOp" input: "v" }
node { name: "read" op: "ReadVariableOp" input: "v:0" }
node { name: "pure" op: "Mul" input: "x" input: "read:0" }
node { name: "after" op: "Identity" input: "pure" input: "^init" }
node {
  name: "call" op: "StatefulPartitionedCall" input: "x"
  attr { key: "f" value { func { name: "outer" } } }
}
node {
  name: "case" op: "Case" input: "x"
  attr {
    key: "branches" value { list { func { name: "calm" } func { name: "inner" } } }
  }
}
node { name: "legacy" op: "inner" input: "w:0" }
node {
  name: "calm" op: "PartitionedCall"
  attr { key: "f" value { func { name: "calm" } } }
}
node { name: "loop" op: "NextIteration" input: "loop" input: "^x" input: "gone" }
library {
  function {
    signature { name: "outer" }
    node_def {
      name: "t" op: "While"
      attr { key: "body" value { func { name: "inner" } } }
    }
  }
  function {
    signature { name: "inner" }
    node_def { name: "a" op: "AssignAddVariableOp" }
    node_def { name: "again" op: "outer" }
  }
  function { signature { name: "calm" } node_def { name: "r" op: "RandomUniform" } }
}
"""


class TestWalk:
    @pytest.mark.parametrize("name", ["pure", "pure:0", "calm", "loop", "none"])
    def test_what_only_reads_writes_nothing(self, name: str) -> None:
        assert graph(CALLS).why_stateful([name]) is None

    @pytest.mark.parametrize("name", ["call:1", "case", "legacy"])
    def test_a_write_in_a_function_is_found(self, name: str) -> None:
        why = "it writes state (AssignAddVariableOp)"
        assert graph(CALLS).why_stateful([name]) == why

    def test_a_control_input_is_followed(self) -> None:
        why = "it writes state (AssignVariableOp)"
        assert graph(CALLS).why_stateful(["after:0"]) == why

    def test_variables_are_found_by_what_reads_them(self) -> None:
        assert graph(CALLS).variables(["pure"]) == {"v"}
        assert graph(CALLS).variables(["legacy", "pure"]) == {"v", "w"}
        assert graph(CALLS).variables(["x"]) == set()


# fmt: off
WRITE = (
    "Assign", "AssignAdd", "AssignSub", "AssignVariableOp", "AssignAddVariableOp",
    "ScatterNdUpdate", "ScatterAdd", "ResourceScatterNdAdd",
    "ResourceStridedSliceAssign", "ResourceApplyAdam", "SparseApplyFtrl",
    "ResourceSparseApplyAdagrad", "LookupTableInsertV2", "LookupTableImport",
    "LookupTableRemoveV2", "QueueEnqueueV2", "QueueDequeueManyV2",
    "BarrierTakeMany", "Stage", "MapUnstage", "OrderedMapClear",
    "AccumulatorTakeGradient", "IteratorGetNext", "ReaderReadUpToV2", "PyFunc",
    "EagerPyFunc", "PrintV2", "WriteFile", "WriteScalarSummary", "SaveV2",
    "CountUpTo",
)
# fmt: on

# fmt: off
READ = (
    "ScatterNd", "TensorScatterUpdate", "ScatterNdNonAliasingAdd", "ReadVariableOp",
    "VarHandleOp", "HashTableV2", "InitializeTableV2",
    "InitializeTableFromTextFileV2", "LookupTableFindV2", "LookupTableExportV2",
    "LookupTableSizeV2", "RestoreV2", "RandomUniform", "StackPushV2", "Assert",
    "TensorArrayWriteV3", "QueueSizeV2", "PyFuncStateless",
    "StatefulPartitionedCall", "ReadFile",
)
# fmt: on


@pytest.mark.parametrize("op", WRITE)
def test_a_writer(op: str) -> None:
    assert WRITERS.fullmatch(op)


@pytest.mark.parametrize("op", READ)
def test_no_writer(op: str) -> None:
    assert not WRITERS.fullmatch(op)
