"""What an answer is written as: JSON or numpy's files, gzip or plain."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from twisted.internet.task import Clock
from twisted.web.resource import IResource
from twisted.web.server import Site

from tests.test_native import COLUMNS, METHODS, ROWS, Bench, signature
from tests.web_client import Answer, WebClient
from txinfer.codings import STEP, WORTH_PACKING
from txinfer.limits import CallLimits
from txinfer.tensors import Array, Signature, Tensors, TensorSpec
from txinfer.web import Root

NPY, NPZ = "application/x-npy", "application/x-npz"

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def half(tensors: Tensors) -> Tensors:
    return {"y": (tensors["x"] / 2).astype(np.float32), "z": tensors["x"] > 1}


def ramp(tensors: Tensors) -> Tensors:
    """Rows of as many numbers as the largest input says."""
    rows, size = len(tensors["n"]), int(tensors["n"].max())
    return {"y": np.arange(rows * size, dtype=np.float32).reshape(rows, size)}


def center(tensors: Tensors) -> Tensors:
    return {"y": tensors["x"] - tensors["x"].mean()}


METHODS_HERE = {
    **METHODS,
    "double": (
        signature({"x": ("float32", (None, 2))}, {"y": ("float32", (None, 2))}),
        lambda tensors: {"y": tensors["x"] * 2},
    ),
    "half": (
        signature(
            {"x": ("float64", (None,))},
            {"y": ("float32", (None,)), "z": ("bool", (None,))},
        ),
        half,
    ),
    "ramp": (
        signature({"n": ("int32", (None,))}, {"y": ("float32", (None, None))}),
        ramp,
    ),
    "mixing": (
        signature({"x": ("float32", (None,))}, {"y": ("float32", (None,))}),
        center,
    ),
}


class Asking(Bench):
    """A bench whose clients say what they take."""

    def ask(self, path: str, value: object, **headers: str) -> Answer:
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        body = json.dumps(value).encode()
        connection = self.web.begin("POST", path, body, fields)
        self.threads.finish()
        self.clock.advance(0)
        return connection.answer()

    def array(self, path: str, value: object, accept: str = NPY) -> Array:
        answer = self.ask(path, value, Accept=accept)
        assert (answer.status, answer["Content-Type"]) == (200, NPY), answer.body
        assert answer["Vary"] == "Accept"
        array: Array = np.load(io.BytesIO(answer.body), allow_pickle=False)
        return array

    def arrays(self, path: str, value: object, accept: str = NPZ) -> dict[str, Array]:
        answer = self.ask(path, value, Accept=accept)
        assert (answer.status, answer["Content-Type"]) == (200, NPZ), answer.body
        with np.load(io.BytesIO(answer.body), allow_pickle=False) as archive:
            return dict(archive)


@pytest.fixture
def bench() -> Asking:
    asking = Asking(methods=METHODS_HERE)
    asking.load()
    return asking


def same(array: Array, dtype: Any, value: object) -> bool:
    return (array.dtype, array.tolist()) == (np.dtype(dtype), value)


# Arrays


def test_one_output_is_an_array_if_asked_for(bench: Asking) -> None:
    made = bench.array("/double", {"x": [[1, 2], [3, 4]]})
    assert same(made, "float32", [[2.0, 4.0], [6.0, 8.0]])


def test_the_form_of_the_array_is_that_of_the_call(bench: Asking) -> None:
    assert same(bench.array("/double", {"x": [1, 2]}), "float32", [2.0, 4.0])
    made = bench.array("/double", [{"x": [1, 2]}, {"x": [3, 4]}])
    assert same(made, "float32", [[2.0, 4.0], [6.0, 8.0]])
    assert bench.array("/double", []).shape == (0, 2)


def test_several_outputs_are_an_archive_if_asked_for(bench: Asking) -> None:
    made = bench.arrays("/half", {"x": [1, 3]})
    assert list(made) == ["y", "z"]
    assert same(made["y"], "float32", [0.5, 1.5])
    assert same(made["z"], "bool", [False, True])
    made = bench.arrays("/half", {"x": 3})
    assert same(made["y"], "float32", 1.5)


def test_methods_without_rows_give_arrays_too(bench: Asking) -> None:
    assert same(bench.array("/answer", {}), "int32", 42)
    assert same(bench.array("/scalar", {"x": 3}), "float64", 1.5)
    assert same(bench.array("/total", {"x": [3, 4]}), "int32", 7)
    answer = bench.ask("/total", [{"x": [3]}, {"x": [4]}], Accept=NPY)
    assert (answer.status, answer.error) == (
        406,
        "a list of examples of this method is answered in JSON",
    )


def test_examples_that_are_called_one_by_one_are_joined(bench: Asking) -> None:
    made = bench.array("/mixing", [{"x": 1}, {"x": 3}])
    assert same(made, "float32", [0.0, 0.0])


def test_rows_of_different_shapes_are_no_array() -> None:
    """A method that must be called row by row, and gives rows of any size."""
    bench = Asking(methods=METHODS_HERE)
    bench.load()
    assert not json.loads(bench.get("/ramp").body)["batched"]
    answer = bench.ask("/ramp", [{"n": 1}, {"n": 2}], Accept=NPY)
    assert (answer.status, answer.error) == (
        406,
        "the rows are of different shapes; ask for JSON",
    )
    assert bench.array("/ramp", [{"n": 2}, {"n": 2}]).shape == (2, 2)


def test_what_json_has_no_number_for_is_in_an_array(bench: Asking) -> None:
    assert np.isnan(bench.array("/odd", {"x": [1]})).all()


def test_bfloat16_is_given_as_float32() -> None:
    def same_again(tensors: Tensors) -> Tensors:
        return {"y": tensors["x"]}

    spec = TensorSpec("bfloat16", BFLOAT16, (None,))
    method = Signature({"x": spec}, {"y": spec})
    bench = Asking(methods={"serving_default": (method, same_again)})
    bench.load()
    assert same(bench.array("/", {"x": [0.5]}), "float32", [0.5])


@pytest.mark.parametrize(
    "accept",
    [
        "application/X-NPY",
        f"{NPY}, application/json",
        f"application/json;q=0.9, {NPY};q=0.9",
        f"text/html, */*;q=0.1, {NPY};q=0.5",
        f"{NPZ};q=0.1, {NPY};q=0.5",
    ],
)
def test_who_names_an_array_as_much_as_json_gets_one(
    bench: Asking, accept: str
) -> None:
    assert bench.array("/double", {"x": [1, 2]}, accept).shape == (2,)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "application/*",
        "application/json",
        "text/html",
        "application/octet-stream",
        f"application/json, {NPY};q=0.5",
        f"{NPY};q=0",
        f"{NPY};q=0.5, */*",
        f"{NPY};q=x",
    ],
)
def test_everybody_else_gets_json(bench: Asking, accept: str) -> None:
    assert bench.ask("/double", {"x": [1, 2]}, Accept=accept).value == {"y": [2.0, 4.0]}


def test_what_cannot_be_is_refused_before_the_model_runs(bench: Asking) -> None:
    bench.model.calls.clear()
    text = "output 'text' is of strings, which have no form in numpy's files"
    for accept in (NPY, NPZ, f"{NPZ}, {NPY}"):
        answer = bench.ask("/", COLUMNS, Accept=accept)
        assert (answer.status, answer.error) == (406, text)
    answer = bench.ask("/half", {"x": [1]}, Accept=NPY)
    assert (answer.status, answer.error) == (
        406,
        "application/x-npy holds one output; ask for application/x-npz",
    )
    assert not bench.model.calls


def test_what_cannot_be_is_given_as_what_can(bench: Asking) -> None:
    assert (
        bench.ask("/half", {"x": [1]}, Accept=f"{NPY}, {NPZ};q=0.1").body[:2] == b"PK"
    )
    answer = bench.ask("/", ROWS, Accept=f"{NPZ}, */*;q=0.1")
    assert answer["Content-Type"] == "application/json"


def test_errors_are_json_whatever_is_asked_for(bench: Asking) -> None:
    answer = bench.ask("/double", {"x": 1}, Accept=NPY)
    assert answer.error == "input 'x': expected shape [-1, 2], got []"


# gzip

#: Numbers of a row that make JSON too short, and long enough, to be compressed.
FEW, MANY = 200, 400


@pytest.mark.parametrize(
    "accept", ["gzip", "br, gzip;q=0.5", "gzip, deflate, br, zstd"]
)
def test_a_long_answer_is_compressed_if_asked_for(bench: Asking, accept: str) -> None:
    plain = bench.ask("/ramp", {"n": MANY})
    assert len(plain.body) >= WORTH_PACKING
    answer = bench.ask("/ramp", {"n": MANY}, Accept_Encoding=accept)
    assert (answer["Content-Encoding"], answer["Vary"]) == ("gzip", "Accept-Encoding")
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Length"] == str(len(answer.body))
    assert gzip.decompress(answer.body) == plain.body
    assert len(answer.body) < len(plain.body) / 2


def test_a_short_answer_is_not(bench: Asking) -> None:
    answer = bench.ask("/ramp", {"n": FEW}, Accept_Encoding="gzip")
    assert len(answer.body) < WORTH_PACKING
    assert answer["Content-Encoding"] is answer["Vary"] is None


def test_who_does_not_ask_gets_it_plain(bench: Asking) -> None:
    answer = bench.ask("/ramp", {"n": MANY})
    assert answer["Content-Encoding"] is answer["Vary"] is None
    for accept in ("identity", "gzip;q=0", "br", "*", "gzip;q=0.5, identity;q=0.9"):
        answer = bench.ask("/ramp", {"n": MANY}, Accept_Encoding=accept)
        assert answer["Content-Encoding"] is None
        assert answer["Vary"] == "Accept-Encoding"
        assert answer.value


def test_arrays_are_not_compressed(bench: Asking) -> None:
    answer = bench.ask("/ramp", {"n": MANY}, Accept=NPY, Accept_Encoding="gzip")
    assert answer["Content-Encoding"] is None


def test_the_reactor_turns_while_a_large_answer_is_compressed(bench: Asking) -> None:
    value = json.dumps({"n": 100_000}).encode()
    headers = {"Accept-Encoding": "gzip"}
    connection = bench.web.begin("POST", "/ramp", value, headers)
    bench.threads.finish()
    assert not connection.received
    bench.clock.advance(0)
    body = gzip.decompress(connection.answer().body)
    assert len(body) > 2 * STEP
    assert json.loads(body)["y"][-1] == 99_999


def test_a_client_that_hangs_up_stops_the_compressing(bench: Asking) -> None:
    value = json.dumps({"n": 100_000}).encode()
    connection = bench.web.begin("POST", "/ramp", value, {"Accept-Encoding": "gzip"})
    bench.threads.finish()
    timers = len(bench.clock.getDelayedCalls())
    connection.hang_up()
    # What is left is the deadlines' only timer.
    assert len(bench.clock.getDelayedCalls()) == timers - 1


def test_the_listing_is_compressed_too(bench: Asking) -> None:
    plain = bench.get("/")
    answer = bench.web.get("/", Accept_Encoding="gzip")
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == plain.body
    head = bench.web.ask("HEAD", "/", None, {"Accept-Encoding": "gzip"})
    assert (head["Content-Length"], head.body) == (answer["Content-Length"], b"")


class Compressing(Root):
    """A site's own way of compressing, as Twisted's: told by the header."""

    def getChildWithDefault(self, path: bytes, request: Any) -> IResource:
        request.setHeader(b"Content-Encoding", b"gzip")
        return super().getChildWithDefault(path, request)


def test_what_a_site_compresses_is_left_to_it(bench: Asking) -> None:
    root = Compressing(bench.root._api)
    client = WebClient(root, Site(root, reactor=Clock()))
    answer = client.get("/", Accept_Encoding="gzip")
    assert json.loads(answer.body)


# Limits


@pytest.mark.parametrize(
    ("value", "size"),
    [([{"n": 3}] * 4, 4 * 12), ({"n": [3] * 4}, 24), ({"n": 12}, 21)],
)
def test_an_answer_in_json_has_as_many_elements_as_the_limit(
    value: Any, size: int
) -> None:
    for most, status in ((size, 200), (size - 1, 413)):
        bench = Asking(methods=METHODS_HERE, limits=CallLimits(output_elements=most))
        bench.load()
        answer = bench.ask("/ramp", value)
        assert answer.status == status
    assert answer.error == (
        f"output 'y': the answer would have more than {size - 1} elements"
    )


@pytest.mark.parametrize("value", [[{"n": 3}] * 4, {"n": [3] * 4}, {"n": 12}])
def test_an_answer_in_arrays_has_as_many_bytes_as_the_limit(value: Any) -> None:
    for most, status in ((48, 200), (47, 413)):
        limits = CallLimits(output_elements=1, tensor_size=most)
        bench = Asking(methods=METHODS_HERE, limits=limits)
        bench.load()
        answer = bench.ask("/ramp", value, Accept=NPY)
        assert answer.status == status
    assert answer.error == "output 'y': the answer would have more than 47 bytes"
