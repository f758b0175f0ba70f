"""The service on the real reactor and real threads, with a model in memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import treq
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from tests.gates import Gate
from tests.memory import AFFINE, MemoryModel, spec
from tests.services import ServiceCase, reactor, turn, until
from txinfer import BatchPolicy, CallLimits, InferenceService, QueueLimits
from txinfer.errors import (
    InvalidInput,
    InvalidModel,
    Overloaded,
    Unavailable,
    UnknownMethod,
)
from txinfer.interfaces import IFetcher, IModel, IPredictor
from txinfer.keys import parse_keys
from txinfer.tensors import Signature, Tensors


class PredictTests(ServiceCase):
    async def test_the_interfaces_are_kept(self) -> None:
        service = await self.started()
        verifyObject(IPredictor, service)
        verifyObject(IFetcher, service)

    async def test_numbers_go_in_and_arrays_come_out(self) -> None:
        service = await self.started()
        for values in ([1, 2.5], np.array([1, 2.5], np.float32), (1.0, 2.5)):
            outputs = await service.predict("serving_default", x=values)
            self.assertEqual(outputs["y"].tolist(), [3, 6])
            self.assertEqual(outputs["y"].dtype, np.float32)

    async def test_strings_and_bytes_go_in(self) -> None:
        signature = Signature({"image": spec("string")}, {"size": spec("int32")})
        model = MemoryModel(
            {"names": signature},
            {"names": lambda t: {"size": np.array([*map(len, t["image"])], np.int32)}},
        )
        service = await self.started(model)
        outputs = await service.predict("names", image=[b"\xff\x00", "é"])
        self.assertEqual(outputs["size"].tolist(), [2, 2])

    async def test_what_is_wrong_is_named(self) -> None:
        service = await self.started()
        said = await self.fails(InvalidInput, service.predict("serving_default", x="a"))
        self.assertEqual(said, "input 'x': expected shape [-1], got []")
        said = await self.fails(InvalidInput, service.predict("serving_default", z=1))
        self.assertEqual(said, "input 'x': missing")
        await self.fails(UnknownMethod, service.predict("nothing"))

    async def test_callers_of_http_and_python_share_a_run(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        service = await self.started(model)
        web = await self.listening(service.resource())
        gate.close()
        first = service.predict("serving_default", x=[0])
        over_http = [
            Deferred.fromCoroutine(web.ask("/", {"x": [n, n]})) for n in range(1, 4)
        ]
        in_python = [service.predict("serving_default", x=[10 * n]) for n in range(4)]
        collector = service._current().collector
        await until(lambda: collector.waiting.rows == 10)
        model.calls.clear()
        gate.open()
        await first
        answers = await gatherResults(over_http)
        self.assertEqual(answers, [(200, {"y": [2.0 * n + 1] * 2}) for n in (1, 2, 3)])
        outputs = await gatherResults(in_python)
        self.assertEqual([o["y"].tolist() for o in outputs], [[1], [21], [41], [61]])
        self.assertEqual([len(call["x"]) for call in model.calls], [10])

    async def test_a_client_that_hangs_up_leaves_the_queue(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        service = await self.started(model)
        web = await self.listening(service.resource())
        gate.close()
        first = service.predict("serving_default", x=[0])
        client = web.post("/", {"x": [1]})
        await until(lambda: service._current().collector.waiting.rows == 1)
        client.cancel()
        await self.fails(Exception, client)
        await until(lambda: not service._current().collector.waiting)
        model.calls.clear()
        gate.open()
        await first
        await service.predict("serving_default", x=[2])
        self.assertEqual([call["x"].tolist() for call in model.calls], [[2]])

    async def test_a_client_that_hangs_up_in_flight_harms_nobody(self) -> None:
        gate = Gate()
        service = await self.started(
            MemoryModel(functions={"serving_default": gate}),
        )
        web = await self.listening(service.resource())
        gate.close()
        client = web.post("/", {"x": [1]})
        await until(gate.entered.is_set)
        other = service.predict("serving_default", x=[3])
        client.cancel()
        await self.fails(Exception, client)
        gate.open()
        self.assertEqual((await other)["y"].tolist(), [7])

    async def test_cancelling_a_call_in_python_takes_it_out(self) -> None:
        gate = Gate()
        service = await self.started(MemoryModel(functions={"serving_default": gate}))
        gate.close()
        first = service.predict("serving_default", x=[0])
        second = service.predict("serving_default", x=[1])
        second.cancel()
        await self.fails(CancelledError, second)
        self.assertEqual(service._current().collector.waiting.rows, 0)
        gate.open()
        await first

    async def test_a_full_queue_is_told_over_http(self) -> None:
        gate = Gate()
        service = await self.started(
            MemoryModel(functions={"serving_default": gate}),
            policy=BatchPolicy(queue=QueueLimits(queue_rows=2)),
        )
        web = await self.listening(service.resource())
        gate.close()
        kept = [service.predict("serving_default", x=[n]) for n in range(2)]
        response = await web.post("/", {"x": [1]})
        self.assertEqual(response.code, 503)
        self.assertEqual(response.headers.getRawHeaders("Retry-After"), ["1"])
        self.assertEqual(await response.json(), {"error": "the queue is full"})
        await self.fails(Overloaded, service.predict("serving_default", x=[1]))
        gate.open()
        await gatherResults(kept)


class LifeTests(ServiceCase):
    async def test_before_and_after_its_life_it_says_so(self) -> None:
        service = InferenceService("memory", load=MemoryModel, reactor=reactor)
        await self.fails(Unavailable, service.predict("serving_default", x=[1]))
        service.startService()
        said = await self.fails(Unavailable, service.predict("serving_default", x=[1]))
        self.assertEqual(said, "the model is still loading")
        await service.when_ready()
        await service.predict("serving_default", x=[1])
        await service.stopService()
        await self.fails(Unavailable, service.predict("serving_default", x=[1]))

    async def test_it_can_be_started_again(self) -> None:
        models: list[MemoryModel] = []

        def load() -> IModel:
            models.append(MemoryModel())
            return models[-1]

        service = InferenceService("memory", load=load, reactor=reactor)
        for _ in range(3):
            service.startService()
            await service.when_ready()
            outputs = await service.predict("serving_default", x=[1])
            self.assertEqual(outputs["y"].tolist(), [3])
            await service.stopService()
        self.assertEqual([model.closed for model in models], [1, 1, 1])

    async def test_stopping_answers_what_was_taken(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        service = InferenceService("memory", load=lambda: model, reactor=reactor)
        service.startService()
        await service.when_ready()
        gate.close()
        calls = [service.predict("serving_default", x=[n]) for n in range(40)]
        stopped = service.stopService()
        await self.fails(Unavailable, service.predict("serving_default", x=[1]))
        await turn()
        self.assertFalse(stopped.called)
        gate.open()
        outputs = await gatherResults(calls)
        self.assertEqual(
            [o["y"].tolist() for o in outputs], [[2 * n + 1] for n in range(40)]
        )
        await stopped
        self.assertEqual(model.closed, 1)

    async def test_stopping_while_loading_waits_for_the_load(self) -> None:
        gate = Gate()
        gate.close()
        model = MemoryModel()

        def load() -> IModel:
            gate({"x": np.zeros(1)})
            return model

        service = InferenceService("memory", load=load, reactor=reactor)
        service.startService()
        stopped = service.stopService()
        await turn()
        self.assertFalse(stopped.called)
        gate.open()
        await stopped
        self.assertEqual(model.closed, 1)

    async def test_stopping_what_was_not_started_is_no_error(self) -> None:
        service = InferenceService("memory", load=MemoryModel, reactor=reactor)
        await service.stopService()

    async def test_a_model_that_does_not_load_fails_whoever_waits(self) -> None:
        def load() -> IModel:
            raise InvalidModel("memory: broken")

        service = InferenceService("memory", load=load, reactor=reactor)
        service.startService()
        for _ in range(2):
            said = await self.fails(InvalidModel, service.when_ready())
            self.assertEqual(said, "memory: broken")
        said = await self.fails(Unavailable, service.predict("serving_default", x=[1]))
        self.assertEqual(said, "the model is not loaded; the log says why")
        await service.stopService()

    async def test_services_with_different_models_live_side_by_side(self) -> None:
        one = await self.started(MemoryModel({"one": AFFINE}))
        two = await self.started(
            MemoryModel({"two": AFFINE}, {"two": lambda t: {"y": -t["x"]}})
        )
        self.assertEqual((await one.predict("one", x=[1]))["y"].tolist(), [3])
        self.assertEqual((await two.predict("two", x=[1]))["y"].tolist(), [-1])
        await self.fails(UnknownMethod, one.predict("two", x=[1]))

    async def test_it_can_be_started_again_while_it_still_stops(self) -> None:
        gate = Gate()
        models = [MemoryModel(functions={"serving_default": gate}), MemoryModel()]
        loads = iter(models)
        service = InferenceService("memory", load=lambda: next(loads), reactor=reactor)
        service.startService()
        await service.when_ready()
        gate.close()
        old = service.predict("serving_default", x=[1])
        await until(gate.entered.is_set)
        stopped = service.stopService()
        service.startService()
        await service.when_ready()
        new = await service.predict("serving_default", x=[2])
        self.assertEqual(new["y"].tolist(), [5])
        self.assertFalse(stopped.called)
        gate.open()
        self.assertEqual((await old)["y"].tolist(), [3])
        await stopped
        self.assertEqual([model.closed for model in models], [1, 0])
        await service.predict("serving_default", x=[2])
        await service.stopService()
        self.assertEqual([model.closed for model in models], [1, 1])

    async def test_a_method_kept_beyond_the_end_refuses(self) -> None:
        service = InferenceService("memory", load=MemoryModel, reactor=reactor)
        service.startService()
        await service.when_ready()
        method = service.method("serving_default")
        await service.stopService()
        for _ in range(2):
            call = method.predict({"x": np.zeros(1, np.float32)})
            await self.fails(Unavailable, call)
        await self.fails(Unavailable, service.when_ready())

    async def test_two_threads_run_at_once(self) -> None:
        gate = Gate()
        model = MemoryModel(functions={"serving_default": gate})
        service = await self.started(model, threads=2)
        gate.close()
        model.calls.clear()
        calls = [service.predict("serving_default", x=[n]) for n in range(9)]
        await until(lambda: len(model.calls) == 2)
        gate.open()
        outputs = await gatherResults(calls)
        self.assertEqual([o["y"][0] for o in outputs], [2 * n + 1 for n in range(9)])


class OperationsTests(ServiceCase):
    async def test_calls_in_python_and_over_http_are_measured(self) -> None:
        service = await self.started()
        web = await self.listening(service.resource())
        await service.predict("serving_default", x=[1])
        await web.ask("/serving_default", {"x": [1, 2]})
        response = await treq.get(f"{web.base}/metrics", pool=web.pool)
        said = await response.text()
        of = '{method="serving_default",model="memory"'
        self.assertIn(f'txinfer_requests_total{of},status="200"}} 1.0', said)
        self.assertIn(f"txinfer_batch_rows_sum{of}}} 3.0", said)
        self.assertIn("txinfer_session_slots 1.0", said)
        status, stats = await web.look("/stats")
        self.assertEqual(status, 200)
        self.assertEqual([batch["rows"] for batch in stats["batches"]], [2, 1])

    async def test_it_is_ready_when_the_model_is_there_and_until_it_stops(self) -> None:
        gate, looked = Gate(), Gate()
        gate.close()

        def load() -> IModel:
            looked({"x": np.zeros(1)})
            gate({"x": np.zeros(1)})
            return MemoryModel()

        service = InferenceService("memory", load=load, reactor=reactor)
        web = await self.listening(service.resource())
        self.assertEqual((await web.look("/healthz"))[0], 200)
        not_running = {"ready": False, "reasons": ["the service is not running"]}
        self.assertEqual(await web.look("/readyz"), (503, not_running))
        service.startService()
        self.addCleanup(service.stopService)
        await until(looked.entered.is_set)
        loading = {"ready": False, "reasons": ["a model is still loading"]}
        self.assertEqual(await web.look("/readyz"), (503, loading))
        self.assertEqual((await web.look("/healthz"))[0], 200)
        gate.open()
        await service.when_ready()
        ready = {"ready": True, "reasons": []}
        self.assertEqual(await web.look("/readyz"), (200, ready))
        service.announce_stop()
        stopping = {"ready": False, "reasons": ["the server is shutting down"]}
        self.assertEqual(await web.look("/readyz"), (503, stopping))
        self.assertEqual(await web.ask("/", {"x": [1]}), (200, {"y": [3.0]}))
        await service.stopService()
        service.startService()
        await service.when_ready()
        self.assertEqual(await web.look("/readyz"), (200, ready))

    async def test_it_is_not_ready_if_the_model_cannot_be_served(self) -> None:
        def load() -> IModel:
            raise InvalidModel("no good")

        service = InferenceService("memory", load=load, reactor=reactor)
        web = await self.listening(service.resource())
        service.startService()
        self.addCleanup(service.stopService)
        await self.fails(InvalidModel, service.when_ready())
        reasons = ["no version of model 'memory' is loaded"]
        unready = {"ready": False, "reasons": reasons}
        self.assertEqual(await web.look("/readyz"), (503, unready))

    async def test_metrics_are_not_shown_to_anybody_if_told_so(self) -> None:
        model = MemoryModel({"metrics": AFFINE})
        with capturedLogs() as events:
            service = await self.started(model, metrics=False)
        self.assertFalse([e for e in events if "hides" in e["log_format"]])
        web = await self.listening(service.resource())
        self.assertEqual((await web.look("/stats"))[0], 404)
        self.assertEqual((await web.look("/healthz"))[0], 200)
        self.assertEqual((await web.look("/metrics"))[1]["name"], "metrics")

    async def test_a_given_registry_has_the_metrics_while_it_runs(self) -> None:
        registry = CollectorRegistry()
        service = await self.started(registry=registry)
        second = InferenceService("memory", registry=registry, reactor=reactor)
        self.assertRaises(ValueError, second.startService)
        self.assertIsNotNone(registry.get_sample_value("txinfer_session_slots"))
        await service.stopService()
        self.assertIsNone(registry.get_sample_value("txinfer_session_slots"))

    async def test_keys_are_asked_for_and_refusals_counted(self) -> None:
        keys = parse_keys("a-key-of-16-chars")
        service = await self.started(api_keys=keys)
        web = await self.listening(service.resource())
        status, error = await web.ask("/", {"x": [1]})
        self.assertEqual((status, error), (401, {"error": "an API key is needed"}))
        self.assertEqual((await web.look("/readyz"))[0], 200)
        self.assertEqual((await web.look("/stats"))[0], 401)
        counts = service.operations.metrics.methods["", ""]
        self.assertEqual(dict(counts.statuses), {401: 2, 200: 1})


class ResourceTests(ServiceCase):
    async def test_a_method_that_static_files_hide_is_told(self) -> None:
        with TemporaryDirectory() as folder, capturedLogs() as events:
            await self.started(MemoryModel({"web": AFFINE}), static_path=folder)
        told = [event["name"] for event in events if "hides" in event["log_format"]]
        self.assertEqual(told, ["web"])

    async def test_a_method_that_operators_paths_hide_is_told(self) -> None:
        names = ("metrics", "stats/of", "monitoring", "healthz", "readyz", "metric")
        model = MemoryModel(dict.fromkeys(names, AFFINE))
        with capturedLogs() as events:
            await self.started(model)
        told = [event["name"] for event in events if "hides" in event["log_format"]]
        self.assertEqual(told, list(names[:-1]))

    async def test_it_can_be_mounted_beside_other_routes(self) -> None:
        service = await self.started()
        root = Resource()
        api = Resource()
        root.putChild(b"api", api)
        api.putChild(b"model", service.resource())
        web = await self.listening(root)
        for path in ("/api/model", "/api/model/", "/api/model/serving_default"):
            self.assertEqual(await web.ask(path, {"x": [1]}), (200, {"y": [3.0]}))
        status, answer = await web.ask("/api/model/nothing", {"x": [1]})
        self.assertEqual(status, 404)
        self.assertIn("known: serving_default", answer["error"])

    async def test_examples_are_answered_although_the_method_turns_out_direct(
        self,
    ) -> None:
        def drop(tensors: Tensors) -> Tensors:
            x = tensors["x"]
            return {"y": x[x < 9] if len(x) > 1 else x}

        service = await self.started(MemoryModel(functions={"serving_default": drop}))
        self.assertIsNone(service.method("serving_default").direct)
        web = await self.listening(service.resource())
        answer = await web.ask("/", [{"x": 9}, {"x": 1}])
        self.assertEqual(answer, (200, [{"y": 9.0}, {"y": 1.0}]))
        self.assertIsNotNone(service.method("serving_default").direct)

    async def test_under_a_foreign_site_the_body_is_still_bounded(self) -> None:
        service = await self.started(limits=CallLimits(request_size=20))
        web = await self.listening(service.resource())
        self.assertEqual((await web.ask("/", {"x": [1] * 9}))[0], 413)
        self.assertEqual((await web.ask("/", {"x": [1]}))[0], 200)

    async def test_static_files_are_served_beside_it(self) -> None:
        with TemporaryDirectory() as folder:
            Path(folder, "index.html").write_text("<p>hello")
            service = await self.started(static_path=folder)
            web = await self.listening(service.resource())
            response = await treq.get(f"{web.base}/web/", pool=web.pool)
            self.assertEqual(await response.text(), "<p>hello")
            self.assertEqual(await web.ask("/", {"x": [1]}), (200, {"y": [3.0]}))
