from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from txinfer.least import SWEEP_FROM, Least


@attrs.define(eq=False)
class Item:
    name: str
    tag: float | None


def least() -> Least[Item]:
    return Least(lambda item: item.tag)


def test_the_least_stays_until_its_tag_grows() -> None:
    items, one, other = least(), Item("one", 1), Item("other", 2)
    items.add(other)
    items.add(one)
    assert items.least() is items.least() is one
    one.tag = 3
    assert items.least() is other


def test_equal_tags_go_as_they_came() -> None:
    items = least()
    came = [Item(name, 1) for name in "bac"]
    for item in came:
        items.add(item)
    assert [items.pop() for _ in came] == came


def test_what_is_gone_is_passed_over() -> None:
    items, one, other = least(), Item("one", 1), Item("other", 2)
    items.add(one)
    items.add(other)
    one.tag = None
    assert items.pop() is other
    assert items.least() is items.pop() is None


def test_what_is_gone_does_not_pile_up() -> None:
    items, first = least(), Item("first", 0)
    items.add(first)
    for number in range(10_000):
        gone = Item("gone", number + 1)
        items.add(gone)
        gone.tag = None
    assert len(items) <= SWEEP_FROM + 1
    assert items.least() is first


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_popping_sorts_whatever_grew_meanwhile(tags: list[tuple[int, int]]) -> None:
    items = least()
    came = [Item("", first) for first, _ in tags]
    for item, (_, more) in zip(came, tags, strict=True):
        items.add(item)
        assert item.tag is not None
        item.tag += more
    popped = [items.pop() for _ in came]
    assert [item.tag for item in popped if item] == sorted(sum(pair) for pair in tags)
