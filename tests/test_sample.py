from __future__ import annotations

import pytest

from tests.memory import spec
from txinfer.errors import InputRefused
from txinfer.sample import IMAGE, find_sample, made_up
from txinfer.tensors import Signature, Tensors


def accept(tensors: Tensors) -> Tensors:
    return {}


def refuse(tensors: Tensors) -> Tensors:
    raise InputRefused("INVALID_ARGUMENT")


def only_images(tensors: Tensors) -> Tensors:
    if not tensors["image"][0].startswith(b"\x89PNG"):
        raise InputRefused("INVALID_ARGUMENT")
    return {}


def test_the_first_values_that_are_accepted_are_the_sample() -> None:
    signature = Signature({"x": spec(), "n": spec("int32", (None, 2))}, {})
    assert find_sample(accept, signature) == {"x": [0], "n": [[0, 0]]}


def test_a_model_that_reads_images_is_given_one() -> None:
    signature = Signature({"image": spec("string")}, {})
    assert find_sample(only_images, signature) == {"image": [IMAGE]}


def test_a_model_that_divides_is_not_given_0() -> None:
    def divide(tensors: Tensors) -> Tensors:
        if not tensors["x"].all():
            raise InputRefused("INVALID_ARGUMENT")
        return {}

    signature = Signature({"x": spec("int32"), "on": spec("bool")}, {})
    assert find_sample(divide, signature) == {"x": [1], "on": [False]}


def test_a_model_that_refuses_all_has_no_sample() -> None:
    signature = Signature({"text": spec("string", (None, None))}, {})
    assert find_sample(refuse, signature) is None


def test_nothing_huge_is_tried() -> None:
    signature = Signature({"x": spec(shape=(None, 3000, 3000))}, {})
    assert find_sample(accept, signature) is None


def test_few_candidates_are_tried() -> None:
    signature = Signature({"text": spec("string", (None, None))}, {})
    assert len(list(made_up(signature))) == 9


@pytest.mark.parametrize(
    ("shape", "value"),
    [((), 0), ((1,), [0]), (None, [0]), ((None, 0), [[]]), ((2, 1), [[0], [0]])],
)
def test_any_shape_is_filled(shape: tuple[int, ...] | None, value: object) -> None:
    signature = Signature({"x": spec(shape=shape)}, {})
    assert find_sample(accept, signature) == {"x": value}


def test_booleans_are_booleans() -> None:
    assert find_sample(accept, Signature({"x": spec("bool")}, {})) == {"x": [False]}


def test_no_inputs_are_an_empty_sample() -> None:
    assert find_sample(accept, Signature({}, {})) == {}
