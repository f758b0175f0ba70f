"""SavedModels of every kind, run and compared with TensorFlow's own loader."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from twisted.internet.task import Clock

from tests.contract import Case, ModelContract, assert_same
from tests.saved_models import BUILDERS, DTYPES
from txinfer import tune
from txinfer.errors import InputRefused, InvalidModel, ModelFailed
from txinfer.frozen import from_checkpoint
from txinfer.original import open_original
from txinfer.processors import MOST_AT_ONCE
from txinfer.savedmodel import (
    SavedModel,
    load,
    load_functions,
    load_in_session,
    open_fastest,
    tuned,
)
from txinfer.session import Opened, make_callable, session_config
from txinfer.tensors import Array, Tensors
from txinfer.tune import POOL_EACH, SessionPolicy, Tuner
from txinfer.ways import fastest

Paths = Callable[[str], str]

#: The builders of models of which nothing can be served.
UNSERVED = {"complex_only", "no_signatures"}


def array(values: Any, type: str = "float32") -> Array:
    """An array of TensorFlow's dtype of that name."""
    return np.array(values, tf.as_dtype(type).as_numpy_dtype)


def text(values: Any) -> Array:
    """An array of strings."""
    return array(values, "string")


def image_files() -> Array:
    """A JPEG and a PNG."""
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    files = [tf.io.encode_jpeg(pixels).numpy(), tf.io.encode_png(pixels).numpy()]
    return text(files)


X = {"x": array([1, -2, 3.5])}
ROWS = {"x": array([[1, 2, 3], [4, 5, 6]])}
WORDS = {"x": text([b"a", b"c", b"", b"\xff\xfe"])}

#: A name for the test: the builder, the signature and what it is given.
KINDS: dict[str, tuple[str, str, Callable[[], Tensors]]] = {
    "affine": ("affine", "serving_default", lambda: X),
    "no rows": ("affine", "serving_default", lambda: {"x": array([])}),
    "strided": ("affine", "serving_default", lambda: {"x": array(range(9))[::-2]}),
    "dense": ("dense", "serving_default", lambda: ROWS),
    "several": ("several", "triple", lambda: X),
    "multi": (
        "multi",
        "serving_default",
        lambda: {
            "a": array([1, 2]),
            "b": array([[1, 2], [3, 4]], "int64"),
            "c": text([b"p", b"q"]),
        },
    ),
    "scalars": (
        "scalars",
        "serving_default",
        lambda: {"s": text(b"\xff"), "x": array(2)},
    ),
    "no inputs": ("no_inputs", "serving_default", dict),
    "unknown rank": ("unknown_rank", "serving_default", lambda: {"x": array([[[1]]])}),
    "rank 0 for unknown": ("unknown_rank", "serving_default", lambda: {"x": array(1)}),
    "strings": ("strings", "serving_default", lambda: WORDS),
    "no strings": ("strings", "serving_default", lambda: {"x": text([])}),
    "peek": ("counter", "peek", lambda: X),
    "batch": ("batch_dependent", "serving_default", lambda: {"x": array([[1, 2]] * 2)}),
    "images": ("images", "serving_default", lambda: {"x": image_files()}),
    "numbers": ("numbers", "serving_default", lambda: {"x": text([b"1", b"2.5"])}),
    "parts": ("parts", "good", lambda: X),
    "fewer rows": ("fewer_rows", "serving_default", lambda: X),
    "lookup": ("lookup", "serving_default", lambda: WORDS),
    "mutable table": ("mutable_table", "find", lambda: WORDS),
    "keras export": ("keras_export", "serving_default", lambda: ROWS),
    "keras in a module": ("keras_in_module", "serving_default", lambda: ROWS),
    "keras words": ("keras_lookup_in_module", "serving_default", lambda: WORDS),
    "v1 reference": ("v1_reference", "serving_default", lambda: ROWS),
    "v1 resource": ("v1_resource", "serving_default", lambda: ROWS),
    "v1 lookup": ("v1_lookup", "serving_default", lambda: WORDS),
    "v1 legacy lookup": ("v1_legacy_lookup", "serving_default", lambda: WORDS),
    "v1 wrong dtype": ("v1_wrong_dtype", "serving_default", lambda: WORDS),
    "v1 sparse": ("v1_sparse", "good", lambda: X),
    "v1 gradient": ("v1_gradient", "serving_default", lambda: X),
    "v1 text": ("v1_text", "serving_default", lambda: X),
    "v1 unset": ("v1_unset", "good", lambda: X),
    **{
        dtype: (
            "dtypes",
            dtype,
            lambda dtype=dtype: {"x": array([0, 1], dtype)},  # type: ignore[misc]
        )
        for dtype in DTYPES
        if dtype != "string"
    },
}


