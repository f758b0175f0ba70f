"""Models in archives that are somewhere else, and in a store in memory."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from tests.deferreds import reason, result
from tests.memory import MemoryModel
from tests.pool import SteppedThreads
from tests.test_layout import SERVE, write
from txinfer.buckets import Bucket, bring
from txinfer.errors import InvalidModel
from txinfer.interfaces import IModel
from txinfer.remote import Archive
from txinfer.sources import Found, ISource
from txinfer.transfer import Failed, Transfer

PB = b"\x08\x01" + SERVE


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def packed(folder: Path) -> bytes:
    """A folder as a tar.gz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, "digits")
    return file.getvalue()


class Bench:
    """Loads are recorded, with what was in the folder."""

    def __init__(self) -> None:
        self.threads = SteppedThreads(2)
        self.clock = Clock()
        self.loaded: list[dict[str, bytes]] = []

    def load(self, path: str, tags: Sequence[str]) -> IModel:
        folder = Path(path)
        files = {str(f.relative_to(folder)): f for f in folder.rglob("*")}
        self.loaded.append({n: f.read_bytes() for n, f in files.items() if f.is_file()})
        return MemoryModel()

    def numbers(self, source: Any) -> Collection[int]:
        numbers: Deferred[Any] = source.numbers()
        self.threads.finish()
        found: Any = result(numbers)
        return set(found)

    def refused(self, source: Any) -> str:
        numbers: Deferred[Collection[int]] = source.numbers()
        self.threads.finish()
        error = reason(numbers)
        assert isinstance(error, InvalidModel)
        return str(error)

    def inspect(self, source: Any, number: int) -> Found:
        found: Deferred[Found] = source.inspect(number)
        self.threads.finish()
        return result(found)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestArchive:
    @pytest.fixture(autouse=True)
    def _content(self, tmp_path: Path, bench: Bench) -> None:
        write(tmp_path / "made" / "3", SERVE)
        write(tmp_path / "made" / "4", SERVE)
        self.bench = bench
        self.content = packed(tmp_path / "made")
        self.waiting: list[Deferred[None]] = []
        self.wait = False

    async def bring(self, file: IO[bytes], transfer: Transfer) -> str:
        transfer.expect(len(self.content))
        transfer.count(len(self.content))
        if self.wait:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        file.write(self.content)
        return hashlib.sha256(self.content).hexdigest()

    def source(self, sha256: str | None = None, most: int = 10**6) -> Archive:
        return Archive(
            "https://a.example/digits.tar.gz",
            sha256,
            self.bring,
            ("serve",),
            self.bench.load,
            self.bench.threads,
            self.bench.clock,
            Transfer(most),
        )

    def test_the_interface_is_kept(self) -> None:
        verifyObject(ISource, self.source())

    def test_its_versions_are_found_and_loaded(self) -> None:
        source = self.source()
        assert self.bench.numbers(source) == {3, 4}
        found = self.bench.inspect(source, 4)
        assert found.unfinished is None
        found.load()
        assert self.bench.loaded == [{"saved_model.pb": PB}]

    def test_it_is_fetched_once(self, scratch: Path) -> None:
        source = self.source()
        self.bench.numbers(source)
        self.content = b"something else"
        assert self.bench.numbers(source) == {3, 4}
        assert len(os.listdir(scratch)) == 1

    def test_nothing_is_left_of_it_in_the_end(self, scratch: Path) -> None:
        source = self.source()
        self.bench.numbers(source)
        source.stop()
        cleared = source.clear()
        self.bench.threads.finish()
        assert cleared.called
        assert os.listdir(scratch) == []

    def test_the_right_checksum_is_taken(self) -> None:
        sha256 = hashlib.sha256(self.content).hexdigest()
        assert self.bench.numbers(self.source(sha256)) == {3, 4}

    def test_a_wrong_checksum_is_refused_before_it_is_unpacked(
        self, scratch: Path
    ) -> None:
        said = self.bench.refused(self.source("0" * 64))
        sha256 = hashlib.sha256(self.content).hexdigest()
        assert said == (
            f"https://a.example/digits.tar.gz: its SHA-256 is {sha256}, not {'0' * 64}"
        )
        assert os.listdir(scratch) == []

    def test_what_is_no_archive_is_refused(self, scratch: Path) -> None:
        self.content = b"<html>"
        assert "not an archive" in self.bench.refused(self.source())
        assert os.listdir(scratch) == []

    def test_more_than_is_taken_is_refused(self, scratch: Path) -> None:
        assert "more than 9" in self.bench.refused(self.source(most=9))
        assert os.listdir(scratch) == []

    def test_what_failed_may_be_tried_again(self, scratch: Path) -> None:
        whole, self.content = self.content, b""
        source = self.source()
        assert self.bench.refused(source)
        self.content = whole
        assert self.bench.numbers(source) == {3, 4}

    def test_how_far_it_is_is_told_every_five_seconds(self) -> None:
        self.wait = True
        with capturedLogs() as events:
            self.source().numbers()
            self.bench.threads.finish()
            self.bench.clock.advance(5)
        assert [event["far"] for event in events] == ["0 MiB", "0 of 0 MiB"]
        self.waiting.pop().callback(None)
        assert not self.bench.clock.getDelayedCalls()

    def refreshed(self, source: Archive) -> Deferred[None]:
        refreshed = source.refresh()
        self.bench.threads.finish()
        return refreshed

    def test_it_is_fetched_again_when_somebody_says_so(
        self, tmp_path: Path, scratch: Path
    ) -> None:
        source = self.source()
        self.bench.numbers(source)
        write(tmp_path / "made" / "5", SERVE)
        self.content = packed(tmp_path / "made")
        for count in (2, 2):
            assert self.refreshed(source).called
            assert self.bench.numbers(source) == {3, 4, 5}
            # What is loaded may still need the one before.
            assert len(os.listdir(scratch)) == count

    def test_if_it_cannot_be_had_again_all_is_as_it_was(self, scratch: Path) -> None:
        source = self.source()
        self.bench.numbers(source)
        self.content = b"<html>"
        assert isinstance(reason(self.refreshed(source)), InvalidModel)
        assert self.bench.numbers(source) == {3, 4}
        self.bench.inspect(source, 4).load()
        assert self.bench.loaded == [{"saved_model.pb": PB}]

    def test_stopping_stops_it(self, scratch: Path) -> None:
        self.wait = True
        source = self.source()
        numbers = source.numbers()
        self.bench.threads.finish()
        source.stop()
        self.bench.threads.finish()
        assert isinstance(reason(numbers), InvalidModel)
        assert os.listdir(scratch) == []


