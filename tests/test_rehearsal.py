"""The server's own requests, before anybody else's."""

from __future__ import annotations

from typing import Any

from prometheus_client import generate_latest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from tests.gates import Gate
from tests.memory import AFFINE, MemoryModel, affine
from tests.services import ServiceCase, reactor, until
from txinfer.errors import InputRefused
from txinfer.keys import parse_keys
from txinfer.limits import ClientLimits
from txinfer.rehearsal import (
    MOST_METHODS,
    PATIENCE,
    TIMES,
    Nowhere,
    _request,
    rehearse,
)
from txinfer.service import InferenceService
from txinfer.tensors import Tensors


class RehearsalTests(ServiceCase):
    async def rehearsed(self, model: MemoryModel, **options: Any) -> InferenceService:
        """A service, of whose model only the calls of its rehearsal are kept."""
        service = await self.started(model, **options)
        model.calls.clear()
        model.names.clear()
        models = [(name, service.model(name).methods()) for name in service.models]
        transpose, size = service.batch_transpose, service.limits.request_size
        # A busy machine may take its time.
        await rehearse(service.rehearsal(), models, transpose, size, reactor, PATIENCE)
        return service

    async def test_every_method_is_called_a_few_times(self) -> None:
        model = MemoryModel({"serving_default": AFFINE, "a/b é": AFFINE})
        await self.rehearsed(model)
        self.assertEqual(model.names, ["serving_default"] * TIMES + ["a/b é"] * TIMES)
        self.assertEqual(model.calls[0]["x"].tolist(), [0])

    async def test_an_object_may_be_one_example(self) -> None:
        model = MemoryModel()
        await self.rehearsed(model, batch_transpose=True)
        self.assertEqual([call["x"].tolist() for call in model.calls], [[0]] * TIMES)

    async def test_nobody_is_told_of_it_and_nobody_has_to_be_let_in(self) -> None:
        model = MemoryModel()
        service = await self.rehearsed(
            model,
            api_keys=parse_keys("a-key-of-16-chars"),
            clients=ClientLimits(rate_limit=0.001, rate_burst=1),
        )
        self.assertEqual(len(model.calls), TIMES)
        said = generate_latest(service.operations.registry)
        self.assertNotIn(b"txinfer_requests_total{", said)
        self.assertIn(b"txinfer_runs_total{", said)

    async def test_what_changes_the_model_is_not_called(self) -> None:
        model = MemoryModel(stateful={"serving_default": "it writes state"})
        await self.rehearsed(model)
        self.assertEqual(model.calls, [])

    async def test_what_refuses_all_that_is_made_up_is_not_called(self) -> None:
        def refuse(tensors: Tensors) -> Tensors:
            raise InputRefused("INVALID_ARGUMENT")

        model = MemoryModel(functions={"serving_default": refuse})
        await self.rehearsed(model)
        self.assertEqual(model.calls, [])

    async def test_of_very_many_methods_some_are_enough(self) -> None:
        model = MemoryModel({f"f{n}": AFFINE for n in range(MOST_METHODS + 5)})
        await self.rehearsed(model)
        self.assertEqual(len(set(model.names)), MOST_METHODS)

    async def test_an_error_ends_nothing(self) -> None:
        calls: list[int] = []

        def once(tensors: Tensors) -> Tensors:
            calls.append(1)
            if len(calls) > 12:
                raise InputRefused("INVALID_ARGUMENT")
            return affine(tensors)

        model = MemoryModel(
            {"f": AFFINE, "g": AFFINE}, {"f": once, "g": lambda t: {"y": -t["x"]}}
        )
        calls.extend([1] * 7)
        await self.rehearsed(model)
        self.assertEqual(model.names[-TIMES:], ["g"] * TIMES)

    async def test_a_model_that_hangs_is_not_waited_for(self) -> None:
        gate, clock = Gate(), Clock()
        # Requests have deadlines, which are the service's.
        clock.advance(reactor.seconds())
        service = await self.started(MemoryModel(functions={"serving_default": gate}))
        gate.close()
        self.addCleanup(gate.open)
        models = [("memory", service.methods())]
        with capturedLogs() as events:
            done = Deferred.fromCoroutine(
                rehearse(service.rehearsal(), models, False, 100, clock)
            )
            await until(gate.entered.is_set)
            clock.advance(PATIENCE)
            await done
        self.assertIn("not answered in time", events[-1]["log_format"])
        self.assertEqual(clock.getDelayedCalls(), [])
        gate.open()


def test_the_interface_is_kept() -> None:
    verifyObject(ITCPTransport, Nowhere())


def test_a_request_is_the_same_but_for_its_number() -> None:
    body = b'{"x":["100%d"]}'
    one, other = (_request("/a%2Fb", body) % number for number in (0, 1))
    assert one.startswith(b"POST /a%2Fb HTTP/1.1\r\n")
    assert one.endswith(b"\r\n\r\n" + body)
    assert one != other
    assert one.replace(b"X-Request-Id: 0", b"X-Request-Id: 1") == other
