"""Several models and their versions, over HTTP and in Python, on the real reactor."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from twisted.logger import capturedLogs

from tests.memory import AFFINE, MemoryModel
from tests.services import ServiceCase, reactor, until
from tests.test_layout import SERVE, write
from txinfer import InferenceService, ModelSpec
from txinfer.errors import InvalidModel, UnknownLabel, UnknownModel, UnknownVersion
from txinfer.interfaces import IModel
from txinfer.specs import ALL
from txinfer.tensors import Tensors


def giving(value: float, *methods: str) -> MemoryModel:
    """A model of which every answer is the same number."""

    def give(tensors: Tensors) -> Tensors:
        return {"y": np.full_like(tensors["x"], value)}

    names = methods or ("serving_default",)
    return MemoryModel(dict.fromkeys(names, AFFINE), dict.fromkeys(names, give))


class AddressTests(ServiceCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for number in (3, 4):
            write(self.folder / str(number), SERVE)

    def load_folder(self, path: str, _: object) -> IModel:
        return giving(int(Path(path).name), "serving_default", "a/b")

    async def serving(self, **options: Any) -> InferenceService:
        """A service of ``one`` and of ``two``, whose versions are 3 and 4."""
        first = ModelSpec("memory", load=lambda: giving(1))
        labels = {"stable": 3, "lost": 9}
        second = ModelSpec(str(self.folder), versions=ALL, labels=labels)
        service = InferenceService(
            models={"one": first, "two": second},
            load_folder=self.load_folder,
            reactor=reactor,
            **options,
        )
        service.startService()
        self.addCleanup(service.stopService)
        await service.when_ready()
        return service

    async def test_every_address_has_its_methods(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        for path, value in {
            "/": 1,
            "/serving_default": 1,
            "/models/one": 1,
            "/models/one/": 1,
            "/models/one/serving_default": 1,
            "/models/one/versions/1": 1,
            "/models/two": 4,
            "/models/two/serving_default": 4,
            "/models/two/a/b": 4,
            "/models/two/versions/3": 3,
            "/models/two/versions/3/": 3,
            "/models/two/versions/3/a/b": 3,
            "/models/two/versions/4/serving_default": 4,
            "/models/two/labels/stable": 3,
            "/models/two/labels/stable/a/b": 3,
        }.items():
            answer = await web.ask(path, {"x": [0]})
            self.assertEqual(answer, (200, {"y": [value]}), path)

    async def test_the_methods_are_listed_at_every_address(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        for path in ("/models/two", "/models/two/", "/models/two/labels/stable/"):
            status, listed = await web.look(path)
            names = [method["name"] for method in listed]
            self.assertEqual((status, names), (200, ["serving_default", "a/b"]))
        status, listed = await web.look("/models/two/versions/4/a/b")
        self.assertEqual((status, listed["name"]), (200, "a/b"))

    async def test_the_models_are_listed(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        status, listed = await web.look("/models")
        self.assertEqual(status, 200)
        one = {
            "version": 1,
            "state": "AVAILABLE",
            "methods": ["serving_default"],
        }
        self.assertEqual(listed[0], {"name": "one", "labels": {}, "versions": [one]})
        two = listed[1]
        self.assertEqual(two["labels"], {"stable": 3, "lost": 9})
        states = [(row["version"], row["state"]) for row in two["versions"]]
        self.assertEqual(states, [(9, "END"), (4, "AVAILABLE"), (3, "AVAILABLE")])
        self.assertEqual(two["versions"][0]["error"], "it is not there")
        self.assertNotIn(str(self.folder), str(listed))

    async def test_what_is_not_there_is_told(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        for path, status, said in (
            ("/models/three", 404, "no model 'three'; known: one, two"),
            ("/models/two/versions/5", 404, "no version '5'; known: 3, 4"),
            ("/models/two/labels/new", 404, "no label 'new'; known: lost, stable"),
            ("/models/two/labels/lost", 503, "the model is not loaded; the log says"),
            ("/models/two/nothing", 404, "no method 'nothing'; known: serving_d"),
            ("/models/two/versions/x", 404, "no version 'x'"),
            ("/models/two/versions/-1/a/b", 404, "no version '-1'"),
            ("/models/two/versions/%D9%A3", 404, "no version '٣'"),
            ("/models//x", 404, "no method 'models//x'; known: serving_default"),
        ):
            code, answer = await web.ask(path, {"x": [0]})
            self.assertEqual(code, status, path)
            self.assertTrue(answer["error"].startswith(said), answer)

    async def test_calls_of_what_is_not_there_are_counted_and_timed(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        for path in (
            "/models/three",
            "/models/three/a/b",
            "/models/two/versions/x/a/b",
            "/models/two/labels/lost",
            "/models/two/nothing",
        ):
            response = await web.post(path, {"x": [0]})
            self.assertTrue(response.headers.hasHeader("Server-Timing"), path)
            await response.content()
        await service.stopService()
        response = await web.post("/models/two", {"x": [0]})
        self.assertTrue(response.headers.hasHeader("Server-Timing"))
        await response.content()
        counted = service.operations.metrics.methods["", ""].statuses
        self.assertEqual(dict(counted), {404: 4, 503: 2})

    async def test_a_number_that_is_no_version_costs_no_more_than_others(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        code, answer = await web.ask(f"/models/two/versions/{'9' * 5000}", {})
        self.assertEqual(code, 404)
        self.assertLess(len(answer["error"]), 200)

    async def test_other_verbs_are_refused(self) -> None:
        service = await self.serving()
        web = await self.listening(service.resource())
        # A method of the first model may be called so.
        self.assertEqual((await web.ask("/models", {}))[0], 404)
        status, _ = await web.ask("/models/two/versions/3", {"x": [0]})
        self.assertEqual(status, 200)

    async def test_python_has_the_same_addresses(self) -> None:
        service = await self.serving()

        async def ask(*args: Any, **address: Any) -> float:
            caller = service.model(*args, **address)
            outputs = await caller.predict("serving_default", x=[0])
            return float(outputs["y"][0])

        self.assertEqual(await ask(), 1)
        self.assertEqual(await ask("one"), 1)
        self.assertEqual(await ask("two"), 4)
        self.assertEqual(await ask("two", version=3), 3)
        self.assertEqual(await ask("two", label="stable"), 3)
        await self.fails(UnknownModel, ask("three"))
        await self.fails(UnknownVersion, ask("two", version=5))
        await self.fails(UnknownLabel, ask("two", label="new"))
        names = [method.name for method in service.model("two").methods()]
        self.assertEqual(names, ["serving_default", "a/b"])

    async def test_a_caller_may_be_kept(self) -> None:
        service = await self.serving(poll_seconds=0.01)
        two = service.model("two")
        outputs = await two.predict("serving_default", x=[0])
        self.assertEqual(outputs["y"].tolist(), [4])
        write(self.folder / "5", SERVE)
        await until(lambda: len(service.listing()[1]["versions"]) == 4)
        await until(lambda: two.method("serving_default").labels.version == 5)
        outputs = await two.predict("serving_default", x=[0])
        self.assertEqual(outputs["y"].tolist(), [5])

    async def test_one_model_that_does_not_load_fails_whoever_waits(self) -> None:
        def load() -> IModel:
            raise InvalidModel("two: broken")

        models = {
            "one": ModelSpec("one", load=lambda: giving(1)),
            "two": ModelSpec("two", load=load),
        }
        service = InferenceService(models=models, reactor=reactor)
        service.startService()
        self.addCleanup(service.stopService)
        said = await self.fails(InvalidModel, service.when_ready())
        self.assertEqual(said, "two: broken")
        # The other is served all the same.
        outputs = await service.predict("serving_default", x=[0])
        self.assertEqual(outputs["y"].tolist(), [1])

    async def test_methods_that_the_addresses_hide_are_told(self) -> None:
        with capturedLogs() as events:
            await self.started(MemoryModel({"models/x": AFFINE}))
        told = [event["name"] for event in events if "hides" in event["log_format"]]
        self.assertEqual(told, ["models/x"])