def direct(path: str, name: str, inputs: Tensors) -> Tensors:
    """What the signature gives if TensorFlow is asked without us."""
    function = tf.saved_model.load(path, ["serve"]).signatures[name]
    specs = function.structured_input_signature[1]
    fed = {key: tf.constant(inputs[key], specs[key].dtype) for key in inputs}
    results = function(**fed)
    return {
        key: np.array(results[key].numpy(), results[key].dtype.as_numpy_dtype)
        for key in sorted(results)
    }


def load_as_saved(path: str, tags: list[str]) -> SavedModel:
    """By TensorFlow 1's loader, nothing frozen and nothing measured."""
    policy = SessionPolicy()
    opened = open_original(path, tags, session_config(policy))
    return tuned(opened, policy, Tuner(None))[0]


def load_in_one_thread(path: str, tags: list[str]) -> SavedModel:
    """With ops that have no threads, if that is possible."""
    # A clock by which every run takes the same time.
    ticks = count(0, 1e-5)
    policy = SessionPolicy(clock=lambda: next(ticks), at_once=MOST_AT_ONCE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tune, "runs_at_once", lambda: 2)
        patched.setenv(POOL_EACH, "1")
        return load_in_session(path, tags, policy)


@pytest.fixture(scope="module")
def cases(saved_model: Paths) -> Iterator[Callable[[str, Any], Case]]:
    """The case of a kind, loaded once by each loader and closed at the end."""
    made: dict[tuple[str, Any], Case] = {}

    def case_of(kind: str, loader: Any) -> Case:
        if (kind, loader) not in made:
            builder, name, make = KINDS[kind]
            path = saved_model(builder)
            outputs = direct(path, name, make())
            model = loader(path, ["serve"])
            made[kind, loader] = Case(model, name, make(), outputs)
        return made[kind, loader]

    yield case_of
    for case in made.values():
        case.model.close()


class TestInSession(ModelContract):
    """Every kind of model runs in a session, however that may be."""

    @pytest.fixture(params=KINDS)
    def case(self, request: pytest.FixtureRequest, cases: Any) -> Any:
        return cases(request.param, load_in_session)


class TestInOneThread(ModelContract):
    """Nor does it depend on threads what comes of it."""

    @pytest.fixture(params=KINDS)
    def case(self, cases: Any, request: pytest.FixtureRequest) -> Any:
        return cases(request.param, load_in_one_thread)


class TestAsSaved(ModelContract):
    """And so it does in one with the graph as it was saved."""

    @pytest.fixture(params=KINDS)
    def case(self, request: pytest.FixtureRequest, cases: Any) -> Any:
        return cases(request.param, load_as_saved)


class TestByFunctions(ModelContract):
    """And so it does by ``tf.saved_model.load``."""

    @pytest.fixture(
        params=[
            *("multi", "scalars", "no inputs", "no strings", "bfloat16"),
            *("keras words", "v1 resource"),
        ]
    )
    def case(self, request: pytest.FixtureRequest, cases: Any) -> Any:
        return cases(request.param, load_functions)


@pytest.fixture
def opened(saved_model: Paths) -> Iterator[Callable[[str], SavedModel]]:
    """Loads the model of a builder, and closes it after the test."""
    models = []

    def open(name: str, *tags: str) -> SavedModel:
        models.append(load(saved_model(name), tags or ["serve"]))
        return models[-1]

    yield open
    for model in models:
        model.close()


