"""numpy's ``.npz`` archives, ZIP files of ``.npy`` files, to arrays and back."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO

from .errors import InvalidBody
from .npy import read_npy, write_npy
from .refusals import TooLarge
from .tensors import Array, Tensors

NPZ = b"application/x-npz"

SUFFIX = ".npy"

# The end of a ZIP file without a comment, as numpy writes it (APPNOTE.TXT of
# PKWARE, 4.3.16): signature, four numbers, the directory's size and its start,
# the comment's length. The size is what bounds how many entries zipfile reads.
END = struct.Struct("<4s4H2IH")
END_SIGNATURE = b"PK\5\6"

# Before it, in archives of more than 4 GiB: where other, larger numbers are.
LARGE_END_SIZE = 20
LARGE_END_SIGNATURE = b"PK\6\7"

# An entry has 46 bytes and a name: more than 500 inputs of 80 letters.
LARGEST_DIRECTORY = 64 * 1024

TAKEN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}

IS_ENCRYPTED = 1

BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def read_npz(
    data: bytes, check_names: Callable[[Iterable[str]], None], limit: int
) -> dict[str, Array]:
    """The arrays in an archive, by name.

    Args:
        data: the whole archive.
        check_names: is given the names before any array is read, and raises if
            they are not those that are wanted.
        limit: the most bytes that all files in it may have together; no more
            are ever held.

    Raises:
        InvalidBody: it is no such archive, or one of its files is no ``.npy``.
        TooLarge: its files have more than ``limit`` bytes.
    """
    try:
        with _opened(data) as archive:
            members = _by_name(archive)
            check_names(members)
            left = limit
            arrays = {}
            for name, member in members.items():
                file = _read(archive, member, left)
                left -= len(file)
                if left < 0:
                    raise TooLarge(limit)
                if len(file) != member.file_size:
                    raise InvalidBody(".npz: a file is not as long as it says")
                arrays[name] = read_npy(file, limit)
            return arrays
    except BROKEN:
        raise InvalidBody("not an .npz file") from None


def write_npz(tensors: Tensors) -> bytes:
    """An archive of arrays of numbers; bfloat16 as float32. It is not compressed."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in tensors.items():
            # With a date that never changes, answers to the same call are equal.
            archive.writestr(zipfile.ZipInfo(name + SUFFIX), write_npy(array))
    return file.getvalue()


def _opened(data: bytes) -> zipfile.ZipFile:
    """The archive, once it is known that its directory is small."""
    signature, *_, size, _, comment = END.unpack(data[-END.size :])
    large = data[-END.size - LARGE_END_SIZE : -END.size]
    if (
        signature != END_SIGNATURE
        or large.startswith(LARGE_END_SIGNATURE)
        or size > LARGEST_DIRECTORY
        or comment
    ):
        raise zipfile.BadZipFile
    return zipfile.ZipFile(BytesIO(data))


def _by_name(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive, by the names of their arrays."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(SUFFIX)
        if name in members:
            raise InvalidBody(".npz: two of its arrays have the same name")
        if member.compress_type not in TAKEN or member.flag_bits & IS_ENCRYPTED:
            raise InvalidBody(".npz: only what numpy writes itself is taken")
        members[name] = member
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int) -> bytes:
    """One file; if it has more bytes than are left, one more than these."""
    with archive.open(member) as file:
        return file.read(left + 1)
