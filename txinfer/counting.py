"""How much a JSON body holds, counted on its bytes before it is parsed."""

from __future__ import annotations

import numpy as np

from .errors import InvalidBody, TooManyElements
from .limits import CallLimits
from .tensors import Array

# Blocks that fit into a cache are counted several times as fast as all at once.
BLOCK = 1 << 16

# A number of 19 and more digits may take simdjson 20 us instead of 20 ns. So
# many of them are bearable, and bodies that are too small to have more.
HARD_DIGITS = 19
HARD_NUMBERS = 2048
HARD_BODY = HARD_NUMBERS * (HARD_DIGITS + 1)

BRACKETS = b"[]{}"
NO_BRACKET_OR_QUOTE = bytes(set(range(256)) - set(BRACKETS + b'"'))


def check_elements(limits: CallLimits, *bodies: bytes) -> bool:
    """Whether JSON bodies of one request must be nothing but numbers.

    Raises:
        TooManyElements: they hold more than even numbers may.
    """
    # Each element has a byte at least.
    if sum(map(len, bodies)) <= limits.json_elements:
        return False
    count = sum(map(elements, bodies))
    if count > limits.json_numbers:
        raise TooManyElements(limits.json_numbers)
    return count > limits.json_elements


def check_depth(body: bytes, limits: CallLimits) -> None:
    """Raise InvalidBody if JSON is nested too deep."""
    if deeper_than(body, limits.json_depth):
        raise InvalidBody(f"the body is nested more than {limits.json_depth} deep")


def elements(body: bytes) -> int:
    """How many values and names a body has, or a few more.

    It is the number of ``[``, ``{``, ``,`` and ``:``, those in strings too. So a
    body of n bytes has at most n.
    """
    found = 0
    data = np.frombuffer(body, np.uint8)
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        # Without the bit 0x20 both of the opening brackets are [.
        opening = (block & 0xDF) == ord("[")
        found += int(np.count_nonzero(opening))
        found += int(np.count_nonzero((block == ord(",")) | (block == ord(":"))))
    return found


def deeper_than(body: bytes, most: int) -> bool:
    """Whether more than so many arrays and objects are inside each other.

    Args:
        body: JSON; of what is not, either may be said.
        most: the depth that is bearable.
    """
    if _few_open(body, most):
        return False
    if b"\\" in body:
        # Escaped backslashes first, so that an escaped quote is told for one.
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = body.translate(None, NO_BRACKET_OR_QUOTE)
    # Two quotes side by side do not change what is inside of other strings.
    brackets = brackets.replace(b'""', b"")
    brackets = b"".join(brackets.split(b'"')[::2])
    # Of the four brackets only the opening ones have the bit 0x02.
    steps = (np.frombuffer(brackets, np.uint8) & 0x02).astype(np.int32) - 1
    return int(steps.cumsum().max(initial=0)) > most


def _few_open(body: bytes, most: int) -> bool:
    """Whether no more than so many brackets open anywhere, in strings too.

    To find the few of a file in base64 is thirty times as fast as to count them.
    """
    found = 0
    for bracket in (b"[", b"{"):
        place = body.find(bracket)
        while place >= 0:
            found += 1
            if found > most:
                return False
            place = body.find(bracket, place + 1)
    return True


def hard_numbers(body: bytes) -> bool:
    """Whether it takes simdjson too long to read the numbers of a body."""
    if len(body) <= HARD_BODY or not (b"." in body or b"e" in body or b"E" in body):
        return False
    data = np.frombuffer(body, np.uint8)
    found = 0
    for start in range(0, len(data), BLOCK):
        found += _hard_in(data[start : start + BLOCK + HARD_DIGITS - 1])
        if found > HARD_NUMBERS:
            return True
    return False


def _hard_in(data: Array) -> int:
    """How often a digit other than 0 is followed by 18 digits or points."""
    # Differences wrap around, so one comparison tells whether it is a digit.
    run = (data - np.uint8(ord("0")) <= 9) | (data == ord("."))
    length = 1
    while length < HARD_DIGITS:
        step = min(length, HARD_DIGITS - length)
        run = run[:-step] & run[step:]
        length += step
    starts = data[: len(run)] - np.uint8(ord("1")) <= 8
    return int(np.count_nonzero(run & starts))
