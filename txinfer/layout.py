"""What can be told of a SavedModel's path without importing TensorFlow.

So that a wrong path or tag is known while the command line is read, and in
milliseconds: the protocol buffer is walked, not parsed, and the graph in it
is skipped unread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from .errors import InvalidModel
from .wire import fields

BINARY = "saved_model.pb"

#: What makes a folder a SavedModel: TensorFlow's binary, its text form, and
#: the large model split over several messages (``saved_model/constants.py``,
#: ``tools/proto_splitter``). Only the first can be looked into from here.
FILES = (BINARY, "saved_model.pbtxt", "saved_model.cpb")

#: The version of a SavedModel that is not in a folder of versions.
ONLY = 1

# The field numbers in tensorflow/core/protobuf/{saved_model,meta_graph}.proto.
META_GRAPHS = 2  # of SavedModel
META_INFO = 1  # of MetaGraphDef
SIGNATURES = 5  # of MetaGraphDef, a map
TAGS = 4  # of MetaInfoDef
KEY = 1  # of an entry of a map


def find(path: str, tags: Sequence[str]) -> str:
    """The SavedModel folder that ``path`` means, once it is checked.

    Raises:
        InvalidModel: as :func:`resolve` and :func:`check` do.
    """
    found = resolve(path)
    check(found, tags)
    return found


def resolve(path: str) -> str:
    """The SavedModel folder that ``path`` means: that of its highest version.

    Raises:
        InvalidModel: as :func:`versions` does.
    """
    folders = versions(path)
    return folders[max(folders)]


def versions(path: str) -> dict[int, str]:
    """The SavedModel folders that ``path`` means, by their versions.

    That is ``path`` itself, or its version folders: those named by a number, as
    TensorFlow Serving has them (``file_system_storage_path``).

    Raises:
        InvalidModel: it is neither.
    """
    entries = _entries(path)
    files = [name for name in entries if name in FILES]
    folders = [name for name in entries if os.path.isdir(os.path.join(path, name))]
    return versions_of(path, path, files, folders)


def versions_of(
    name: str, path: str, files: Sequence[str], folders: Sequence[str]
) -> dict[int, str]:
    """The SavedModel folders in a folder that holds these files and folders.

    Args:
        name: what the folder is called, for the error.
        path: where it is.
        files: the names of those of ``FILES`` that are in it.
        folders: the names of the folders that are in it.

    Raises:
        InvalidModel: there are none.
    """
    if files:
        own = _number(path.rstrip("/").rpartition("/")[2])
        return {ONLY if own is None else own: path}
    numbers = {_number(folder): folder for folder in sorted(folders)}
    base = path.rstrip("/")
    found = {n: f"{base}/{it}" for n, it in numbers.items() if n is not None}
    if not found:
        raise invalid(name, "neither a SavedModel nor a folder of version folders")
    return found


def _number(name: str) -> int | None:
    """The version that a folder's name stands for."""
    # int() refuses thousands of digits, and such are no versions.
    if name.isascii() and name.isdigit() and len(name) < 20:
        return int(name)
    return None


def check(path: str, tags: Sequence[str]) -> None:
    """See whether a SavedModel folder can be what is asked for.

    A SavedModel that is not in the binary form is passed unseen.

    Raises:
        InvalidModel: there is no SavedModel, it cannot be read, it has no graph
            with exactly these tags, or that graph has no public signature.
    """
    entries = _entries(path)
    if not any(name in entries for name in FILES):
        raise invalid(path, "not a SavedModel: it has no saved_model.pb")
    if BINARY not in entries:
        return
    graphs = _read_graphs(path)
    found = [names for known, names in graphs if set(known) == set(tags)]
    if not found:
        there = "; ".join(_listed(known) for known, _ in graphs)
        raise invalid(path, f"no graph is tagged {_listed(tags)}; there is: {there}")
    if not any(is_public(name) for name in found[0]):
        raise invalid(path, f"the graph tagged {_listed(tags)} has no signature")


def is_public(signature: str) -> bool:
    """Whether a signature is for callers; TensorFlow's own begin with ``__``."""
    return not signature.startswith("__")


def invalid(path: str, why: str) -> InvalidModel:
    """The error for a path, kept to one line whatever is in it."""
    return InvalidModel(" ".join(f"{path}: {why}".splitlines()))


def _listed(tags: Sequence[str]) -> str:
    return ",".join(sorted(tags)) or "(no tags)"


def _entries(path: str) -> list[str]:
    """The names in a folder."""
    try:
        return os.listdir(path)
    except FileNotFoundError:
        raise invalid(path, "there is no such folder") from None
    except NotADirectoryError:
        raise invalid(path, "not a folder") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise invalid(path, f"the folder cannot be read: {why}") from error


def _read_graphs(path: str) -> list[tuple[list[str], list[str]]]:
    """The tags and the signature names of each graph of a SavedModel."""
    try:
        with open(os.path.join(path, BINARY), "rb") as file:
            end = os.fstat(file.fileno()).st_size
            graphs = [
                _read_graph(file, file.tell() + size)
                for field, size in fields(file, end)
                if field == META_GRAPHS
            ]
    except OSError as error:
        why = f"{BINARY} cannot be read: {error.strerror}"
        raise invalid(path, why) from error
    except ValueError as error:
        raise invalid(path, f"{BINARY} is not a SavedModel: {error}") from error
    if not graphs:
        raise invalid(path, f"{BINARY} is not a SavedModel: it has no graph")
    return graphs


def _read_graph(file: BinaryIO, end: int) -> tuple[list[str], list[str]]:
    """The tags and the signature names of the MetaGraphDef up to ``end``."""
    tags: list[str] = []
    names: list[str] = []
    for field, size in fields(file, end):
        if field == META_INFO:
            tags += _texts(file, file.tell() + size, TAGS)
        elif field == SIGNATURES:
            names += _texts(file, file.tell() + size, KEY)
    return tags, names


def _texts(file: BinaryIO, end: int, wanted: int) -> list[str]:
    """The string fields of that number in the message up to ``end``."""
    return [
        file.read(size).decode() for field, size in fields(file, end) if field == wanted
    ]