Open = Callable[..., SavedModel]


class TestSignatures:
    def test_dtypes_are_the_graph_s(self, opened: Open) -> None:
        signature = opened("v1_wrong_dtype").signatures["serving_default"]
        assert signature.inputs["x"].type == "string"

    def test_a_reference_may_be_an_output(self, opened: Open) -> None:
        """``tf.saved_model.load`` does not load such a model at all."""
        model = opened("v1_reference_output")
        spec = model.signatures["serving_default"].outputs["weights"]
        assert (spec.type, spec.shape) == ("float32", (3,))
        outputs = model.run("serving_default", ROWS)
        assert outputs["weights"].tolist() == [2, 3, 4]
        assert outputs["y"].tolist() == [[2, 6, 12], [8, 15, 24]]

    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_every_dtype_has_numpy_s_counterpart(
        self, saved_model: Paths, loader: Any
    ) -> None:
        model = loader(saved_model("dtypes"), ["serve"])
        assert set(model.signatures) == set(DTYPES)
        for dtype, signature in model.signatures.items():
            for spec in (signature.inputs["x"], signature.outputs["y"]):
                assert spec.type == dtype
                assert spec.dtype == tf.as_dtype(dtype).as_numpy_dtype

    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_shapes_have_none_where_they_are_unknown(
        self, saved_model: Paths, loader: Any
    ) -> None:
        def shapes(name: str) -> list[Any]:
            signature = loader(saved_model(name), ["serve"]).signatures[
                "serving_default"
            ]
            specs = [*signature.inputs.values(), *signature.outputs.values()]
            return [spec.shape for spec in specs]

        assert shapes("dense") == [(None, 3), (None, 2)]
        assert shapes("unknown_rank") == [None, None]
        assert shapes("scalars") == [()] * 5
        assert shapes("no_inputs") == [(2,)]

    def test_tensorflow_s_own_signatures_are_hidden(self, opened: Open) -> None:
        model = opened("affine")
        assert list(model.signatures) == ["serving_default"]
        assert model.refused == {}

    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_what_cannot_be_served_is_refused_alone(
        self, saved_model: Paths, loader: Any
    ) -> None:
        model = loader(saved_model("parts"), ["serve"])
        assert list(model.signatures) == ["good"]
        why = "input 'x' is of dtype complex64, which is not served"
        assert model.refused == {"wave": why}

    def test_sparse_tensors_are_refused(self, opened: Open) -> None:
        why = "input 's' is no plain tensor (coo_sparse)"
        assert opened("v1_sparse").refused == {"sparse": why}

    def test_no_outputs_are_refused(self, opened: Open) -> None:
        assert opened("keras_in_module").refused == {"nothing": "it has no outputs"}

    def test_a_function_of_python_is_not_in_the_model(self, opened: Open) -> None:
        model = opened("python")
        why = "it calls a Python function (EagerPyFunc), which no SavedModel holds"
        whys = {why, why.replace("Eager", "")}
        assert list(model.refused) == ["calls"]
        assert model.refused["calls"] in whys
        assert model.run("plain", {"x": array([2])})["y"].tolist() == [4]

    def test_a_variable_that_was_never_saved_is_named(self, opened: Open) -> None:
        why = "its variable 'local' has no value"
        assert opened("v1_unset").refused == {"unset": why}

    def test_tags_choose_the_graph(self, opened: Open) -> None:
        for tags, want in ((["serve"], [2.0]), (["gpu", "serve"], [3.0])):
            outputs = opened("multi_tags", *tags).run(
                "serving_default", {"x": array([1])}
            )
            assert outputs["y"].tolist() == want


