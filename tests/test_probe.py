from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.memory import Function, spec
from txinfer.errors import InputRefused
from txinfer.probe import dependence, made_up
from txinfer.tensors import Signature, Tensors

FLOATS = Signature({"x": spec()}, {"y": spec()})


def probe(function: Function, signature: Signature = FLOATS) -> str | None:
    return dependence(function, signature)


def test_independent_rows_may_be_joined() -> None:
    assert probe(lambda t: {"y": t["x"] * 2}) is None


def test_rounding_by_batch_size_is_no_dependence() -> None:
    assert probe(lambda t: {"y": t["x"] * (1 + 1e-6 * len(t["x"]))}) is None


def test_a_mean_over_the_batch_is_found() -> None:
    why = probe(lambda t: {"y": t["x"] - t["x"].mean()})
    assert why == "a row's result depends on the rows it shares a run with"


def test_a_running_sum_is_found() -> None:
    why = probe(lambda t: {"y": np.cumsum(t["x"])})
    assert why == "a row's result depends on its place among the others"


def test_random_results_are_found() -> None:
    random = np.random.default_rng(1)
    why = probe(lambda t: {"y": random.random(len(t["x"]))})
    assert why == "two runs on equal rows differ"


def test_a_counter_is_found() -> None:
    count = itertools.count()
    why = probe(lambda t: {"y": t["x"] + next(count)})
    assert why == "two runs on equal rows differ"


def test_a_wrong_number_of_rows_is_found() -> None:
    why = probe(lambda t: {"y": t["x"][:1]})
    assert why == "output 'y' has not one row for each row put in"


def test_equal_nans_are_equal() -> None:
    assert probe(lambda t: {"y": t["x"] * np.float32(np.nan)}) is None


def test_strings_cannot_be_made_up() -> None:
    signature = Signature({"x": spec("string")}, {"y": spec()})
    assert probe(lambda t: pytest.fail("was run"), signature) is None


@pytest.mark.parametrize("error", [InputRefused("INVALID_ARGUMENT"), RuntimeError()])
def test_inputs_that_are_refused_show_nothing(error: Exception) -> None:
    def refuse(tensors: Tensors) -> Tensors:
        raise error

    assert probe(refuse) is None


def test_a_larger_size_is_tried_if_the_first_is_refused() -> None:
    shapes = []

    def picky(tensors: Tensors) -> Tensors:
        shapes.append(tensors["x"].shape)
        if tensors["x"].shape[1] < 64:
            raise InputRefused("INVALID_ARGUMENT")
        return {"y": np.cumsum(tensors["x"][:, 0])}

    signature = Signature({"x": spec(shape=(None, None))}, {"y": spec()})
    assert probe(picky, signature) is not None
    assert shapes[:2] == [(3, 8), (3, 128)]


@pytest.mark.parametrize(
    "name",
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)],
)
def test_made_up_integers_differ_from_their_neighbours(name: str) -> None:
    x = made_up(Signature({"x": spec(name)}, {}), 8)["x"]
    assert x.dtype == name
    assert x.shape == (3,)
    assert x[0] != x[1]
    assert x[1] != x[2]


def test_made_up_rows_are_the_same_each_time() -> None:
    signature = Signature({"x": spec(shape=(None, 2, None))}, {})
    x = made_up(signature, 8)["x"]
    assert x.shape == (3, 2, 8)
    assert (x == made_up(signature, 8)["x"]).all()
