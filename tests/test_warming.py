"""Versions that are called before anybody else may call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import mode
from typing import Any

import numpy as np
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from tests.deferreds import reason, result
from tests.memory import AFFINE, MemoryModel, affine, spec
from tests.pool import SteppedThreads
from tests.test_tfwarmup import predict, record
from txinfer.collector import Collector
from txinfer.cost import FEW, FEWER
from txinfer.errors import InputRefused, InvalidModel, ModelFailed
from txinfer.loader import Loader
from txinfer.models import Servable, State
from txinfer.observe import Labels, NullObserver
from txinfer.policy import BatchPolicy
from txinfer.sources import Found
from txinfer.tensors import Signature, Tensors
from txinfer.tfwarmup import NAME as TF_NAME
from txinfer.warming import ROUNDS, TIMES
from txinfer.warmup import EXTRA, NAME


class Told(NullObserver):
    def __init__(self) -> None:
        self.warmed_up: list[bool] = []

    def warmed(self, labels: Labels, seconds: float, failed: bool) -> None:
        assert labels == Labels("m", 3)
        self.warmed_up.append(not failed)


class Bench:
    """One version, with files of its own if a folder is given."""

    def __init__(
        self,
        model: MemoryModel,
        folder: Path | None = None,
        pads: tuple[int, ...] = (),
        clock: Clock | None = None,
        max_rows: int = 32,
    ) -> None:
        self.model = model
        self.threads = SteppedThreads()
        self.clock = clock or Clock()
        self.told = Told()
        policy = BatchPolicy(max_rows)
        collector = Collector(SteppedThreads(), self.clock, policy)
        self.loader = Loader(self.threads, collector, self.clock, self.told, pads)
        place = None if folder is None else str(folder)
        self.found = Found("m/3", None, lambda: model, folder=lambda: place)
        self.servable: Servable = self.loader.servable("m", 3, self.found)

    def start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.loader.load(self.servable, self.found))

    def load(self) -> Deferred[None]:
        loaded = self.start()
        self.threads.finish()
        return loaded

    def warmed_up(self) -> list[tuple[str, list[Any]]]:
        """The calls of the warm-up alone, each as the method and its first input."""
        seen: list[int] = []
        methods = self.servable._load_methods

        async def load_methods() -> None:
            await methods()
            seen.append(len(self.model.calls))

        self.servable._load_methods = load_methods  # type: ignore[method-assign]
        assert result(self.load()) is None
        calls = zip(self.model.names, self.model.calls, strict=True)
        return [
            (name, next(iter(tensors.values())).tolist())
            for name, tensors in list(calls)[seen[0] :]
        ]


def once(calls: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """The calls, of which each must be there as often as it is made.

    Then what few rows of it take may be found out, in turns.
    """
    firsts = []
    while calls:
        firsts.append(calls[0])
        assert calls[:TIMES] == [calls[0]] * TIMES
        (name, rows), calls = calls[0], calls[TIMES:]
        few = [(name, rows * number) for number in FEW] * TIMES
        if calls[: len(few)] == few:
            calls = calls[len(few) :]
    return firsts


def given(folder: Path, *calls: object) -> Path:
    (folder / EXTRA).mkdir()
    (folder / EXTRA / NAME).write_text(json.dumps(calls))
    return folder


TWO = Signature({"a": spec(), "b": spec()}, {"y": spec()})


def add(tensors: Tensors) -> Tensors:
    return {"y": tensors["a"] + tensors["b"]}


# What is called


def test_each_method_is_called_with_what_can_be_made_up() -> None:
    model = MemoryModel({"f": AFFINE, "g": AFFINE})
    bench = Bench(model)
    calls = bench.warmed_up()
    assert once(calls) == [("f", [0]), ("g", [0])]
    assert ("g", [0] * FEW[-1]) in calls
    assert bench.servable.state is State.AVAILABLE
    assert bench.told.warmed_up == [True]


def test_each_size_that_runs_will_have_is_tried() -> None:
    bench = Bench(MemoryModel(), pads=(1, 2, 4))
    assert once(bench.warmed_up()) == [
        ("serving_default", [0] * size) for size in (1, 2, 4)
    ]


def test_a_method_that_is_not_batched_is_called_as_it_is() -> None:
    signature = Signature({"x": spec(shape=(1,))}, {"y": spec(shape=(1,))})
    bench = Bench(MemoryModel({"f": signature}), pads=(1, 2, 4))
    assert once(bench.warmed_up()) == [("f", [0])]


def test_what_writes_state_is_not_called_with_what_is_made_up() -> None:
    model = MemoryModel(stateful={"serving_default": "it writes state (Assign)"})
    assert Bench(model).warmed_up() == []


def test_what_nobody_can_make_up_is_not_called() -> None:
    def refuse(tensors: Tensors) -> Tensors:
        raise InputRefused("INVALID_ARGUMENT")

    bench = Bench(MemoryModel(functions={"serving_default": refuse}))
    assert bench.warmed_up() == []
    assert bench.servable.state is State.AVAILABLE


def test_made_up_calls_that_fail_are_told_and_keep_nobody_from_serving() -> None:
    def few(tensors: Tensors) -> Tensors:
        if len(tensors["x"]) > 3:
            raise ModelFailed("RESOURCE_EXHAUSTED")
        return affine(tensors)

    bench = Bench(MemoryModel(functions={"serving_default": few}), pads=(1, 8))
    with capturedLogs() as events:
        assert result(bench.load()) is None
    whys = [event["why"] for event in events if "why" in event]
    assert whys == ["serving_default, 8 rows: the model failed (RESOURCE_EXHAUSTED)"]
    assert bench.servable.state is State.AVAILABLE


def test_progress_names_the_call() -> None:
    bench = Bench(MemoryModel(), pads=(1, 8))
    with capturedLogs() as events:
        bench.start()
        while bench.threads.started:
            bench.threads.step()
            bench.clock.advance(5)
    told = [event["far"] for event in events if "far" in event]
    assert ", warming up serving_default, 1 rows (1 of 2)" in told
    assert ", warming up serving_default, 8 rows (2 of 2)" in told


def test_a_version_that_is_retired_meanwhile_is_not_called_any_more() -> None:
    bench = Bench(MemoryModel(), pads=(1, 8))
    loaded = bench.start()
    while not bench.model.calls or len(bench.model.calls[-1]["x"]) != 1:
        bench.threads.step()
    bench.servable.retire()
    bench.threads.finish()
    assert result(loaded) is None
    assert all(len(call["x"]) < 8 for call in bench.model.calls)
    assert bench.servable.state is State.UNLOADING


# Calls that come with the model


def test_calls_that_come_with_a_model_are_made_instead(tmp_path: Path) -> None:
    folder = given(
        tmp_path,
        {"method": "f", "inputs": {"x": [5, 6]}},
        {"inputs": {"x": [7]}},
    )
    model = MemoryModel({"f": AFFINE, "g": AFFINE, "serving_default": AFFINE})
    assert once(Bench(model, folder).warmed_up()) == [
        ("f", [5, 6]),
        ("serving_default", [7]),
        ("g", [0]),
    ]


def test_their_rows_are_repeated_to_the_sizes_of_runs(tmp_path: Path) -> None:
    folder = given(tmp_path, {"inputs": {"x": [5, 6]}})
    assert once(Bench(MemoryModel(), folder, (1, 3)).warmed_up()) == [
        ("serving_default", [5]),
        ("serving_default", [5, 6, 5]),
    ]


def test_they_may_call_what_writes_state(tmp_path: Path) -> None:
    model = MemoryModel(stateful={"serving_default": "it writes state (Assign)"})
    folder = given(tmp_path, {"inputs": {"x": [5]}})
    assert once(Bench(model, folder).warmed_up()) == [("serving_default", [5])]


def test_those_of_tensorflow_serving_are_made(tmp_path: Path) -> None:
    import tensorflow as tf

    tensors = [
        tf.make_tensor_proto(value, dtype=tf.float32).SerializeToString()
        for value in ([1, 2], [0.5, 0.25])
    ]
    (tmp_path / EXTRA).mkdir()
    (tmp_path / EXTRA / TF_NAME).write_bytes(
        record(predict("f", a=tensors[0], b=tensors[1]))
    )
    model = MemoryModel({"f": TWO}, {"f": add})
    assert once(Bench(model, tmp_path).warmed_up()) == [("f", [1, 2])]
    np.testing.assert_equal(model.calls[-1]["b"], np.array([0.5, 0.25], np.float32))


def test_strings_of_tensorflow_serving_are_bytes(tmp_path: Path) -> None:
    import tensorflow as tf

    signature = Signature({"image": spec("string")}, {"y": spec("int64")})
    tensor = tf.make_tensor_proto([b"\xff\xd8", b""]).SerializeToString()
    (tmp_path / EXTRA).mkdir()
    (tmp_path / EXTRA / TF_NAME).write_bytes(record(predict("f", image=tensor)))

    def sizes(tensors: Tensors) -> Tensors:
        return {"y": np.array([len(it) for it in tensors["image"]], np.int64)}

    model = MemoryModel({"f": signature}, {"f": sizes})
    assert once(Bench(model, tmp_path).warmed_up()) == [("f", [b"\xff\xd8", b""])]


def fails(model: MemoryModel, folder: Path) -> str:
    """Why a version does not become available; its model is closed."""
    bench = Bench(model, folder)
    error = reason(bench.load())
    assert isinstance(error, InvalidModel)
    assert bench.servable.state is State.END
    assert bench.servable.failure == "its warm-up failed"
    assert model.closed == 1
    assert bench.told.warmed_up == [False]
    start = "m/3: its warm-up failed: "
    assert str(error).startswith(start)
    return str(error).removeprefix(start)


def test_a_call_that_is_not_answered_keeps_the_version_from_serving(
    tmp_path: Path,
) -> None:
    def refuse(tensors: Tensors) -> Tensors:
        if tensors["x"][0] == 5:
            raise ZeroDivisionError("five")
        return affine(tensors)

    folder = given(tmp_path, {"inputs": {"x": [5]}})
    model = MemoryModel(functions={"serving_default": refuse})
    assert fails(model, folder) == "serving_default, 1 rows: five"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{}", "it must be a list of calls"),
        ("[", "unexpected end of data"),
        ("[1]", "[0] must be an object with inputs"),
        ('[{"inputs": {"x": [1]}}, {"method": "f"}]', "[1] must be an object"),
        ('[{"method": "g", "inputs": {}}]', "there is no method 'g'"),
        ('[{"inputs": {"z": [1]}}]', "input 'x': missing"),
        ('[{"inputs": {"x": ["a"]}}]', "input 'x'[0]: expected a number"),
    ],
)
def test_a_file_that_does_not_fit_the_model_is_told(
    tmp_path: Path, content: str, why: str
) -> None:
    (tmp_path / EXTRA).mkdir()
    (tmp_path / EXTRA / NAME).write_text(content)
    said = fails(MemoryModel(), tmp_path)
    assert said.startswith(f"{EXTRA}/{NAME}: ")
    assert why in said


def test_urls_are_not_fetched_for_it(tmp_path: Path) -> None:
    signature = Signature({"x": spec("string")}, {"y": spec("string")})
    model = MemoryModel(
        {"serving_default": signature},
        {"serving_default": lambda t: {"y": t["x"]}},
    )
    folder = given(tmp_path, {"inputs": {"x": [{"url": "http://a.example/"}]}})
    assert "URLs are not taken in warm-up calls" in fails(model, folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"nothing of the kind", "it is not a TFRecord file"),
        (record(predict("f", x=b"\xff")), "a tensor cannot be read"),
        (record(predict("g", x=b"")), "there is no method 'g'"),
    ],
)
def test_a_file_of_tensorflow_serving_that_does_not_fit_is_told(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / EXTRA).mkdir()
    (tmp_path / EXTRA / TF_NAME).write_bytes(content)
    said = fails(MemoryModel({"f": AFFINE}), tmp_path)
    assert said.startswith(f"{EXTRA}/{TF_NAME}: {why}")


def test_calls_of_signatures_that_cannot_be_served_are_left_out(tmp_path: Path) -> None:
    model = MemoryModel(refused={"sparse": "input 'x' is no plain tensor"})
    folder = given(tmp_path, {"method": "sparse", "inputs": {"x": [1]}})
    calls = once(Bench(model, folder).warmed_up())
    assert {name for name, _ in calls} == {"serving_default"}


# What several rows take


class Slow(MemoryModel):
    """Takes its time, on a clock of its own."""

    def __init__(self, clock: Clock, seconds: Callable[[int], float]) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = seconds
        self.rows: list[int] = []

    def run(self, name: str, tensors: Tensors) -> Tensors:
        rows = len(tensors["x"])
        self.rows.append(rows)
        self.clock.advance(self.seconds(rows))
        return super().run(name, tensors)


def learned(seconds: Callable[[int], float], max_rows: int = 32) -> Slow:
    """A model that was warmed up, and has run for as many as wait, which are many."""
    clock = Clock()
    model = Slow(clock, seconds)
    bench = Bench(model, clock=clock, max_rows=max_rows)
    assert result(bench.load()) is None
    method: Any = bench.servable.method("serving_default")
    cost = method.cost
    model.rows.clear()
    for _ in range(300):
        rows = min(cost.best(1000, max_rows), max_rows)
        model.rows.append(rows)
        cost.learn(rows, seconds(rows), clock.seconds())
    return model


def test_runs_begin_as_large_as_it_may_pay() -> None:
    assert learned(lambda rows: 0.005 + 0.0001 * rows).rows[0] == 32
    assert learned(lambda rows: 0.005 + 0.004 * rows).rows[0] == 4
    assert learned(lambda rows: 0.005 * rows).rows[0] == FEWER


def test_they_grow_from_there_if_it_pays() -> None:
    assert mode(learned(lambda rows: 0.008 + 0.005 * rows).rows[200:]) == 16
    assert mode(learned(lambda rows: 0.005 * rows).rows[200:]) == FEWER


def test_they_stay_small_if_more_rows_gain_nothing() -> None:
    assert max(learned(lambda rows: 0.001 + 0.005 * rows).rows) == FEWER
    assert max(learned(lambda rows: 0.003 + 0.005 * rows).rows) > FEWER


def test_what_is_not_clear_is_found_out_again() -> None:
    pairs = count()

    def seconds(rows: int) -> float:
        is_held_up = rows == 2 and next(pairs) < TIMES + ROUNDS
        return 0.005 * rows * (1.2 if is_held_up else 1)

    assert max(learned(seconds).rows) == FEWER


def test_what_takes_too_long_or_is_not_to_be_is_not_found_out() -> None:
    assert learned(lambda rows: 0.2 * rows).rows[0] == 32
    assert learned(lambda rows: 0.005, max_rows=1).rows[0] == 1
    assert learned(lambda rows: 0.000_5 * rows).rows[0] == 32


# Filling up


def method_of(bench: Bench) -> Any:
    assert result(bench.load()) is None
    return bench.servable.method("serving_default")


@pytest.mark.parametrize(("rows", "filled"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 5)])
def test_a_run_is_filled_up_with_its_last_row(rows: int, filled: int) -> None:
    bench = Bench(MemoryModel(), pads=(1, 2, 4))
    method = method_of(bench)
    x = np.arange(rows, dtype=np.float32)
    outputs = method.run({"x": x})
    assert outputs["y"].tolist() == (2 * x + 1).tolist()
    sent = bench.model.calls[-1]["x"].tolist()
    assert sent == [*x.tolist(), *[rows - 1.0] * (filled - rows)]


def test_a_direct_method_is_not_filled_up() -> None:
    cumulative = {"serving_default": lambda t: {"y": t["x"].cumsum()}}
    bench = Bench(MemoryModel(functions=cumulative), pads=(1, 2, 4))
    method = method_of(bench)
    method.run({"x": np.ones(3, np.float32)})
    assert len(bench.model.calls[-1]["x"]) == 3


def test_rows_that_get_lost_are_found_out_although_it_was_filled_up() -> None:
    def three(tensors: Tensors) -> Tensors:
        # As many as were asked for, but not as many as were run.
        return {"y": affine(tensors)["y"][:3]}

    bench = Bench(MemoryModel(functions={"serving_default": three}), pads=(1, 2, 4))
    method = method_of(bench)
    with pytest.raises(Exception, match="had not one row for each"):
        method.run({"x": np.ones(3, np.float32)})
