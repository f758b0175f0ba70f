"""numpy's files of one array: read back, refused, and never believed."""

from __future__ import annotations

import io
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from txinfer import npy
from txinfer.errors import InferenceError, InvalidBody
from txinfer.npy import LONGEST_HEADER, read_npy, write_npy
from txinfer.refusals import TooLarge
from txinfer.tensors import Array

LIMIT = 100_000


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def written(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A file with a header of our own."""
    text = header.encode("latin-1")
    size = len(text).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + text + data


def why(data: bytes) -> str:
    with pytest.raises(InvalidBody) as refusal:
        read_npy(data, LIMIT)
    return str(refusal.value)


def arrays() -> st.SearchStrategy[Array]:
    kinds = st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(endianness="?"),
        hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    )
    return hnp.arrays(kinds, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))


@given(array=arrays(), fortran=st.booleans())
def test_what_numpy_saves_is_read(array: Array, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    made = read_npy(saved(array), LIMIT)
    assert (made.dtype, made.shape) == (array.dtype, array.shape)
    assert made.tobytes() == array.tobytes()


@given(array=arrays())
def test_numpy_reads_what_is_written(array: Array) -> None:
    made = np.load(io.BytesIO(write_npy(array)), allow_pickle=False)
    assert (made.dtype, made.shape) == (array.dtype, array.shape)
    assert made.tobytes() == array.tobytes()


def test_bfloat16_is_written_as_float32_and_read_as_its_bytes() -> None:
    array = np.array([1.5, -3.0], ml_dtypes.bfloat16)
    made = np.load(io.BytesIO(write_npy(array)))
    assert (made.dtype, made.tolist()) == (np.float32, [1.5, -3.0])
    read = read_npy(saved(array), LIMIT)
    assert read.dtype == np.dtype("V2")
    assert read.view(ml_dtypes.bfloat16).tolist() == [1.5, -3.0]


def test_a_large_array_is_not_copied() -> None:
    data = saved(np.arange(1000.0))
    made = read_npy(data, LIMIT)
    assert np.shares_memory(made, np.frombuffer(data, np.uint8))
    assert not made.flags.writeable


def test_every_version_of_the_format_is_read() -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
    data = np.array([1, 2], "<f4").tobytes()
    for version in (b"\1\0", b"\2\0", b"\3\0"):
        assert read_npy(written(header, data, version), LIMIT).tolist() == [1, 2]


@pytest.mark.parametrize(
    "header",
    [
        '{"descr":"<f4","fortran_order":False,"shape":(2,)}',
        "{'shape': (2, ), 'descr': '<f4', 'fortran_order': False}",
        "  { 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 ) , }  \n",
        "{'descr':'<f4','fortran_order':True,'shape':(002,)}",
    ],
)
def test_other_writers_may_space_the_header_in_other_ways(header: str) -> None:
    data = np.array([1, 2], "<f4").tobytes()
    assert read_npy(written(header, data), LIMIT).tolist() == [1, 2]


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, None], object),
        np.array([b"a", b"bc"]),
        np.array(["a"]),
        np.zeros(2, [("a", "f4"), ("b", "i4")]),
        np.zeros(2, complex),
        np.zeros(2, "M8[s]"),
        np.zeros(2, "m8[ms]"),
        np.zeros(2, np.longdouble),
        np.zeros(2, "V3"),
        np.zeros(2, "V1"),
    ],
)
def test_only_numbers_are_read_and_no_pickle_is_opened(array: Array) -> None:
    assert why(saved(array)).startswith(".npy: ")


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'fortran_order': False, 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': True}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0x2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': '2'}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': ('<f4',), 'fortran_order': False, 'shape': (2,)}",
        "{'descr': True, 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + x",
        "__import__('os').abort()",
        "{" * 500,
        "(" * 1000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 33 + ")}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 20 + ",)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + " " * 900 + "}",
        GOOD.replace(" ", " " * 200)[:1000],
        GOOD[:-1],
        GOOD[1:],
    ],
)
def test_a_header_of_any_other_form_is_refused(header: str) -> None:
    assert why(written(header, bytes(8)))


def test_a_header_has_so_many_bytes_and_no_more() -> None:
    data = bytes(8)
    assert read_npy(written(GOOD.ljust(LONGEST_HEADER), data), LIMIT).shape == (2,)
    text = why(written(GOOD.ljust(LONGEST_HEADER + 1), data))
    assert text == ".npy: the header is longer than 1024 bytes"
    assert why(b"\x93NUMPY\2\0\xff\xff\xff\xff" + GOOD.encode())


def test_the_longest_header_of_numpy_is_taken() -> None:
    array = np.zeros((0, *[1] * 30))
    assert read_npy(saved(array), LIMIT).shape == array.shape


@pytest.mark.parametrize(
    "data",
    [b"", b"\x93NUMPY", b"\x93NUMPY\4\0\1\0 ", b"PK\3\4", b"\x93NUMPX\1\0", b"[1]"],
)
def test_what_does_not_begin_like_a_file_is_none(data: bytes) -> None:
    assert why(data) == "not an .npy file"


def test_the_data_is_as_long_as_the_header_says() -> None:
    whole = saved(np.arange(10.0))
    for data in (whole[:-1], whole + b"\0", whole[:128], whole + whole):
        assert why(data) == ".npy: the data is not as long as its header says"
    for end in range(128):
        assert why(whole[:end])


@pytest.mark.parametrize(
    "shape", ["(1000000,)", "(4000000000, 4000000000)", "(0, 1000000)", "(1000000, 0)"]
)
def test_an_array_larger_than_the_limit_is_not_made(shape: str) -> None:
    # What has no elements now may be summed to something that has.
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"
    with pytest.raises(TooLarge):
        read_npy(written(header), LIMIT)


def test_the_limit_is_in_bytes_of_the_array() -> None:
    data = saved(np.zeros(LIMIT // 8))
    assert read_npy(data, LIMIT).nbytes == LIMIT
    with pytest.raises(TooLarge):
        read_npy(data, LIMIT - 1)


def test_a_boolean_is_0_or_1() -> None:
    good = saved(np.array([True, False]))
    assert read_npy(good, LIMIT).tolist() == [True, False]
    assert why(good[:-1] + b"\2") == ".npy: a boolean is neither 0 nor 1"


@settings(max_examples=300)
@given(
    array=arrays(),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    end=st.integers(0, 400),
)
def test_nothing_else_ever_happens(
    array: Array, changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(saved(array))
    for position, byte in changes:
        data[position % len(data)] = byte
    try:
        made = read_npy(bytes(data[:end]), LIMIT)
    except InferenceError:
        return
    assert made.nbytes <= LIMIT


def test_no_more_headers_are_remembered_than_so_many() -> None:
    for size in range(2 * npy.MAX_KEPT):
        array = np.arange(size, dtype=np.uint8)
        for _ in range(2):
            assert write_npy(array) == saved(array)
            assert read_npy(saved(array), LIMIT).tolist() == array.tolist()
    assert len(npy._headers) <= npy.MAX_KEPT
    assert npy._layout.cache_info().currsize <= npy.MAX_KEPT


def test_what_was_refused_is_refused_again() -> None:
    for _ in range(2):
        assert "shape" in why(written(GOOD.replace("(2,)", "(2 2,)"), bytes(8)))
        assert "not as long" in why(written(GOOD, bytes(7)))
        assert "numpy's" in why(written(GOOD, bytes(8))[:20])


@given(array=arrays(), fortran=st.booleans(), times=st.integers(1, 2))
def test_what_is_written_is_what_numpy_writes(
    array: Array, fortran: bool, times: int
) -> None:
    array = np.asfortranarray(array) if fortran else array
    for _ in range(times):
        assert write_npy(array) == saved(array)
    assert write_npy(array[::-1] if array.ndim else array) == saved(
        array[::-1] if array.ndim else array
    )
