"""The hostile bodies of the benchmarks. What they cost is not tested."""

from __future__ import annotations

import pytest

from benchmarks.hostile_bodies import BODIES, SIZE, Body, png
from benchmarks.hostile_server import NumpyModel
from txinfer.images import announced


def test_each_has_a_name_and_a_method_of_its_own() -> None:
    assert len({body.name for body in BODIES}) == len(BODIES)
    assert {body.method for body in BODIES} <= set(NumpyModel().signatures)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_each_is_one_that_the_server_reads(body: Body) -> None:
    # A larger one would be refused unread, a smaller one would show nothing.
    assert 100 < len(body.make()) <= SIZE


def test_the_pictures_are_pictures() -> None:
    assert announced(png(30, 20)) == 600
