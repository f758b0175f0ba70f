"""What a person is told of the methods, and whether a shell understands it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import pytest

from tests.memory import MemoryModel, spec
from txinfer.describe import LONGEST_BODY, curl_line, lines
from txinfer.methods import Method
from txinfer.probe import BELIEVED, Finding
from txinfer.tensors import Signature, TensorSpec

CURL = "curl http://h:1/"

# Shows what a shell makes of a line: curl's arguments, then what is piped into it.
SHOW = r"""
curl() {
    printf '%s\0' "$@"
    if [ "$3" = @- ]; then cat; fi
}
"""

AWKWARD = """it's a "name" of $HOME; `é` \\ & 日本"""


FIRST: Mapping[str, Any] = {"x": [0]}


def method(
    name: str = "serving_default",
    inputs: Mapping[str, TensorSpec] | None = None,
    direct: str | None = None,
    sample: Mapping[str, Any] | None = FIRST,
) -> Method:
    """A method of these inputs, with one output."""
    signature = Signature(inputs or {"x": spec()}, {"y": spec()})
    nobody = cast(Any, None)
    finding = Finding(direct is None, direct or "shown")
    return Method(name, MemoryModel({name: signature}), nobody, finding, sample)


def curl(line: str) -> tuple[str, Any]:
    """The URL and the JSON value that a line makes a shell hand to curl."""
    done = subprocess.run(
        ["sh", "-c", SHOW + line], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    url, option, data, piped = done.stdout.split("\0")
    assert option == "-d"
    assert (data == "@-") == bool(piped)
    return url, json.loads(piped or data)


# Lines


def test_a_batched_method_is_told_with_the_largest_batch() -> None:
    inputs = {"image": spec("string"), "size": spec("int32", (None, 2))}
    sample = {"image": ["hello"], "size": [[0, 0]]}
    assert list(lines([method("names", inputs, sample=sample)], 32, CURL, False)) == [
        "names: image string [-1], size int32 [-1, 2] -> y float32 [-1]",
        "  batched, up to 32 rows a run",
        """  curl http://h:1/names -d '{"image":["hello"],"size":[[0,0]]}'""",
    ]


def test_a_direct_method_is_told_with_the_reason() -> None:
    inputs = {"x": spec("bool", ()), "z": spec("int8", None)}
    told = list(
        lines([method("f", inputs, "it is alone", {"x": False})], 1, CURL, False)
    )
    assert told[0].startswith("f: x bool [], z int8 ")
    assert told[1:] == [
        "  one call a run: it is alone",
        """  curl http://h:1/f -d '{"x":false}'""",
    ]


def test_a_method_without_inputs_takes_nothing() -> None:
    signature = Signature({}, {"y": spec()})
    model = MemoryModel({"f": signature})
    nothing = Method("f", model, cast(Any, None), Finding(False, "no inputs"), {})
    told = list(lines([nothing], 1, CURL, False))
    assert told[0] == "f: nothing -> y float32 [-1]"
    assert told[2] == "  curl http://h:1/f -d '{}'"


def test_each_method_has_its_lines_in_order() -> None:
    told = list(lines([method("b"), method("a")], 1, CURL, False))
    assert [line[:2] for line in told] == ["b:", "  ", "  ", "a:", "  ", "  "]


# Curl lines


def test_the_default_method_is_called_at_the_root() -> None:
    line = curl_line(method(sample={"x": [0]}), CURL, False)
    assert line == """curl http://h:1/ -d '{"x":[0]}'"""


def test_awkward_names_reach_curl_whole() -> None:
    inputs = {AWKWARD: spec("string")}
    sample = {AWKWARD: [AWKWARD]}
    line = curl_line(method(AWKWARD, inputs, sample=sample), CURL, False)
    assert curl(line) == (f"http://h:1/{quote(AWKWARD)}", sample)


@pytest.mark.parametrize("name", ["x", AWKWARD])
def test_a_long_body_is_made_by_python(name: str) -> None:
    inputs = {name: spec("float32", (None, 28, 28)), "b": spec("bool")}
    sample = {name: [[[0] * 28] * 28], "b": [False]}
    line = curl_line(method("f", inputs, sample=sample), CURL, False)
    assert line.startswith("python3 -c ")
    assert len(line) < LONGEST_BODY
    assert curl(line) == ("http://h:1/f", sample)


def test_a_long_row_and_a_long_text_are_made_by_python_as_well() -> None:
    inputs = {"x": spec("string", (None, 200)), "z": spec("int32", (None, 1))}
    sample = {"x": [["hello"] * 200], "z": [[0]]}
    taken = method("f", inputs, sample=sample)
    assert curl(curl_line(taken, CURL, True))[1] == {"x": ["hello"] * 200, "z": [0]}
    text = {"x": [[{"b64": "A" * LONGEST_BODY}]]}
    taken = method("f", {"x": spec("string", (None, 1))}, sample=text)
    assert curl(curl_line(taken, CURL, False))[1] == text


def test_where_an_object_is_one_example_the_sample_is() -> None:
    line = curl_line(method(sample={"x": [0]}), CURL, True)
    assert line == """curl http://h:1/ -d '{"x":0}'"""


def test_a_method_that_does_not_work_by_rows_has_no_examples() -> None:
    inputs = {"x": spec("float32", (2,))}
    line = curl_line(method("f", inputs, "why", {"x": [0, 0]}), CURL, True)
    assert line == """curl http://h:1/f -d '{"x":[0,0]}'"""


def test_without_a_sample_no_line_is_claimed_to_work() -> None:
    told = curl_line(method(sample=None), CURL, False)
    assert told == "(no example: it refused all the values that were made up)"


def test_what_was_not_checked_is_told() -> None:
    signature = Signature({"x": spec()}, {"y": spec()})
    model = MemoryModel({"f": signature})
    believed = Method("f", model, cast(Any, None), Finding(True, BELIEVED), FIRST)
    told = list(lines([believed], 8, CURL, False))
    assert told[1] == f"  batched, up to 8 rows a run ({BELIEVED})"