class TestStateful:
    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_a_write_deep_in_a_loop_is_found(
        self, saved_model: Paths, loader: Any
    ) -> None:
        model = loader(saved_model("counter"), ["serve"])
        assert model.stateful == {"count": "it writes state (AssignAddVariableOp)"}

    @pytest.mark.parametrize(
        ("name", "stateful"),
        [
            ("mutable_table", {"insert": "it writes state (LookupTableInsertV2)"}),
            ("v1_counter", {"serving_default": "it writes state (AssignAdd)"}),
        ],
    )
    def test_the_op_is_named(
        self, opened: Open, name: str, stateful: dict[str, str]
    ) -> None:
        assert opened(name).stateful == stateful

    @pytest.mark.parametrize(
        "name",
        [
            *("affine", "lookup", "v1_lookup", "v1_legacy_lookup", "v1_reference"),
            *("keras_export", "keras_in_module", "images", "random", "v1_gradient"),
        ],
    )
    def test_what_only_reads_is_not_stateful(self, opened: Open, name: str) -> None:
        assert opened(name).stateful == {}

    def test_state_stays_with_the_model(self, opened: Open) -> None:
        first, second = opened("counter"), opened("counter")
        first.run("count", {"x": array([1, 2])})
        assert first.run("peek", {"x": array([0])})["y"].tolist() == [3]
        assert second.run("peek", {"x": array([0])})["y"].tolist() == [0]


class TestErrors:
    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_a_bad_row_is_refused(self, saved_model: Paths, loader: Any) -> None:
        model = loader(saved_model("images"), ["serve"])
        files = np.append(image_files(), text([b"no image"]))
        with pytest.raises(InputRefused, match=r"\(INVALID_ARGUMENT\)$") as caught:
            model.run("serving_default", {"x": files})
        assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)

    @pytest.mark.parametrize("loader", [load, load_functions])
    def test_a_text_that_cannot_be_decoded_is_refused(
        self, saved_model: Paths, loader: Any
    ) -> None:
        model = loader(saved_model("numbers"), ["serve"])
        with pytest.raises(InputRefused, match=r"\(INVALID_ARGUMENT\)$"):
            model.run("serving_default", {"x": text([b"\xff\xfe"])})

    def test_what_is_no_tensor_fails(self, opened: Open) -> None:
        with pytest.raises(ModelFailed):
            opened("affine").run("serving_default", {"x": array([object()], "string")})

    def test_a_failed_run_leaves_the_model_sound(self, opened: Open) -> None:
        model = opened("numbers")
        with pytest.raises(InputRefused):
            model.run("serving_default", {"x": text([b"x"])})
        assert model.run("serving_default", {"x": text([b"7"])})["y"].tolist() == [7]


class TestCallable:
    """What the session is run by has a private name."""

    def test_the_private_name_is_there(self) -> None:
        with tf.Graph().as_default() as graph:
            session = tf.compat.v1.Session(graph=graph)
        assert callable(session._make_callable_from_options)

    def test_so_is_that_by_which_constants_are_forgotten(self) -> None:
        with tf.Graph().as_default():
            assert callable(tf.constant([1.0]).op._set_attr)

    def test_without_it_the_public_one_gives_the_same(self) -> None:
        with tf.Graph().as_default() as graph:
            x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
            y = tf.add(x, 1, name="y")
            tf.identity(y[0], name="z")
            session = tf.compat.v1.Session(graph=graph)

        class Public:
            make_callable = session.make_callable

        fed = array([1, 2])
        for some in (session, Public()):
            run = make_callable(some, ["x:0"], ["y:0", "z:0"])
            values = run(fed)
            assert values[0].tolist() == [2, 3]
            assert values[1] == 2


@attrs.frozen(eq=False)
class Timed(Opened):
    """A session whose runs, which do nothing, take as long as is said on a clock.

    ``seconds`` gives that for the session and whether ops run in the calling thread;
    ``is_again`` is whether it was opened again, ``closed`` has that of those closed.
    """

    clock: Any = None
    seconds: Any = None
    is_again: bool = False
    closed: list[bool] = attrs.field(factory=list)

    @classmethod
    def of(cls, opened: Opened, clock: Clock, seconds: Callable[..., float]) -> Timed:
        """The same with runs of so many seconds."""
        fields = attrs.asdict(opened, recurse=False)
        return cls(**fields, clock=clock, seconds=seconds)

    def again(self, config: Any) -> Timed:
        assert config.intra_op_parallelism_threads == 1
        return attrs.evolve(self, is_again=True)

    def runner(self, name: str, in_callers_thread: bool) -> Any:
        def run(x: Array) -> list[Array]:
            self.clock.advance(self.seconds(self, in_callers_thread))
            return [x]

        return run

    def close(self) -> None:
        self.closed.append(self.is_again)
        if not self.is_again:
            super().close()


