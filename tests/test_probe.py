from __future__ import annotations

import itertools
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.memory import Function, affine, spec
from txinfer.errors import InputRefused
from txinfer.madeup import made_up, png
from txinfer.probe import BELIEVED, PARTS, SHOWN, Finding, probe
from txinfer.tensors import Signature, Tensors

FLOATS = Signature({"x": spec()}, {"y": spec()})


def why(function: Function, signature: Signature = FLOATS) -> str | None:
    """The evidence that rows depend on each other; None if they do not."""
    finding = probe(function, signature)
    return None if finding.independent else finding.evidence


def test_independent_rows_may_be_joined() -> None:
    assert why(lambda t: {"y": t["x"] * 2}) is None


def test_rounding_by_batch_size_is_no_dependence() -> None:
    assert why(lambda t: {"y": t["x"] * (1 + 1e-6 * len(t["x"]))}) is None


def test_a_mean_over_the_batch_is_found() -> None:
    found = why(lambda t: {"y": t["x"] - t["x"].mean()})
    assert found == "a row's result depends on the rows it shares a run with"


def test_a_running_sum_is_found() -> None:
    found = why(lambda t: {"y": np.cumsum(t["x"])})
    assert found == "a row's result depends on its place among the others"


def test_random_results_are_found() -> None:
    random = np.random.default_rng(1)
    found = why(lambda t: {"y": random.random(len(t["x"]))})
    assert found == "two runs on equal rows differ"


def test_a_counter_is_found() -> None:
    count = itertools.count()
    found = why(lambda t: {"y": t["x"] + next(count)})
    assert found == "two runs on equal rows differ"


def test_a_wrong_number_of_rows_is_found() -> None:
    found = why(lambda t: {"y": t["x"][:1]})
    assert found == "output 'y' has not one row for each row put in"


def test_equal_nans_are_equal() -> None:
    assert why(lambda t: {"y": t["x"] * np.float32(np.nan)}) is None


TEXTS = Signature({"x": spec("string")}, {"y": spec("string")})


def test_words_that_leave_their_rows_are_found() -> None:
    def words(tensors: Tensors) -> Tensors:
        return {"y": np.array(b" ".join(tensors["x"]).split(), object)}

    found = why(words, TEXTS)
    assert found == "output 'y' has not one row for each row put in"


def test_strings_that_are_sorted_are_found() -> None:
    found = why(lambda t: {"y": np.sort(t["x"])}, TEXTS)
    assert found == "a row's result depends on its place among the others"


def test_images_are_tried_where_words_are_refused() -> None:
    def sizes(tensors: Tensors) -> Tensors:
        if not all(file.startswith(b"\x89PNG") for file in tensors["x"]):
            raise InputRefused("INVALID_ARGUMENT")
        return {"y": tensors["x"]}

    assert probe(sizes, TEXTS) == Finding(True, SHOWN)


def test_an_output_of_a_size_from_nowhere_is_not_joined() -> None:
    loose = Signature({"x": spec()}, {"y": spec(shape=(None, None))})
    found = why(lambda t: {"y": t["x"][:, None]}, loose)
    assert found == "the size of a row of output 'y' may depend on other rows"


def test_an_output_of_a_size_that_an_input_has_may_be_joined() -> None:
    signature = Signature(
        {"x": spec(shape=(None, None))}, {"y": spec(shape=(None, None))}
    )
    assert why(lambda t: {"y": -t["x"]}, signature) is None


def test_nothing_huge_is_made_up() -> None:
    huge = (None, 100_000, None, None, None)
    signature = Signature({"x": spec(shape=huge)}, {"y": spec()})
    assert list(made_up(signature)) == []
    assert probe(affine, signature) == Finding(True, BELIEVED)


@pytest.mark.parametrize("error", [InputRefused("INVALID_ARGUMENT"), RuntimeError()])
def test_inputs_that_are_refused_show_nothing(error: Exception) -> None:
    def refuse(tensors: Tensors) -> Tensors:
        raise error

    assert why(refuse) is None


def test_a_larger_size_is_tried_if_the_first_is_refused() -> None:
    shapes = []

    def picky(tensors: Tensors) -> Tensors:
        shapes.append(tensors["x"].shape)
        if tensors["x"].shape[1] < 64:
            raise InputRefused("INVALID_ARGUMENT")
        return {"y": np.cumsum(tensors["x"][:, 0])}

    signature = Signature({"x": spec(shape=(None, None))}, {"y": spec()})
    assert why(picky, signature) is not None
    assert shapes[:3] == [(3, 8), (3, 3), (3, 128)]


@pytest.mark.parametrize("name", ["float32", "int32", "uint8"])
def test_numbers_above_0_are_tried_where_others_are_refused(name: str) -> None:
    def totals(tensors: Tensors) -> Tensors:
        if not (tensors["x"] > 0).all():
            raise InputRefused("INVALID_ARGUMENT")
        return {"y": np.cumsum(tensors["x"])}

    signature = Signature({"x": spec(name)}, {"y": spec(name)})
    assert why(totals, signature) == (
        "a row's result depends on its place among the others"
    )


@pytest.mark.parametrize(
    "name",
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)],
)
def test_no_two_made_up_rows_are_equal(name: str) -> None:
    for candidate in made_up(Signature({"x": spec(name)}, {})):
        x = candidate["x"]
        assert x.dtype == name
        assert len(set(x.tolist())) == len(x) == 3


def test_made_up_rows_are_the_same_each_time() -> None:
    signature = Signature({"x": spec(shape=(None, 2, None))}, {})
    x = next(made_up(signature))["x"]
    assert x.shape == (3, 2, 8)
    assert (x == next(made_up(signature))["x"]).all()


@pytest.mark.parametrize("side", [1, 2, 28])
def test_made_up_images_are_images(side: int) -> None:
    image = Image.open(BytesIO(png(side, 77)))
    assert image.size == (side, side)
    assert image.getextrema() == (77, 77)


@pytest.mark.parametrize("values", ["float32", "int64", "string"])
def test_parts_of_a_ragged_tensor_have_rows_of_their_own(values: str) -> None:
    def lengths(tensors: Tensors) -> Tensors:
        splits = tensors["x_1"]
        if splits[0] != 0 or splits[-1] != len(tensors["x"]):
            raise InputRefused("INVALID_ARGUMENT")
        return {"y": np.diff(splits).astype(np.float32)}

    signature = Signature(
        {"x": spec(values), "x_1": spec("int64")}, {"y": spec("float32")}
    )
    finding = probe(lengths, signature)
    assert (finding.independent, finding.evidence) == (False, PARTS)
    assert finding.parts is not None
    assert [len(array) for array in finding.parts.values()] == [2, 3]


def test_inputs_that_are_refused_at_any_length_are_believed_to_be_tied() -> None:
    def refuse(tensors: Tensors) -> Tensors:
        raise InputRefused("INVALID_ARGUMENT")

    signature = Signature({"a": spec(), "b": spec("int64")}, {"y": spec()})
    assert probe(refuse, signature) == Finding(True, BELIEVED)
