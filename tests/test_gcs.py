"""Models in Google Cloud Storage: gcsfs itself, and a store that has its protocol."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.deferreds import reason, result
from tests.memory import MemoryModel
from tests.pool import SteppedThreads
from tests.test_layout import SERVE
from tests.test_remote import packed
from txinfer.errors import InvalidModel
from txinfer.failures import may_pass
from txinfer.interfaces import IModel
from txinfer.origin import source_of
from txinfer.sources import Found, ISource
from txinfer.specs import ModelSpec

# Both are in the extra "test".
gcsfs = pytest.importorskip("gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server")

PB = b"\x08\x01" + SERVE


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A store on this machine, with an empty bucket ``models``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with emulator.create_server("127.0.0.1", port, True, "models"):
        yield f"http://127.0.0.1:{port}"


class Bench:
    """A model in the store as a source; what is loaded of it is recorded."""

    def __init__(self, fs: Any) -> None:
        self.fs = fs
        self.threads = SteppedThreads(2)
        self.loaded: list[dict[str, bytes]] = []

    def put(self, name: str, content: bytes = PB) -> None:
        self.fs.pipe_file(f"models/{name}", content)

    def source(self, path: str, most: int = 10**6) -> Any:
        spec = ModelSpec(path, ("serve",))
        return source_of(spec, self._load, self.threads, Clock(), most)

    def numbers(self, source: ISource) -> Deferred[Any]:
        numbers: Deferred[Any] = source.numbers()
        self.threads.finish()
        return numbers

    def inspect(self, source: ISource, number: int) -> Found:
        found = source.inspect(number)
        self.threads.finish()
        return result(found)

    def refused(self, source: ISource) -> str:
        error = reason(self.numbers(source))
        assert isinstance(error, InvalidModel)
        return str(error)

    def _load(self, path: str, tags: Sequence[str]) -> IModel:
        folder = Path(path)
        files = [file for file in folder.rglob("*") if file.is_file()]
        self.loaded.append({str(f.relative_to(folder)): f.read_bytes() for f in files})
        return MemoryModel()


@pytest.fixture
def bench(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    # What kind of bucket it is the store does not know.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield Bench(gcsfs.GCSFileSystem())
    gcsfs.GCSFileSystem.clear_instance_cache()


def test_version_folders_are_found_fetched_and_loaded(
    bench: Bench, tmp_path: Path
) -> None:
    bench.put("digits/3/saved_model.pb")
    bench.put("digits/3/variables/variables.index", b"index")
    bench.put("digits/3/variables/variables.data-00000-of-00001", b"data" * 99)
    source = bench.source("gs://models/digits")
    assert set(result(bench.numbers(source))) == {3}
    found = bench.inspect(source, 3)
    assert found.unfinished is None
    found.load()
    assert bench.loaded == [
        {
            "saved_model.pb": PB,
            "variables/variables.index": b"index",
            "variables/variables.data-00000-of-00001": b"data" * 99,
        }
    ]
    assert found.discard is not None
    found.discard()
    assert os.listdir(tmp_path) == []


def test_a_new_version_is_seen_and_so_is_a_change(bench: Bench) -> None:
    bench.put("words/3/saved_model.pb")
    source = bench.source("gs://models/words")
    assert set(result(bench.numbers(source))) == {3}
    before = bench.inspect(source, 3).mark
    assert bench.inspect(source, 3).mark == before
    bench.put("words/4/saved_model.pb")
    bench.put("words/3/saved_model.pb", PB[::-1])
    assert set(result(bench.numbers(source))) == {3, 4}
    assert bench.inspect(source, 3).mark != before


def test_an_archive_is_fetched_with_its_checksum(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "7"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(PB)
    content = packed(tmp_path / "made")
    bench.put("digits.tar.gz", content)
    sha256 = hashlib.sha256(content).hexdigest()
    url = "gs://models/digits.tar.gz"
    source = bench.source(f"{url}#sha256={sha256}")
    assert set(result(bench.numbers(source))) == {7}
    bench.inspect(source, 7).load()
    assert bench.loaded == [{"saved_model.pb": PB}]
    other = bench.source(f"{url}#sha256={'0' * 64}")
    assert bench.refused(other) == (f"{url}: its SHA-256 is {sha256}, not {'0' * 64}")
    small = bench.source(url, most=len(content) - 1)
    assert f"it has {len(content)} bytes" in bench.refused(small)


def test_what_is_not_there_is_told(bench: Bench) -> None:
    for path in ("gs://models/none", "gs://models/none.tar.gz", "gs://other/none"):
        assert bench.refused(bench.source(path)).startswith(f"{path}: FileNotFoundEr")


def test_what_goes_while_it_is_fetched_may_be_had_later(bench: Bench) -> None:
    bench.put("gone/3/saved_model.pb")
    source = bench.source("gs://models/gone")
    assert result(bench.numbers(source))
    found = bench.inspect(source, 3)
    bench.fs.rm("models/gone/3/saved_model.pb")
    with pytest.raises(InvalidModel) as caught:
        found.load()
    assert may_pass(caught.value)
