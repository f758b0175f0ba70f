"""Models managed over HTTP, on the real reactor, with models in memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import treq
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers

from tests.gates import Gate
from tests.memory import MemoryModel
from tests.services import Listening, ServiceCase, reactor, turn, until
from tests.test_layout import SERVE, write
from txinfer import InferenceService, ModelSpec
from txinfer.errors import InvalidModel, Unavailable
from txinfer.interfaces import IModel
from txinfer.tensors import Tensors


class AdminTests(ServiceCase):
    """A service of the model ``digits``, whose versions are 3 and 4, and a client."""

    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.broken: set[str] = set()
        self.gate, self.loading = Gate(), Gate()
        self.addCleanup(self.gate.open)
        self.addCleanup(self.loading.open)
        for number in (3, 4):
            write(self.folder / "digits" / str(number), SERVE)

    def load_folder(self, path: str, tags: object) -> IModel:
        assert tags == ("serve",)
        self.loading({"x": np.zeros(1)})
        name = str(Path(path).relative_to(self.folder))
        if name in self.broken:
            raise InvalidModel(f"{path}: broken")
        number = float(Path(path).name) if Path(path).name.isdigit() else 1.0

        def give(tensors: Tensors) -> Tensors:
            self.gate(tensors)
            return {"y": np.full_like(tensors["x"], number)}

        return MemoryModel(functions={"serving_default": give})

    async def serving(self) -> InferenceService:
        service = InferenceService(
            models={"digits": ModelSpec(str(self.folder / "digits"))},
            load_folder=self.load_folder,
            poll_seconds=0,
            reactor=reactor,
        )
        service.startService()
        self.addCleanup(service.stopService)
        await service.when_ready()
        self.service = service
        self.admin = await self.listening(service.admin())
        self.web: Listening = await self.listening(service.resource())
        return service

    async def send(
        self, verb: str, path: str, value: object = None, **headers: str
    ) -> tuple[int, Any]:
        sent: dict[str, Any] = {} if value is None else {"json": value}
        response = await treq.request(
            verb,
            self.admin.base + path,
            headers=Headers({name: [value] for name, value in headers.items()}),
            pool=self.admin.pool,
            **sent,
        )
        return response.code, await response.json()

    async def asked(self, path: str) -> tuple[int, Any]:
        status, answer = await self.web.ask(path, {"x": [0]})
        return status, answer.get("y", answer.get("error"))

    def versions(self, model: Any) -> dict[int, str]:
        return {row["version"]: row["state"] for row in model["versions"]}

    async def test_everything_is_listed_with_what_is_wrong(self) -> None:
        self.broken = {"digits/4"}
        await self.serving()
        status, models = await self.send("GET", "/models")
        self.assertEqual(status, 200)
        (digits,) = models
        self.assertEqual(digits["path"], str(self.folder / "digits"))
        self.assertEqual(self.versions(digits), {4: "END", 3: "AVAILABLE"})
        why = f"{self.folder}/digits/4: broken"
        self.assertEqual(digits["versions"][0]["error"], why)
        self.assertEqual(await self.send("GET", "/models/digits"), (200, digits))

    async def test_a_model_is_loaded_and_unloaded(self) -> None:
        service = await self.serving()
        path = write(self.folder / "iris", SERVE)
        self.assertEqual((await self.asked("/models/iris"))[0], 404)
        status, iris = await self.send("POST", "/models/iris", {"path": path})
        self.assertEqual(status, 200)
        self.assertEqual(self.versions(iris), {1: "AVAILABLE"})
        self.assertEqual(await self.asked("/models/iris"), (200, [1]))
        self.assertEqual(await self.asked("/"), (200, [4]))
        status, iris = await self.send("DELETE", "/models/iris")
        self.assertEqual((status, iris["versions"]), (200, []))
        self.assertEqual((await self.asked("/models/iris"))[0], 404)
        self.assertEqual(len((await self.send("GET", "/models"))[1]), 1)
        # Or somebody would be told that no version of it answers.
        told = {model for model, _ in service.operations.metrics.versions}
        self.assertEqual(told, {"digits"})

    async def test_a_model_s_policy_and_labels_are_those_of_its_table(self) -> None:
        await self.serving()
        table = {
            "path": str(self.folder / "digits"),
            "versions": "all",
            "labels": {"old": 3},
        }
        status, model = await self.send("POST", "/models/more", table)
        self.assertEqual(status, 200)
        self.assertEqual(self.versions(model), {4: "AVAILABLE", 3: "AVAILABLE"})
        self.assertEqual(await self.asked("/models/more/labels/old"), (200, [3]))

    async def test_a_model_that_cannot_be_served_is_not_there_afterwards(self) -> None:
        service = await self.serving()
        for table, said in (
            ({"path": "/nowhere"}, "/nowhere: there is no such folder"),
            ({"path": "relative"}, "the path must be absolute"),
            ({"path": "s3://b/m#sha256=1"}, "after the # must be"),
        ):
            status, answer = await self.send("POST", "/models/iris", table)
            self.assertEqual(status, 422, table)
            self.assertTrue(answer["error"].startswith(said), answer)
        self.assertEqual([model["name"] for model in service.listing()], ["digits"])
        self.assertEqual(service.unready(), [])

    async def test_a_model_s_name_is_given_once(self) -> None:
        await self.serving()
        table = {"path": str(self.folder / "digits")}
        status, answer = await self.send("POST", "/models/digits", table)
        self.assertEqual(status, 409)
        self.assertEqual(answer, {"error": "there is a model of that name"})

    async def test_unloading_the_first_model_leaves_the_root_empty(self) -> None:
        service = await self.serving()
        await self.send("DELETE", "/models/digits")
        status, said = await self.asked("/")
        self.assertEqual((status, said), (404, "no model 'digits'; known: none"))
        self.assertEqual(service.unready(), [])
        table = {"path": str(self.folder / "digits")}
        self.assertEqual((await self.send("POST", "/models/digits", table))[0], 200)
        self.assertEqual(await self.asked("/"), (200, [4]))

    async def test_versions_are_loaded_and_unloaded(self) -> None:
        await self.serving()
        status, digits = await self.send("POST", "/models/digits/versions/3")
        self.assertEqual(status, 200)
        self.assertEqual(self.versions(digits), {4: "AVAILABLE", 3: "AVAILABLE"})
        status, digits = await self.send("DELETE", "/models/digits/versions/4")
        self.assertEqual(status, 200)
        self.assertEqual(self.versions(digits), {3: "AVAILABLE"})
        self.assertEqual(await self.asked("/"), (200, [3]))

    async def test_a_version_that_cannot_be_loaded_is_told_why(self) -> None:
        self.broken = {"digits/3"}
        await self.serving()
        status, answer = await self.send("POST", "/models/digits/versions/3")
        self.assertEqual(status, 422)
        self.assertEqual(answer["error"], f"{self.folder}/digits/3: broken")
        status, answer = await self.send("POST", "/models/digits/versions/9")
        self.assertEqual((status, answer["error"]), (422, "there is no version 9"))

    async def test_a_model_and_a_version_are_reloaded(self) -> None:
        await self.serving()
        for path in ("/models/digits/reload", "/models/digits/versions/4/reload"):
            status, digits = await self.send("POST", path)
            self.assertEqual(status, 200)
            self.assertEqual(digits["versions"][0]["state"], "AVAILABLE")
        self.broken = {"digits/4"}
        status, _ = await self.send("POST", "/models/digits/reload")
        self.assertEqual(status, 422)
        self.assertEqual(await self.asked("/"), (200, [4]))

    async def test_labels_are_set_and_removed(self) -> None:
        await self.serving()
        path = "/models/digits/labels/stable"
        status, digits = await self.send("PUT", path, {"version": 4})
        self.assertEqual((status, digits["labels"]), (200, {"stable": 4}))
        self.assertEqual(await self.asked(path), (200, [4]))
        status, digits = await self.send("DELETE", path)
        self.assertEqual((status, digits["labels"]), (200, {}))
        self.assertEqual((await self.asked(path))[0], 404)

    async def test_what_is_not_there_is_told(self) -> None:
        await self.serving()
        for verb, path, value, said in (
            ("GET", "/models/iris", None, "no model 'iris'; known: digits"),
            ("DELETE", "/models/iris", None, "no model 'iris'; known: digits"),
            ("POST", "/models/iris/reload", None, "no model 'iris'; known: digits"),
            ("POST", "/models/digits/versions/x", None, "no version 'x'"),
            ("DELETE", "/models/digits/versions/9", None, "no version '9'; known: 4"),
            ("POST", "/models/digits/versions/9/reload", None, "no version '9'"),
            ("PUT", "/models/digits/labels/s", {"version": 9}, "no version '9'"),
            ("GET", "/", None, "not found"),
            ("GET", "/metrics", None, "not found"),
        ):
            status, answer = await self.send(verb, path, value)
            self.assertEqual(status, 404, path)
            self.assertTrue(answer["error"].startswith(said), answer)

    async def test_what_makes_no_sense_is_refused(self) -> None:
        await self.serving()
        for verb, path, value, said in (
            ("POST", "/models/iris", {}, "path: is missing"),
            ("POST", "/models/iris", {"path": 1}, "path = 1: must be a string"),
            ("POST", "/models/iris", {"pth": 1}, "pth: no such key; known: path, "),
            ("POST", "/models/iris", [], "the body must be a JSON object"),
            ("POST", "/models/-", {"path": "/a"}, "must be letters, digits"),
            ("PUT", "/models/digits/labels/s", {}, 'the body must be {"version": N}'),
            ("PUT", "/models/digits/labels/s", {"version": True}, "the body must be"),
            ("PUT", "/models/digits/labels/-", {"version": 4}, "must be letters"),
        ):
            status, answer = await self.send(verb, path, value)
            self.assertEqual(status, 400, (path, value))
            self.assertTrue(answer["error"].startswith(said), answer)
        status, _ = await self.send("PUT", "/models/digits")
        self.assertEqual(status, 405)

    async def test_what_browsers_can_send_is_refused(self) -> None:
        await self.serving()
        path = write(self.folder / "iris", SERVE)
        table = {"path": path}
        for origin in ("https://evil.example", "null", self.admin.base):
            status, answer = await self.send(
                "POST", "/models/iris", table, Origin=origin
            )
            self.assertEqual(status, 403)
        # A form cannot be sent as JSON.
        response = await treq.post(
            f"{self.admin.base}/models/iris",
            data=b'{"path": "/a"}',
            headers=Headers({"Content-Type": ["text/plain"]}),
            pool=self.admin.pool,
        )
        self.assertEqual(response.code, 415)
        await response.content()
        # A name of a stranger's that leads here.
        status, answer = await self.send("GET", "/models", Host="evil.example:80")
        self.assertEqual(status, 403)
        self.assertIn("not by another name", answer["error"])
        for host in ("localhost:99", "127.0.0.1", "[::1]:8081", "10.0.0.1"):
            status, _ = await self.send("GET", "/models", Host=host)
            self.assertEqual(status, 200, host)

    async def test_nothing_of_it_is_at_the_public_port(self) -> None:
        await self.serving()
        path = write(self.folder / "iris", SERVE)
        for verb, where in (
            ("POST", "/models/iris"),
            ("DELETE", "/models/digits"),
            ("POST", "/models/digits/reload"),
            ("DELETE", "/models/digits/versions/4"),
            ("POST", "/models/digits/versions/3"),
            ("PUT", "/models/digits/labels/stable"),
        ):
            response = await treq.request(
                verb, self.web.base + where, json={"path": path}, pool=self.web.pool
            )
            self.assertIn(response.code, (400, 404, 405), where)
            await response.content()
        (digits,) = self.service.listing()
        self.assertEqual(self.versions(digits), {4: "AVAILABLE"})
        self.assertEqual(digits["labels"], {})

    async def test_a_version_is_unloaded_when_its_calls_are_answered(self) -> None:
        service = await self.serving()
        self.gate.close()
        call = service.predict("serving_default", x=[0])
        await until(self.gate.entered.is_set)
        gone = Deferred.fromCoroutine(self.send("DELETE", "/models/digits"))
        await until(lambda: service.listing() == [])
        await turn()
        self.assertFalse(gone.called)
        self.gate.open()
        self.assertEqual((await call)["y"].tolist(), [4])
        self.assertEqual((await gone)[0], 200)

    async def test_what_was_begun_is_done_although_nobody_waits_for_it(self) -> None:
        service = await self.serving()
        path = write(self.folder / "iris", SERVE)
        self.loading.close()
        asked = Deferred.fromCoroutine(
            self.send("POST", "/models/iris", {"path": path})
        )
        await until(self.loading.entered.is_set)
        asked.cancel()
        await self.fails(Exception, asked)
        await turn()
        self.loading.open()
        iris = service.model("iris")
        await until(lambda: bool(service.listing()[1]["versions"]))
        await until(lambda: service.listing()[1]["versions"][0]["state"] == "AVAILABLE")
        outputs = await iris.predict("serving_default", x=[0])
        self.assertEqual(outputs["y"].tolist(), [1])

    async def test_stopping_the_service_stops_models_that_came_later(self) -> None:
        service = await self.serving()
        path = write(self.folder / "iris", SERVE)
        await self.send("POST", "/models/iris", {"path": path})
        await service.stopService()
        self.assertEqual((await self.send("GET", "/models"))[0], 503)
        await self.fails(
            Unavailable, service.model("iris").predict("serving_default", x=[0])
        )
