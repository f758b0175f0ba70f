"""What is like a body before is read as if it were the first of its kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_numeric import LIMITS, outcome, signature, told
from txinfer import repeats
from txinfer.jsonin import read, read_any
from txinfer.limits import CallLimits
from txinfer.tensors import Signature

# Where roundings end beside the nearest, and where ranges end.
AWKWARD = [
    *("0", "-0.0", "1e-46", "5e-324", "1.00000017881393432617187499"),
    *("16777217", "1152921573326323713", "18446744073709551615", "2049", "65504"),
    *("65519.99", "65520", "3.402823e38", "3.4028235677973366e38", "3.41e38"),
    *("3.3895313892515355e38", "1.7976931348623157e308", "1e309"),
]


def after(first: bytes, body: bytes, signed: Signature) -> object:
    """What a body is read as after another, and by all rules."""
    read(first, signed, LIMITS)
    found, ruled = (outcome(way, body, signed, LIMITS) for way in (read, read_any))
    assert found == ruled
    return found


def is_repeat(body: bytes, signed: Signature) -> bool:
    return repeats.read(body, signed, LIMITS, False) is not None


@pytest.mark.parametrize("size", [2, 400, 3000])
@pytest.mark.parametrize("type", ["float32", "float16", "bfloat16", "int64", "uint8"])
def test_a_body_of_the_same_form_is_not_looked_at_again(type: str, size: int) -> None:
    signed = signature(x=(type, (None, size)))
    first = b'{"x": [[%s]]}' % b",".join([b"1"] * size)
    other = b'{"x":[ [%s] ]}' % b",".join(b"%d" % (n % 200) for n in range(size))
    assert not is_repeat(other, signed)
    after(first, other, signed)
    assert is_repeat(other, signed)


@pytest.mark.parametrize("type", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    "lists", ["%s", "[%s,%s]", "[[%s,%s]]", "[[%s],[%s]]", "[[[%s],[%s]],[[3],[-4]]]"]
)
@pytest.mark.parametrize("transpose", [False, True])
@given(st.lists(st.sampled_from(AWKWARD) | st.floats().map(str), min_size=2))
def test_any_numbers_are_read_in_any_lists(
    type: str, lists: str, transpose: bool, numbers: list[str]
) -> None:
    signed = signature(x=(type, None))
    count = lists.count("%s")
    first, body = (
        ('{"x":' + lists % tuple(some) + "}").encode()
        for some in (["1"] * count, numbers[:count])
    )
    args = signed, LIMITS, transpose
    read(first, *args)
    assert repeats.read(first, *args) is not None
    assert outcome(read, body, *args) == outcome(read_any, body, *args)


FLOATS = signature(x=("float32", (None, 2)))
FIRST = b'{"x":[[1,2],[3,4]]}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":[[1,2],[3,4.5e1]]}',
        b'{"x":[[1,2],[3,-0.0]]}',
        b'{"x":[[1,2],[3,18446744073709551616]]}',
        b'{"x":[[1,2],[3,1e39]]}',
        b'{"x":[[1,2],[3,1e400]]}',
        b'{"x":[[1,2],[3,]]}',
        b'{"x":[[1,2],[,4]]}',
        b'{"x":[[,],[,]]}',
        b'{"x":[[1,2],[3,4 5]]}',
        b'{"x":[[1,2],[3,01]]}',
        b'{"x":[[1,2],[3,+1]]}',
        b'{"x":[[1,2],[3,.5]]}',
        b'{"x":[[1,2],[3,4e]]}',
        b'{"x1":[[1,2],[3,4]]}',
        b'{"ex":[[1,2],[3,4]]}',
        b'{" x":[[1,2],[3,4]]}',
        b'{"x":[[1,2],[3,4]]}}',
        b'{"x":1[[1,2],[3,4]]}',
        b'1{"x":[[1,2],[3,4]]}',
        b'{"x":[[1,2],[3,4]]} 1',
    ],
)
def test_what_only_looks_like_one_before_is_judged_by_all_rules(body: bytes) -> None:
    after(FIRST, body, FLOATS)


@pytest.mark.parametrize("size", [1, 2000])
@pytest.mark.parametrize("odd", ["1.5", "1e2", "-1", "256", "9" * 30, "1.0"])
def test_integers_are_no_floats_the_second_time_either(odd: str, size: int) -> None:
    for type in ("int8", "int64", "uint8", "uint64"):
        signed = signature(x=(type, (None,)))
        ones = ["1"] * size
        first = f'{{"x":[{",".join(ones)}]}}'.encode()
        body = f'{{"x":[{",".join([*ones[1:], odd])}]}}'.encode()
        after(first, body, signed)


def test_one_number_and_none_are_told_apart() -> None:
    signed = signature(x=("float32", (None, None)))
    for first, body in (
        (b'{"x":[[1]]}', b'{"x":[[]]}'),
        (b'{"x":[[]]}', b'{"x":[[1]]}'),
    ):
        after(first, body, signed)
        after(b'{"x":[[1],[2]]}', b'{"x":[[],[]]}', signed)
        after(b'{"x":[[1],[2]]}', b'{"x":[[1],[]]}', signed)


def test_a_row_and_columns_are_told_apart() -> None:
    signed = signature(x=("float32", (None, 2)))
    for body in (b'{"x":[1,2]}', b'{"x":[[1,2]]}', b'{"x":[1,2]}', b'{"x":[[3,4]]}'):
        for transpose in (False, True):
            args = body, signed, LIMITS, transpose
            assert outcome(read, *args) == outcome(read_any, *args)


def test_what_was_kept_under_other_limits_does_not_count() -> None:
    signed = signature(x=("float32", (None, 2)))
    read(FIRST, signed, LIMITS)
    assert repeats.read(FIRST, signed, CallLimits(json_depth=1), False) is None


def test_what_is_larger_than_it_may_be_is_not_kept() -> None:
    signed = signature(x=("float32", (None,)))
    for limits in (CallLimits(request_rows=2), CallLimits(tensor_size=8)):
        for body, fits in ((b'{"x":[1,2]}', True), (b'{"x":[1,2,3]}', False)):
            assert told(read(body, signed, limits)) == told(
                read_any(body, signed, limits)
            )
            kept = repeats.read(body, signed, limits, False)
            assert (kept is not None) == fits


def test_only_so_many_forms_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_KEPT", 3)
    signed = signature(x=("float32", (None,)))
    for rows in range(1, 9):
        body = b'{"x":[%s]}' % b",".join([b"1"] * rows)
        assert told(read(body, signed, LIMITS)) == told(read_any(body, signed, LIMITS))
        assert len(signed.notes[repeats.__name__]) <= 3
