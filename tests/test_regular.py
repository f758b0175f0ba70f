from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from txinfer.regular import shape_of, text_of

NESTED = st.recursive(st.just(1), lambda inner: st.lists(inner, max_size=4))


def left(value: Any) -> bytes:
    """What nested lists of ones leave."""
    return json.dumps(value).replace("1", "").replace(" ", "").encode()


def leaves(value: Any) -> int:
    return sum(map(leaves, value)) if isinstance(value, list) else 1


@given(st.lists(st.integers(1, 5), max_size=5))
def test_a_regular_array_has_its_shape(shape: list[int]) -> None:
    value = np.ones(shape, int).tolist()
    assert text_of(shape) == left(value)
    around = b'{"x":' + left(value) + b"}"
    assert shape_of(around, 5, math.prod(shape)) == tuple(shape)


@given(NESTED)
def test_no_other_array_leaves_the_same(value: Any) -> None:
    found = shape_of(left(value) + b"}", 0, leaves(value))
    regular = found is not None and text_of(found) == left(value)
    try:
        shape = np.array(value).shape
    except ValueError:
        assert not regular
    else:
        assert regular == (0 not in shape)
        assert not regular or found == shape


@pytest.mark.parametrize(
    "text", [b"", b"[", b"[[", b"]", b"[]]", b"[[]", b"[[],", b"[" * 99]
)
def test_anything_has_an_answer(text: bytes) -> None:
    for start in range(4):
        for count in range(4):
            shape_of(text, start, count)