class TestTuning:
    """How each signature is run is found out as the model is loaded."""

    @staticmethod
    def tuned(path: str, **policy: Any) -> tuple[SavedModel, str]:
        # A clock by which every run takes the same time.
        ticks = count(0, 1e-5)
        at_once = policy.pop("at_once", 2)
        chosen = SessionPolicy(clock=lambda: next(ticks), at_once=at_once, **policy)
        config = session_config(chosen)
        opened = from_checkpoint(path, ["serve"], config, 2**20)
        return tuned(opened, chosen, Tuner(chosen.clock))

    @pytest.fixture(autouse=True)
    def processors(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Says how many processors there are; it is one if nobody says so."""

        def there_are(number: int) -> None:
            monkeypatch.setattr(tune, "runs_at_once", lambda: number)

        monkeypatch.setenv(POOL_EACH, "1")
        there_are(1)
        return there_are

    def test_the_choice_is_told_with_what_was_measured(
        self, saved_model: Paths
    ) -> None:
        _, how = self.tuned(saved_model("affine"))
        assert how == (
            "its 2 variables are constants; in TensorFlow's threads run "
            "serving_default (10 µs, 10 µs in the calling thread)"
        )

    def test_one_thread_is_taken_where_it_suffices(
        self, saved_model: Paths, processors: Callable[[int], None]
    ) -> None:
        processors(2)
        path = saved_model("affine")
        model, how = self.tuned(path)
        assert how == (
            "its 2 variables are constants; in one thread run "
            "serving_default (10 µs, 10 µs in TensorFlow's threads)"
        )
        got = model.run("serving_default", X)
        model.close()
        assert_same(got, direct(path, "serving_default", X))

    def test_fewer_runs_than_processors_have_threads(
        self, saved_model: Paths, processors: Callable[[int], None]
    ) -> None:
        processors(3)
        _, how = self.tuned(saved_model("affine"), at_once=2)
        assert "in one thread" not in how
        _, how = self.tuned(saved_model("affine"), at_once=3)
        assert "in one thread" in how

    def test_sessions_that_share_their_threads_are_all_the_same(
        self,
        saved_model: Paths,
        processors: Callable[[int], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A program that embeds the service has not set TensorFlow's switch."""
        processors(2)
        for value in ("0", None):
            monkeypatch.delenv(POOL_EACH)
            if value is not None:
                monkeypatch.setenv(POOL_EACH, value)
            _, how = self.tuned(saved_model("affine"))
            assert "in one thread" not in how
            monkeypatch.setenv(POOL_EACH, "1")

    def test_threads_that_are_asked_for_are_used(
        self, saved_model: Paths, processors: Callable[[int], None]
    ) -> None:
        processors(2)
        _, how = self.tuned(saved_model("affine"), intra_threads=2)
        assert "in one thread" not in how

    def test_a_session_that_holds_more_than_its_graph_is_kept(
        self, saved_model: Paths, processors: Callable[[int], None]
    ) -> None:
        processors(2)
        for name in ("counter", "lookup"):
            _, how = self.tuned(saved_model(name))
            assert "in one thread" not in how

    def test_where_threads_are_quicker_they_are_used(
        self, saved_model: Paths, processors: Callable[[int], None]
    ) -> None:
        processors(2)
        clock = Clock()
        config = session_config(SessionPolicy())
        one = from_checkpoint(saved_model("affine"), ["serve"], config, 100)
        # Runs take longer in the session that is opened again.
        timed = Timed.of(one, clock, lambda it, _: 2e-5 if it.is_again else 1e-5)
        policy = SessionPolicy(clock=clock.seconds, at_once=2)
        model, how = tuned(timed, policy, Tuner(policy.clock))
        assert "in TensorFlow's threads run" in how
        assert timed.closed == [True]
        model.close()
        one.close()

    def test_many_signatures_are_told_of_in_one_line(self, saved_model: Paths) -> None:
        _, how = self.tuned(saved_model("dtypes"))
        assert how.endswith(", 9 more")
        assert "\n" not in how

    def test_signatures_that_are_not_measured_are_run_like_most_that_were(
        self, saved_model: Paths
    ) -> None:
        clock = Clock()
        config = session_config(SessionPolicy())
        one = from_checkpoint(saved_model("dtypes"), ["serve"], config, 100)
        # The calling thread is quicker, and there is time for some.
        timed = Timed.of(one, clock, lambda _, in_caller: 1e-3 if in_caller else 2e-3)
        tuner = Tuner(clock.seconds, seconds=0.2)
        _, how = tuned(timed, SessionPolicy(clock=clock.seconds), tuner)
        one.close()
        assert "in the calling thread run" in how
        assert how.endswith("9 more")
        assert "TensorFlow's threads run" not in how
        assert clock.seconds() < 0.3, "not all were measured"

    def test_with_threads_for_ops_they_are_used_unmeasured(
        self, saved_model: Paths
    ) -> None:
        _, how = self.tuned(saved_model("affine"), inter_threads=2)
        assert how.endswith("; in TensorFlow's threads run serving_default")

    def test_what_writes_state_is_not_run(self, saved_model: Paths) -> None:
        model, how = self.tuned(saved_model("counter"))
        assert "run count, peek (" in how
        assert model.run("peek", {"x": array([0])})["y"].tolist() == [0]

    @pytest.mark.parametrize(
        ("seconds", "best"),
        [((1e-5, 1e-3), 0), ((1e-3, 1e-5), 1), ((1e-3, 1e-3), 0)],
    )
    def test_the_session_that_is_clearly_quicker_is_taken(
        self, saved_model: Paths, seconds: tuple[float, float], best: int
    ) -> None:
        clock = Clock()

        def opened(most: int) -> Opened:
            config = session_config(SessionPolicy())
            one = from_checkpoint(saved_model("affine"), ["serve"], config, most)
            return Timed.of(one, clock, lambda it, _: seconds[0 if it.frozen else 1])

        sessions = [opened(100), opened(0)]
        assert fastest(sessions, Tuner(clock.seconds)) == best
        for one in sessions:
            one.close()

    def test_a_model_that_only_writes_is_not_run_to_find_out(
        self, saved_model: Paths
    ) -> None:
        config = session_config(SessionPolicy())
        one = from_checkpoint(saved_model("counter"), ["serve"], config, 100)
        only = attrs.evolve(one, ends={"count": one.ends["count"]})
        assert fastest([only, only], Tuner(lambda: 0.0)) == 0
        assert one.runner("peek", False)(array([0]))[0].tolist() == [0]
        one.close()

    def test_loading_takes_constants_where_nothing_speaks_against_it(
        self, saved_model: Paths
    ) -> None:
        ticks = count(0, 1e-5)
        policy = SessionPolicy(clock=lambda: next(ticks))
        tuner = Tuner(policy.clock)
        opened = open_fastest(saved_model("affine"), ["serve"], policy, tuner)
        assert opened.how == "its 2 variables are constants"
        opened.close()

    def test_options_reach_the_session(self) -> None:
        config = session_config(SessionPolicy(intra_threads=3, inter_threads=2))
        assert config.intra_op_parallelism_threads == 3
        assert config.inter_op_parallelism_threads == 2


class TestLoad:
    def test_keras_in_a_module_gets_its_variables(self, saved_model: Paths) -> None:
        """Its restore op writes other variables than its signature reads."""
        path = saved_model("keras_in_module")
        with tf.Graph().as_default() as graph:
            session = tf.compat.v1.Session(graph=graph)
            meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)
            output = meta.signature_def["serving_default"].outputs["y"].name
            with pytest.raises(tf.errors.FailedPreconditionError):
                session.run(output, {"serving_default_x:0": ROWS["x"]})
        model = load_in_session(path, ["serve"])
        assert_same(
            model.run("serving_default", ROWS),
            direct(path, "serving_default", ROWS),
        )

    def test_a_closed_model_runs_no_more(self, saved_model: Paths) -> None:
        for loader in (load_in_session, load_functions):
            model = loader(saved_model("affine"), ["serve"])
            model.close()
            with pytest.raises(KeyError):
                model.run("serving_default", X)

    @pytest.mark.parametrize("name", sorted(set(BUILDERS) - UNSERVED))
    def test_every_model_loads(self, saved_model: Paths, name: str) -> None:
        load(saved_model(name), ["serve"]).close()

    @pytest.mark.parametrize("name", sorted(UNSERVED))
    def test_or_says_why_not(self, saved_model: Paths, name: str) -> None:
        with pytest.raises(InvalidModel):
            load(saved_model(name), ["serve"])


