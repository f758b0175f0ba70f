from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txinfer.arriving import KEPT_APART, Arriving


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 9, KEPT_APART, 2 * KEPT_APART]), st.booleans())
    )
)
def test_what_came_is_there_in_order(parts: list[tuple[int, bool]]) -> None:
    body, whole = Arriving(), b""
    for number, (size, is_view) in enumerate(parts):
        part = bytes([number % 256]) * size
        body.add(memoryview(part) if is_view else part)
        whole += part
        assert body.size == len(whole)
    made = body.take()
    assert type(made) is bytes
    assert made == whole
    assert body.size == 0
    assert body.take() == b""


def test_one_part_is_not_copied() -> None:
    body, part = Arriving(), bytes(1000)
    body.add(part)
    assert body.take() is part


def test_small_parts_are_kept_as_one() -> None:
    body = Arriving()
    for _ in range(1000):
        body.add(b"x")
    assert len(body._parts) == 2
    body.add(bytes(KEPT_APART))
    for _ in range(1000):
        body.add(b"y")
    assert len(body._parts) == 4
    assert body.take() == b"x" * 1000 + bytes(KEPT_APART) + b"y" * 1000


def test_nothing_is_kept_of_what_is_cleared() -> None:
    body = Arriving()
    body.add(b"x")
    body.clear()
    assert body.size == 0
    assert body.take() == b""
