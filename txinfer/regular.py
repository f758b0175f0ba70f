"""The shape of nested arrays, read off their brackets and commas.

``[[1, 2, 3], [4, 5, 6]]`` leaves ``[[,,],[,,]]`` when numbers and white space
are taken away, and no other array of six numbers does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .tensors import MAX_RANK

# There may be one dimension more around it.
DEEPEST = MAX_RANK - 1


def shape_of(left: bytes, start: int, count: int) -> tuple[int, ...] | None:
    """The shape of an array of numbers, told by its brackets and commas.

    Args:
        left: what a body leaves without its numbers and white space.
        start: where the array begins in it.
        count: how many numbers the array holds, at whatever depth.

    Returns:
        The only shape that it may have; whether it has is shown by comparing it
        with :func:`text_of`. None if it has none, or that of an empty array.
    """
    depth = 0
    while left.startswith(b"[", start + depth):
        depth += 1
    if depth > DEEPEST:
        return None
    shape: list[int] = []
    span = 0
    for level in range(1, depth):
        # The first array of this level, its end found by so many brackets.
        end = left.find(b"]" * level, start) + level
        size, rest = divmod(end - (start + depth - level) - 1, span + 1)
        if rest or size < 1:
            return None
        shape.insert(0, size)
        span = end - (start + depth - level)
    if not depth:
        return ()
    outer, rest = divmod(count, prod(shape))
    if rest or not outer:
        return None
    return (outer, *shape)


def text_of(shape: Sequence[int]) -> bytes:
    """What a regular array of numbers leaves."""
    text = b""
    for size in reversed(shape):
        text = b"[" + (text + b",") * (size - 1) + text + b"]"
    return text
