"""A service whose models come over the network, on the real reactor."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem
from twisted.web.resource import Resource
from twisted.web.static import Data

from tests.memory import MemoryModel
from tests.services import ServiceCase, reactor, until
from tests.test_layout import SERVE, write
from tests.test_remote import PB, packed
from txinfer import InferenceService
from txinfer.errors import InvalidModel
from txinfer.interfaces import IModel


class RemoteTests(ServiceCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scratch = Path(folder.name, "scratch")
        self.scratch.mkdir()
        self.patch(tempfile, "tempdir", str(self.scratch))
        write(Path(folder.name, "made", "3"), SERVE)
        self.content = packed(Path(folder.name, "made"))
        self.loaded: list[str] = []

    def load_folder(self, path: str, _: object) -> IModel:
        self.loaded.append(path)
        return MemoryModel()

    def service(self, path: str, **options: Any) -> InferenceService:
        service = InferenceService(
            path, load_folder=self.load_folder, reactor=reactor, **options
        )
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def archive_at(self) -> str:
        root: Any = Resource()
        root.putChild(b"digits.tar.gz", Data(self.content, "application/gzip"))
        return f"{(await self.listening(root)).base}/digits.tar.gz"

    async def test_an_archive_is_fetched_and_served(self) -> None:
        sha256 = hashlib.sha256(self.content).hexdigest()
        service = self.service(f"{await self.archive_at()}#sha256={sha256}")
        await service.when_ready()
        (model,) = service.listing()
        assert model["name"] == "digits"
        assert [row["version"] for row in model["versions"]] == [3]
        outputs = await service.predict("serving_default", x=[1])
        self.assertEqual(outputs["y"].tolist(), [3])
        await service.stopService()
        self.assertEqual(os.listdir(self.scratch), [])

    async def test_a_wrong_checksum_keeps_it_from_being_served(self) -> None:
        service = self.service(f"{await self.archive_at()}#sha256={'0' * 64}")
        said = await self.fails(InvalidModel, service.when_ready())
        self.assertIn("its SHA-256 is", said)
        self.assertEqual(self.loaded, [])

    async def test_more_than_is_taken_is_refused(self) -> None:
        service = self.service(await self.archive_at(), model_size=10)
        said = await self.fails(InvalidModel, service.when_ready())
        self.assertIn("more than 10", said)

    async def test_a_store_is_searched_for_new_versions(self) -> None:
        store = MemoryFileSystem()
        store.pipe_file("/digits/3/saved_model.pb", PB)
        self.addCleanup(store.rm, "/digits", recursive=True)
        service = self.service("memory://digits")
        await service.when_ready()
        self.assertEqual(len(os.listdir(self.scratch)), 1)
        store.pipe_file("/digits/4/saved_model.pb", PB)
        (watcher,) = service._current().watchers.values()
        await watcher.look()
        await watcher.look()
        await until(lambda: len(service.listing()[0]["versions"]) == 1)
        self.assertEqual(service.listing()[0]["versions"][0]["version"], 4)
        # What the old version had on this machine is gone with it.
        self.assertEqual(len(os.listdir(self.scratch)), 1)
        await service.stopService()
        self.assertEqual(os.listdir(self.scratch), [])
