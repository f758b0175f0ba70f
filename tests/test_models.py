from __future__ import annotations

import numpy as np
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.deferreds import reason
from tests.memory import AFFINE, MemoryModel, spec
from tests.pool import SteppedThreads
from txinfer.collector import Collector
from txinfer.errors import InvalidModel, Unavailable, UnknownMethod
from txinfer.interfaces import IMethod, IModel, IPredictor, IRunnable
from txinfer.models import Servable, State
from txinfer.policy import BatchPolicy
from txinfer.tensors import Signature


class Bench:
    """A servable of a model in memory."""

    def __init__(self, model: IModel | Exception) -> None:
        self.threads = SteppedThreads()
        collector = Collector(self.threads, Clock(), BatchPolicy())
        self.servable = Servable(lambda: self.produce(model), self.threads, collector)

    def produce(self, model: IModel | Exception) -> IModel:
        if isinstance(model, Exception):
            raise model
        return model

    def load(self) -> Deferred[None]:
        loaded = Deferred.fromCoroutine(self.servable.load())
        self.threads.finish()
        return loaded


def loaded(model: IModel) -> Bench:
    bench = Bench(model)
    assert bench.load().called
    return bench


def test_the_interfaces_are_kept() -> None:
    servable = loaded(MemoryModel()).servable
    verifyObject(IPredictor, servable)
    method = servable.method("serving_default")
    verifyObject(IMethod, method)
    verifyObject(IRunnable, method)


def test_the_states_follow_one_another() -> None:
    bench = Bench(MemoryModel())
    states = [bench.servable.state]
    loading = Deferred.fromCoroutine(bench.servable.load())
    states.append(bench.servable.state)
    bench.threads.finish()
    assert loading.called
    states.append(bench.servable.state)
    bench.servable.retire()
    states.append(bench.servable.state)
    bench.servable.close()
    bench.threads.finish()
    assert [*states, bench.servable.state] == list(State)


def test_methods_are_to_be_had_only_while_available() -> None:
    bench = Bench(MemoryModel())
    with pytest.raises(Unavailable, match="loading"):
        bench.servable.methods()
    assert bench.load().called
    assert [m.name for m in bench.servable.methods()] == ["serving_default"]
    bench.servable.retire()
    with pytest.raises(Unavailable, match="shutting down"):
        bench.servable.method("serving_default")


def test_unknown_methods_are_told_with_the_known_ones() -> None:
    servable = loaded(MemoryModel({"a": AFFINE, "b": AFFINE})).servable
    with pytest.raises(UnknownMethod, match="no method 'c'; known: a, b"):
        servable.method("c")


def test_a_model_that_does_not_load_says_why() -> None:
    bench = Bench(InvalidModel("path: broken"))
    assert str(reason(bench.load())) == "path: broken"


def test_rows_that_are_independent_are_batched() -> None:
    bench = loaded(MemoryModel())
    method = bench.servable.method("serving_default")
    assert method.direct is None
    calls = [method.predict({"x": np.array([n], np.float32)}) for n in range(8)]
    assert bench.threads.finish() == 2
    assert all(call.called for call in calls)


def test_dependent_rows_make_a_method_direct() -> None:
    model = MemoryModel(
        functions={"serving_default": lambda t: {"y": -t["x"].cumsum()}}
    )
    method = loaded(model).servable.method("serving_default")
    assert method.direct == "a row's result depends on its place among the others"


def test_a_method_that_writes_state_is_direct_and_is_never_tried() -> None:
    model = MemoryModel(stateful={"serving_default": "it writes state (Assign)"})
    method = loaded(model).servable.method("serving_default")
    assert method.direct == "it writes state (Assign)"
    assert method.sample == {"x": [0]}
    assert model.calls == []


def test_fixed_rows_make_a_method_direct() -> None:
    signature = Signature({"x": spec(shape=(1,))}, {"y": spec(shape=(1,))})
    method = loaded(MemoryModel({"f": signature})).servable.method("f")
    assert method.direct == "dimension 0 of input 'x' is not free"


def test_unequal_rows_are_refused_by_name() -> None:
    two = Signature({"a": spec(), "b": spec()}, {"y": spec()})
    model = MemoryModel({"f": two}, {"f": lambda t: {"y": t["a"] + t["b"]}})
    method = loaded(model).servable.method("f")
    call = method.predict(
        {"a": np.array([1, 2], np.float32), "b": np.array([1], np.float32)}
    )
    assert str(reason(call)) == "input 'b': 1 rows, but input 'a' has 2"


def test_no_rows_are_refused() -> None:
    method = loaded(MemoryModel()).servable.method("serving_default")
    call = method.predict({"x": np.zeros(0, np.float32)})
    assert str(reason(call)) == "input 'x': at least one row is needed"


def test_a_lease_outlives_the_retirement() -> None:
    servable = loaded(MemoryModel()).servable
    with servable.lease("serving_default"):
        with servable.lease("serving_default"):
            returned = servable.retire()
        assert not returned.called
        with pytest.raises(Unavailable), servable.lease("serving_default"):
            pass
    assert returned.called


def test_retiring_without_leases_is_done_at_once() -> None:
    assert loaded(MemoryModel()).servable.retire().called


def test_closing_closes_the_model() -> None:
    model = MemoryModel()
    bench = loaded(model)
    closed = bench.servable.close()
    bench.threads.finish()
    assert closed.called
    assert model.closed == 1


def test_closing_what_never_loaded_is_no_error() -> None:
    bench = Bench(InvalidModel("broken"))
    assert isinstance(reason(bench.load()), InvalidModel)
    assert bench.servable.close().called
