"""Version folders on disk, and when they are whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import pytest
from zope.interface.verify import verifyObject

from tests.deferreds import reason, result
from tests.memory import MemoryModel
from tests.pool import SteppedThreads
from tests.test_layout import SERVE, write
from txinfer.errors import InvalidModel
from txinfer.interfaces import IModel
from txinfer.sources import Folder, Found, ISource, OneModel, why_unfinished


class Bench:
    """A folder as a source; what it loads is recorded."""

    def __init__(self, path: Path) -> None:
        self.loaded: list[tuple[str, tuple[str, ...]]] = []
        self.threads = SteppedThreads()
        self.source = Folder(str(path), ("serve",), self.load, self.threads)

    def load(self, path: str, tags: Collection[str]) -> IModel:
        self.loaded.append((path, tuple(tags)))
        return MemoryModel()

    def numbers(self) -> Collection[int]:
        numbers = self.source.numbers()
        self.threads.finish()
        return result(numbers)

    def inspect(self, number: int) -> Found:
        found = self.source.inspect(number)
        self.threads.finish()
        return result(found)


def test_the_interfaces_are_kept(tmp_path: Path) -> None:
    verifyObject(ISource, Bench(tmp_path).source)
    verifyObject(ISource, OneModel("memory", MemoryModel))


def test_version_folders_are_versions(tmp_path: Path) -> None:
    write(tmp_path / "3", SERVE)
    write(tmp_path / "0010", SERVE)
    (tmp_path / "x").mkdir()
    bench = Bench(tmp_path)
    assert set(bench.numbers()) == {3, 10}
    found = bench.inspect(10)
    assert found.unfinished is None
    assert found.place == found.folder() == str(tmp_path / "0010")
    found.load()
    assert bench.loaded == [(found.place, ("serve",))]


@pytest.mark.parametrize(("name", "number"), [("model", 1), ("12", 12), ("0", 0)])
def test_a_saved_model_alone_is_one_version(
    tmp_path: Path, name: str, number: int
) -> None:
    write(tmp_path / name, SERVE)
    assert list(Bench(tmp_path / name).numbers()) == [number]


def test_a_folder_of_nothing_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    numbers = bench.source.numbers()
    bench.threads.finish()
    error = reason(numbers)
    assert isinstance(error, InvalidModel)
    assert "neither a SavedModel nor a folder" in str(error)


def test_the_mark_changes_with_any_file(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    write(folder, SERVE)
    bench = Bench(tmp_path)
    bench.numbers()
    marks = [bench.inspect(1).mark]
    assert bench.inspect(1).mark == marks[0]
    (folder / "assets").mkdir()
    (folder / "assets" / "words").write_text("a")
    marks.append(bench.inspect(1).mark)
    (folder / "assets" / "words").write_text("ab")
    marks.append(bench.inspect(1).mark)
    os.utime(folder / "saved_model.pb", ns=(1, 1))
    marks.append(bench.inspect(1).mark)
    assert len(set(marks)) == 4


def test_a_link_to_nowhere_is_no_file(tmp_path: Path) -> None:
    write(tmp_path, SERVE)
    bench = Bench(tmp_path)
    (number,) = bench.numbers()
    before = bench.inspect(number).mark
    (tmp_path / "link").symlink_to("nowhere")
    assert bench.inspect(number).mark == before


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    write(folder, SERVE)
    bench = Bench(tmp_path)
    (number,) = bench.numbers()
    shutil.rmtree(folder)
    folder.touch()
    found = bench.source.inspect(number)
    bench.threads.finish()
    error = reason(found)
    assert isinstance(error, InvalidModel)
    assert str(error) == f"{folder}: it cannot be read: Not a directory"


WHOLE = ("saved_model.pb", "variables/variables.index")
ONE = "variables/variables.data-00000-of-00001"
TWO = "variables/variables.data-00000-of-00002"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "it has no saved_model.pb yet"),
        (["variables/variables.index", ONE], "it has no saved_model.pb yet"),
        (["saved_model.pb"], None),
        (["saved_model.pbtxt"], None),
        ([*WHOLE, ONE], None),
        ([*WHOLE], "the variables' data are missing"),
        (["saved_model.pb", ONE], "variables.index is missing"),
        ([*WHOLE, TWO], "1 of 2 parts of the variables are there"),
        ([*WHOLE, TWO, TWO.replace("00000-", "00001-")], None),
        ([*WHOLE, ONE, "variables/.x.data.Ab3dE6"], "'.x.data.Ab3dE6' is being"),
        (["saved_model.pb", "variables_temp/part"], "'variables_temp' is being"),
        ([*WHOLE, ONE, ONE + ".tempstate12"], "'variables.data-00000-of-00001.te"),
        (["saved_model.pb", "assets/words_.gstmp"], "'words_.gstmp' is being"),
        # These are nobody's unfinished business.
        (["saved_model.pb", ".DS_Store", "assets/.gitkeep"], None),
    ],
)
def test_half_a_copy_is_known_as_such(files: list[str], why: str | None) -> None:
    found = why_unfinished(files)
    assert found == why if why is None else (found or "").startswith(why)


def test_a_model_that_somebody_makes_is_version_one() -> None:
    model = MemoryModel()
    source = OneModel("memory", lambda: model)
    numbers: Collection[int] = result(source.numbers())
    assert list(numbers) == [1]
    found = result(source.inspect(1))
    assert found.load() is model
    source.stop()
    assert source.clear().called