class TestBucket:
    @pytest.fixture(autouse=True)
    def _store(self, bench: Bench) -> Iterator[None]:
        self.bench = bench
        self.fs = MemoryFileSystem()
        yield
        self.fs.rm("/models", recursive=True)

    def put(self, name: str, content: bytes = PB) -> None:
        self.fs.pipe_file(f"/models/{name}", content)

    def source(self, path: str = "digits", most: int = 10**6) -> Bucket:
        url = f"memory://models/{path}"
        return Bucket(url, ("serve",), self.bench.load, self.bench.threads, most)

    def test_the_interface_is_kept(self) -> None:
        self.put("digits/3/saved_model.pb")
        verifyObject(ISource, self.source())

    def test_version_folders_are_versions(self) -> None:
        self.put("digits/3/saved_model.pb")
        self.put("digits/12/saved_model.pb")
        self.put("digits/x/saved_model.pb")
        assert self.bench.numbers(self.source()) == {3, 12}

    def test_a_saved_model_alone_is_one_version(self) -> None:
        self.put("digits/saved_model.pb")
        self.put("other/7/saved_model.pb")
        assert self.bench.numbers(self.source()) == {1}
        assert self.bench.numbers(self.source("other/7")) == {7}

    def test_a_version_is_fetched_whole_and_loaded(self, scratch: Path) -> None:
        self.put("digits/3/saved_model.pb")
        self.put("digits/3/variables/variables.index", b"index")
        self.put("digits/3/variables/variables.data-00000-of-00001", b"data" * 99)
        source = self.source()
        self.bench.numbers(source)
        found = self.bench.inspect(source, 3)
        assert found.unfinished is None
        assert found.place == "memory://models/digits (3)"
        assert found.folder() is None
        found.load()
        assert found.folder() is not None
        assert self.bench.loaded == [
            {
                "saved_model.pb": PB,
                "variables/variables.index": b"index",
                "variables/variables.data-00000-of-00001": b"data" * 99,
            }
        ]
        assert found.progress is not None
        assert found.progress() == "0 of 0 MiB"
        assert found.discard is not None
        found.discard()
        found.discard()
        assert os.listdir(scratch) == []

    def test_half_an_upload_is_known_as_such(self) -> None:
        self.put("digits/3/saved_model.pb")
        self.put("digits/3/variables/variables.index", b"index")
        source = self.source()
        self.bench.numbers(source)
        found = self.bench.inspect(source, 3)
        assert found.unfinished == "the variables' data are missing"

    def test_the_mark_changes_with_the_files(self) -> None:
        self.put("digits/3/saved_model.pb")
        source = self.source()
        self.bench.numbers(source)
        marks = {self.bench.inspect(source, 3).mark for _ in range(2)}
        assert len(marks) == 1
        self.put("digits/3/assets/words", b"a")
        marks.add(self.bench.inspect(source, 3).mark)
        self.put("digits/3/assets/words", b"b")
        marks.add(self.bench.inspect(source, 3).mark)
        assert len(marks) == 3

    def test_what_is_not_there_is_told(self) -> None:
        said = self.bench.refused(self.source("nothing"))
        assert said == "memory://models/nothing: FileNotFoundError: /models/nothing"
        self.put("empty/readme")
        assert "neither a SavedModel nor" in self.bench.refused(self.source("empty"))

    def test_a_version_that_is_too_large_is_refused(self, scratch: Path) -> None:
        self.put("digits/3/saved_model.pb")
        source = self.source(most=len(PB) - 1)
        self.bench.numbers(source)
        found = self.bench.inspect(source, 3)
        with pytest.raises(InvalidModel, match=r"it has \d+ bytes, more than"):
            found.load()
        assert found.discard is not None
        found.discard()
        assert os.listdir(scratch) == []

    def test_a_name_that_leads_out_is_refused(self, tmp_path: Path) -> None:
        self.put("digits/3/saved_model.pb")
        source = self.source()
        self.bench.numbers(source)
        self.fs.store["/models/digits/3/../../out"] = self.fs.store[
            "/models/digits/3/saved_model.pb"
        ]
        found = self.bench.inspect(source, 3)
        with pytest.raises(InvalidModel, match="it has a file outside of it"):
            found.load()
        del self.fs.store["/models/digits/3/../../out"]

    def test_stopping_stops_what_is_fetched(self) -> None:
        self.put("digits/3/saved_model.pb")
        source = self.source()
        self.bench.numbers(source)
        found = self.bench.inspect(source, 3)
        source.stop()
        with pytest.raises(InvalidModel, match="stopped"):
            found.load()
        assert self.bench.loaded == []

    def test_a_file_of_a_store_is_brought_for_an_archive(self) -> None:
        self.put("digits.tar.gz", b"archive")
        file, transfer = io.BytesIO(), Transfer(100)
        url = "memory://models/digits.tar.gz"
        brought = Deferred.fromCoroutine(bring(self.bench.threads, url, file, transfer))
        self.bench.threads.finish()
        assert result(brought) == hashlib.sha256(b"archive").hexdigest()
        assert file.getvalue() == b"archive"
        gone = Deferred.fromCoroutine(
            bring(self.bench.threads, url + "x", file, transfer)
        )
        self.bench.threads.finish()
        assert isinstance(reason(gone), Failed)
