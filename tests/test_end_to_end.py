"""Real SavedModels behind the service, over HTTP and in Python."""

from __future__ import annotations

import base64
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import tensorflow as tf
from twisted.internet.defer import Deferred, gatherResults

from tests.saved_models import BUILDERS
from tests.services import Listening, ServiceCase, reactor
from txinfer import BatchPolicy, InferenceService
from txinfer.errors import InputRefused, InvalidModel
from txinfer.probe import PARTS

GOOD = bytes(tf.io.encode_png(np.full((8, 8, 3), 200, np.uint8)).numpy())


class EndToEndTests(ServiceCase):
    async def serving(self, kind: str, **options: Any) -> InferenceService:
        path = Path(mkdtemp(), kind)
        BUILDERS[kind](str(path))
        service = InferenceService(str(path), reactor=reactor, **options)
        service.startService()
        self.addCleanup(service.stopService)
        await service.when_ready()
        return service

    async def over_http(self, kind: str) -> Listening:
        return await self.listening((await self.serving(kind)).resource())

    async def test_64_clients_get_64_right_answers(self) -> None:
        web = await self.over_http("affine")
        answers = await gatherResults(
            [Deferred.fromCoroutine(web.ask("/", {"x": [n]})) for n in range(64)]
        )
        self.assertEqual(answers, [(200, {"y": [2.0 * n + 1]}) for n in range(64)])

    async def test_one_bad_image_beside_31_good_ones_fails_alone(self) -> None:
        web = await self.over_http("images")
        good = {"x": [{"b64": base64.b64encode(GOOD).decode()}]}
        bodies = [{"x": ["no image"]} if n == 13 else good for n in range(32)]
        answers = await gatherResults(
            [Deferred.fromCoroutine(web.ask("/", body)) for body in bodies]
        )
        refused = {"error": "the model refused this input (INVALID_ARGUMENT)"}
        self.assertEqual(answers.pop(13), (400, refused))
        pixels = {"y": [[[[200] * 3] * 4] * 4]}
        self.assertEqual(answers, [(200, pixels)] * 31)

    async def test_an_error_that_quotes_client_bytes_is_an_error_like_others(
        self,
    ) -> None:
        service = await self.serving("numbers")
        calls = [
            service.predict("serving_default", x=[b"\xff\xfe" if n == 3 else b"%d" % n])
            for n in range(8)
        ]
        await self.fails(InputRefused, calls.pop(3))
        outputs = await gatherResults(calls)
        self.assertEqual([o["y"][0] for o in outputs], [0, 1, 2, 4, 5, 6, 7])

    async def test_a_model_that_counts_counts_every_call_once(self) -> None:
        service = await self.serving("counter")
        counting, reading = service.methods()
        self.assertIn("it writes state", counting.direct or "")
        self.assertIsNone(reading.direct)
        calls = [service.predict(counting.name, x=[1]) for _ in range(10)]
        outputs = await gatherResults(calls)
        # Nothing was counted at load, and each call saw those before it.
        self.assertEqual([o["y"][0] for o in outputs], [n + 2 for n in range(10)])

    async def test_a_ragged_tensor_is_taken_in_its_parts(self) -> None:
        service = await self.serving("ragged")
        (method,) = service.methods()
        self.assertEqual(method.direct, PARTS)
        values, splits = method.signature.inputs
        calls = [
            service.predict(method.name, **{values: [1, 2, n], splits: [0, 2, 2, 3]})
            for n in range(4)
        ]
        for n, outputs in enumerate(await gatherResults(calls)):
            self.assertEqual(outputs["y"].tolist(), [3, 0, n])
        sample = dict(method.sample or {})
        outputs = await service.predict(method.name, **sample)
        self.assertEqual(len(outputs["y"]), 2)

    async def test_rows_that_depend_on_each_other_are_not_joined(self) -> None:
        service = await self.serving("batch_dependent")
        why = service.method("serving_default").direct
        self.assertEqual(why, "a row's result depends on the rows it shares a run with")
        calls = [service.predict("serving_default", x=[[n, n]]) for n in range(4)]
        for outputs in await gatherResults(calls):
            self.assertEqual(outputs["y"].tolist(), [[0, 0]])

    async def test_words_of_strangers_never_get_into_an_answer(self) -> None:
        service = await self.serving("words")
        self.assertEqual([m.direct is None for m in service.methods()], [False] * 2)
        texts = [b"alice secret", b"", b"a b c d"]
        for name in ("flat", "padded"):
            calls = [service.predict(name, x=[text]) for text in texts]
            outputs = await gatherResults(calls)
            self.assertEqual(
                [o["y"].ravel().tolist() for o in outputs],
                [text.split() for text in texts],
            )

    async def test_an_answer_cannot_change_the_model(self) -> None:
        service = await self.serving("no_inputs")
        (method,) = service.methods()
        for array in (await service.predict(method.name)).values():
            with self.assertRaises(ValueError):
                array += 1

    async def test_random_rows_are_not_joined(self) -> None:
        service = await self.serving("random")
        why = service.method("serving_default").direct
        self.assertEqual(why, "two runs on equal rows differ")

    async def test_lost_rows_go_to_whom_they_belong(self) -> None:
        service = await self.serving("fewer_rows")
        direct = service.method("serving_default").direct
        self.assertEqual(direct, "output 'y' has not one row for each row put in")

    async def test_a_keras_model_in_a_module_is_batched_like_any_other(self) -> None:
        service = await self.serving("keras_in_module")
        (method, *_) = service.methods()
        self.assertIsNone(method.direct)
        rows = np.random.default_rng(1).standard_normal(
            (64, *[n or 1 for n in method.signature.inputs["x"].row_shape])
        )
        rows = rows.astype(np.float32)
        together = await service.predict(method.name, x=rows)
        alone = await gatherResults(
            [service.predict(method.name, x=rows[n : n + 1]) for n in range(64)]
        )
        for name, array in together.items():
            parts = np.concatenate([outputs[name] for outputs in alone])
            np.testing.assert_allclose(parts, array, rtol=1e-5, atol=1e-6)

    async def test_large_calls_are_split_and_rejoined(self) -> None:
        service = await self.serving("affine", policy=BatchPolicy(max_rows=8))
        numbers = np.arange(1000, dtype=np.float32)
        outputs = await service.predict("serving_default", x=numbers)
        self.assertEqual(outputs["y"].tolist(), (2 * numbers + 1).tolist())

    async def test_what_is_not_utf_8_comes_back_as_base64(self) -> None:
        web = await self.over_http("strings")
        _, (listed,) = await web.look("/")
        self.assertEqual(listed["inputs"]["x"]["type"], "string")
        status, answer = await web.ask("/", {"x": ["a", {"b64": "/w=="}]})
        self.assertEqual(status, 200)
        for values in answer.values():
            self.assertIn({"b64"}, [set(v) for v in values if isinstance(v, dict)])

    async def test_a_folder_of_versions_serves_the_highest(self) -> None:
        folder = Path(mkdtemp())
        BUILDERS["batch_dependent"](str(folder / "9"))
        BUILDERS["affine"](str(folder / "10"))
        service = InferenceService(str(folder), reactor=reactor)
        service.startService()
        self.addCleanup(service.stopService)
        await service.when_ready()
        outputs = await service.predict("serving_default", x=[1.0])
        self.assertEqual(outputs["y"].tolist(), [3])

    async def test_two_models_live_in_one_reactor(self) -> None:
        one = await self.serving("affine")
        two = await self.serving("batch_dependent")
        self.assertEqual(
            (await one.predict("serving_default", x=[2]))["y"].tolist(), [5]
        )
        outputs = await two.predict("serving_default", x=[[1, 1], [3, 3]])
        self.assertEqual(outputs["y"].tolist(), [[-1, -1], [1, 1]])

    async def test_no_model_is_an_error_in_one_line(self) -> None:
        service = InferenceService(mkdtemp(), reactor=reactor)
        service.startService()
        self.addCleanup(service.stopService)
        said = await self.fails(InvalidModel, service.when_ready())
        self.assertIn("neither a SavedModel nor a folder of version folders", said)

    async def test_a_list_of_examples_is_answered_by_a_direct_method(self) -> None:
        web = await self.over_http("fewer_rows")
        body = [{"x": 1.0}, {"x": 2.0}]
        for _ in range(2):
            self.assertEqual(await web.ask("/", body), (200, [{"y": 1.0}, {"y": 2.0}]))