class TestInvalid:
    """A model that cannot be loaded is told of in one line."""

    @pytest.fixture
    def copy(self, saved_model: Paths, tmp_path: Path) -> Callable[[str], Path]:
        def copied(name: str) -> Path:
            return Path(shutil.copytree(saved_model(name), tmp_path / name))

        return copied

    def why(self, path: str | Path, *tags: str) -> str:
        with pytest.raises(InvalidModel) as caught:
            load(str(path), tags or ["serve"])
        line = str(caught.value)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        assert len(line) < 600
        return line.removeprefix(f"{path}: ")

    def test_no_such_tags(self, saved_model: Paths) -> None:
        why = self.why(saved_model("multi_tags"), "train")
        assert why == "no graph is tagged train; there is: serve; gpu,serve"

    def test_no_such_tags_in_the_text_form(self, saved_model: Paths) -> None:
        assert "'train'" in self.why(saved_model("v1_text"), "train")

    def test_no_signature_at_all(self, saved_model: Paths) -> None:
        why = "the graph tagged serve has no signature"
        assert self.why(saved_model("no_signatures")) == why

    def test_each_refused_signature_is_told_of(self, saved_model: Paths) -> None:
        assert self.why(saved_model("complex_only")) == (
            "no signature can be served: serving_default: "
            "input 'x' is of dtype complex64, which is not served"
        )

    def test_variables_are_missing(self, copy: Callable[[str], Path]) -> None:
        for name in ("affine", "v1_resource"):
            path = copy(name)
            shutil.rmtree(path / "variables")
            assert "Error: " in self.why(path)

    def test_variables_are_cut_short(self, copy: Callable[[str], Path]) -> None:
        path = copy("dense")
        for file in (path / "variables").glob("*.data-*"):
            file.write_bytes(file.read_bytes()[:4])
        assert "Error: " in self.why(path)

    def test_an_asset_is_missing(self, copy: Callable[[str], Path]) -> None:
        path = copy("lookup")
        shutil.rmtree(path / "assets")
        assert "Error: " in self.why(path)

    @pytest.mark.parametrize("name", ["v1_resource", "affine"])
    def test_an_unknown_op_is_named(
        self, copy: Callable[[str], Path], name: str
    ) -> None:
        path = copy(name)
        file = path / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        graph = saved.meta_graphs[0].graph_def
        bodies = [it.node_def for it in graph.library.function]
        for node in [node for nodes in (graph.node, *bodies) for node in nodes]:
            if node.op in ("Mul", "AddV2"):
                node.op = "AddMyWay"
        file.write_bytes(saved.SerializeToString())
        why = "it needs the op AddMyWay, which this TensorFlow does not have"
        assert self.why(path) == why

    def test_the_file_is_damaged(self, copy: Callable[[str], Path]) -> None:
        path = copy("affine")
        file = path / "saved_model.pb"
        content = bytearray(file.read_bytes())
        content[len(content) // 2 :: 7] = b"\xff" * len(content[len(content) // 2 :: 7])
        file.write_bytes(content)
        assert self.why(path)
