"""What can be told of a path without TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from txinfer.errors import InvalidModel
from txinfer.layout import check, find, resolve


def field(number: int, content: bytes) -> bytes:
    """A field that holds bytes, as protobuf writes it."""
    head = bytes([number << 3 | 2])
    size = len(content)
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + content


def graph(tags: list[str], signatures: list[str], nodes: bytes = b"") -> bytes:
    """A MetaGraphDef in a SavedModel."""
    info = field(1, b"\x0a\x01x") + b"".join(field(4, tag.encode()) for tag in tags)
    entries = [field(5, field(1, name.encode()) + field(2, b"")) for name in signatures]
    return field(2, field(1, info) + field(2, nodes) + b"".join(entries))


def write(folder: Path, *graphs: bytes) -> str:
    """A folder with a saved_model.pb of these graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01" + b"".join(graphs))
    return str(folder)


def why(path: str, *tags: str) -> str:
    """What is wrong with a path: one line that names it, which is cut off."""
    with pytest.raises(InvalidModel) as caught:
        find(path, tags or ("serve",))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


SERVE = graph(["serve"], ["__saved_model_init_op", "serving_default"])


class TestFind:
    def test_a_saved_model_is_itself(self, tmp_path: Path) -> None:
        path = write(tmp_path / "model", SERVE)
        assert find(path, ["serve"]) == path

    def test_the_highest_version_is_taken_by_its_number(self, tmp_path: Path) -> None:
        for version in ("9", "0010", "x99", "99.old", "٣"):
            write(tmp_path / version, SERVE)
        (tmp_path / "100").write_text("a file")
        assert find(str(tmp_path), ["serve"]) == str(tmp_path / "0010")

    def test_a_saved_model_wins_over_versions_in_it(self, tmp_path: Path) -> None:
        write(tmp_path / "1", SERVE)
        assert resolve(write(tmp_path, SERVE)) == str(tmp_path)

    @pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
    def test_the_other_forms_are_passed_unseen(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("anything")
        assert find(str(tmp_path), ["serve"]) == str(tmp_path)

    def test_tags_are_a_set(self, tmp_path: Path) -> None:
        path = write(tmp_path, graph(["serve", "gpu"], ["serving_default"]))
        check(path, ["gpu", "serve"])

    def test_no_tags_are_tags_too(self, tmp_path: Path) -> None:
        check(write(tmp_path, graph([], ["serving_default"])), [])

    @pytest.mark.parametrize(
        "name", ["affine", "multi_tags", "keras_export", "v1_text"]
    )
    def test_what_tensorflow_writes_is_found(
        self, saved_model: Callable[[str], str], name: str
    ) -> None:
        path = saved_model(name)
        assert find(path, ["serve"]) == path

    def test_a_large_graph_is_skipped_unread(self, tmp_path: Path) -> None:
        size = 1 << 30
        head = b"\x08\x01" + graph(["serve"], ["f"])
        length = bytes(size >> shift & 127 | 128 for shift in (0, 7, 14, 21))
        with (tmp_path / "saved_model.pb").open("wb") as file:
            # A field 2 of SavedModel, of one field 2 of MetaGraphDef: a hole.
            file.write(head + b"\x12" + length + b"\x04\x12")
            inner = size - 6
            file.write(bytes(inner >> shift & 127 | 128 for shift in (0, 7, 14, 21)))
            file.write(b"\x03")
            file.truncate(file.tell() + inner)
        check(str(tmp_path), ["serve"])


class TestWhy:
    def test_nothing_is_there(self, tmp_path: Path) -> None:
        assert why(str(tmp_path / "none")) == "there is no such folder"

    def test_it_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert why(str(tmp_path / "file")) == "not a folder"

    def test_it_is_an_empty_folder(self, tmp_path: Path) -> None:
        text = "neither a SavedModel nor a folder of version folders"
        assert why(str(tmp_path)) == text

    def test_it_is_not_a_path(self) -> None:
        with pytest.raises(InvalidModel, match=r"cannot be read: .*null"):
            find("a\0b", ["serve"])

    def test_a_version_is_no_saved_model(self, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()
        with pytest.raises(InvalidModel, match=r"1: not a SavedModel: it has no"):
            find(str(tmp_path), ["serve"])

    def test_the_file_is_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").mkdir()
        assert why(str(tmp_path)) == "saved_model.pb cannot be read: Is a directory"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
    def test_the_folder_may_not_be_read(self, tmp_path: Path) -> None:
        tmp_path.chmod(0)
        assert why(str(tmp_path)) == "the folder cannot be read: Permission denied"

    def test_no_such_tags(self, tmp_path: Path) -> None:
        graphs = [graph(["serve", "gpu"], ["f"]), graph([], ["f"]), SERVE]
        path = write(tmp_path, *graphs)
        there = "there is: gpu,serve; (no tags); serve"
        assert why(path, "train") == f"no graph is tagged train; {there}"

    def test_only_hidden_signatures(self, tmp_path: Path) -> None:
        path = write(tmp_path, graph(["serve"], ["__saved_model_init_op"]))
        assert why(path) == "the graph tagged serve has no signature"

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (b"", "it has no graph"),
            (b"\x08\x01", "it has no graph"),
            (b"not a protocol buffer", "wire type 6"),
            (SERVE[:-3], "it is cut short"),
            (b"\x12\x80", "it is cut short"),
            (b"\xff" * 20, "a number is too long"),
            (graph(["serve"], [])[:-2] + b"\xff", "it is cut short"),
        ],
    )
    def test_it_is_corrupt(self, tmp_path: Path, content: bytes, text: str) -> None:
        (tmp_path / "saved_model.pb").write_bytes(content)
        assert why(str(tmp_path)) == f"saved_model.pb is not a SavedModel: {text}"

    @pytest.mark.parametrize("size", range(len(SERVE)))
    def test_a_part_of_a_file_is_never_a_surprise(
        self, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "saved_model.pb").write_bytes(SERVE[:size])
        assert why(str(tmp_path))


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    path = write(tmp_path, SERVE)
    code = (
        "import sys; from txinfer.layout import find; find(sys.argv[1], ['serve'])\n"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
