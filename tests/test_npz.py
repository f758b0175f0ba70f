"""numpy's archives: read back, bounded before anything is unpacked."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from txinfer.errors import InferenceError, InvalidBody, InvalidInput
from txinfer.npy import write_npy
from txinfer.npz import LARGEST_DIRECTORY, read_npz, write_npz
from txinfer.refusals import TooLarge
from txinfer.tensors import Array

LIMIT = 100_000
ARRAYS = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([1, 2], np.int8)}


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def compressed(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zipped(files: Iterable[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return file.getvalue()


def anything(names: Iterable[str]) -> None:
    """A check that lets all names pass."""


def read(data: bytes, limit: int = LIMIT) -> dict[str, Array]:
    return read_npz(data, anything, limit)


def why(data: bytes) -> str:
    with pytest.raises(InvalidBody) as refusal:
        read(data)
    return str(refusal.value)


@pytest.mark.parametrize("save", [saved, compressed, lambda **a: write_npz(a)])
def test_what_numpy_saves_is_read(save: Any) -> None:
    made = read(save(**ARRAYS))
    assert list(made) == ["x", "y"]
    for name, array in ARRAYS.items():
        assert made[name].dtype == array.dtype
        assert made[name].tolist() == array.tolist()


def test_numpy_reads_what_is_written_whatever_the_names() -> None:
    arrays = {
        **ARRAYS,
        "file": np.ones(1),
        "allow_pickle": np.ones(2),
        "a/b": np.ones(3),
    }
    with np.load(io.BytesIO(write_npz(arrays)), allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(arrays)
        for name, array in arrays.items():
            assert archive[name].tolist() == array.tolist()


def test_equal_answers_are_equal_bytes() -> None:
    assert write_npz(ARRAYS) == write_npz(ARRAYS)


def test_an_empty_archive_has_no_arrays() -> None:
    assert read(zipped([])) == {}


def test_names_are_checked_before_anything_is_unpacked() -> None:
    def refuse(names: Iterable[str]) -> None:
        raise InvalidInput(" ".join(names), "z")

    bomb = zipped([("x.npy", bytes(10 * LIMIT)), ("y", b"")], zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidInput, match="input 'z': x y"):
        read_npz(bomb, refuse, LIMIT)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_limit_is_for_all_the_files_together(kind: int) -> None:
    half = write_npy(np.zeros(LIMIT // 2 - 128, np.uint8))
    files = [("x.npy", half), ("y.npy", half)]
    assert len(half) == LIMIT // 2
    assert len(read(zipped(files, kind))) == 2
    with pytest.raises(TooLarge):
        read(zipped(files, kind), LIMIT - 1)


def test_a_bomb_is_given_up_at_the_limit() -> None:
    bomb = zipped([("x.npy", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10 * LIMIT
    finally:
        tracemalloc.stop()


def test_files_that_overlap_count_each_time() -> None:
    """Many entries of the directory for the same compressed bytes."""
    one = zipped([("x.npy", write_npy(np.zeros(5000)))], zipfile.ZIP_DEFLATED)
    start, size = one.rindex(b"PK\1\2"), 46 + 5
    entry = one[start : start + size]
    many = one[:start] + b"".join(
        entry.replace(b"x.npy", b"%c.npy" % (97 + i)) for i in range(20)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 20, 20, 20 * size, start, 0)
    with pytest.raises(InferenceError):
        read(many + end)


def test_the_directory_has_so_many_bytes_and_no_more() -> None:
    longest = "x" * 65_000
    assert LARGEST_DIRECTORY == 65_536
    array = write_npy(np.zeros(1))
    assert list(read(zipped([(longest, array)]))) == [longest]
    assert why(zipped([(f"{i:060}", b"") for i in range(700)])) == "not an .npz file"


def test_a_directory_told_twice_is_not_believed() -> None:
    """A second, larger size in the record of large archives."""
    data = zipped([(f"{i}", write_npy(np.zeros(1))) for i in range(3)])
    end = data[-22:]
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    assert why(data[:-22] + locator + end) == "not an .npz file"


def test_an_archive_ends_with_its_last_record() -> None:
    data = saved(**ARRAYS)
    assert why(data + b"\0") == "not an .npz file"
    with_comment = data[:-2] + b"\5\0hello"
    assert why(with_comment) == "not an .npz file"


def test_two_arrays_of_one_name_are_refused() -> None:
    array = write_npy(np.zeros(1))
    text = ".npz: two of its arrays have the same name"
    assert why(zipped([("x.npy", array), ("x", array)])) == text


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(kind: int) -> None:
    data = zipped([("x.npy", write_npy(np.zeros(1)))], kind)
    assert why(data) == ".npz: only what numpy writes itself is taken"


def test_an_encrypted_file_is_refused() -> None:
    data = bytearray(saved(x=np.zeros(1)))
    data[data.rindex(b"PK\1\2") + 8] |= 1
    assert why(bytes(data)) == ".npz: only what numpy writes itself is taken"


def test_a_file_is_as_long_as_it_says() -> None:
    data = bytearray(compressed(x=np.zeros(1)))
    data[data.rindex(b"PK\1\2") + 24] += 1
    assert why(bytes(data)) == ".npz: a file is not as long as it says"


def test_a_wrong_checksum_is_found() -> None:
    data = bytearray(zipped([("x.npy", write_npy(np.zeros(10)))]))
    data[60 + 128] ^= 1
    assert why(bytes(data)) == "not an .npz file"


@pytest.mark.parametrize("data", [b"", b"PK\3\4", bytes(22), b"\x93NUMPY" * 10])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    assert why(data) == "not an .npz file"


def test_pickles_in_an_archive_are_not_opened() -> None:
    assert why(saved(x=np.array([None]))).startswith(".npy: ")


@settings(max_examples=300)
@given(
    deflate=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=5),
    cut=st.integers(0, 20),
)
def test_nothing_else_ever_happens(
    deflate: bool, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray((compressed if deflate else saved)(**ARRAYS))
    for position, byte in changes:
        data[-1 - position % len(data)] = byte
    del data[len(data) - cut :]
    try:
        made = read(bytes(data))
    except InferenceError:
        return
    assert sum(array.nbytes for array in made.values()) <= LIMIT
