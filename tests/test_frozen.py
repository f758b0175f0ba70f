"""What is frozen gives what it gave before, and what may be written is not frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.contract import Case, ModelContract, assert_same
from tests.frozen_models import BUILDERS, CASES, NUMBERS, convolved, variables
from tests.saved_models import spec
from tests.test_savedmodel import direct, load_as_saved
from txinfer.frozen import MOST_OPTIMIZED, Unfit, from_checkpoint, from_session
from txinfer.original import open_original
from txinfer.savedmodel import SavedModel, load, load_in_session, tuned
from txinfer.session import Opened, session_config
from txinfer.tune import SessionPolicy, Tuner

MOST = 2**24
POLICY = SessionPolicy()

Paths = Callable[[str], str]

#: Kinds of models none of whose variables stays one.
WHOLLY_FROZEN = set(BUILDERS) - {"partly_written", "generator", "v1_local"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The folder of a SavedModel by the name of its builder; written once."""
    folder = tmp_path_factory.mktemp("frozen")

    def written(name: str) -> str:
        made = folder / name
        if not made.exists():
            BUILDERS[name](str(made))
        return str(made)

    return written


def opened(path: str, most: int = MOST) -> Opened:
    """The model frozen, by whichever way there is."""
    try:
        return from_checkpoint(path, ["serve"], session_config(POLICY), most)
    except Unfit:
        first = open_original(path, ["serve"], session_config(POLICY))
        try:
            return from_session(path, first, session_config(POLICY), most)
        finally:
            first.close()


def load_from_session(path: str, tags: list[str]) -> SavedModel:
    """By TensorFlow's loader first, even where the checkpoint would do."""
    first = open_original(path, tags, session_config(POLICY))
    try:
        second = from_session(path, first, session_config(POLICY), MOST)
    finally:
        first.close()
    return tuned(second, POLICY, Tuner(None))[0]


def load_unfrozen(path: str, tags: list[str]) -> SavedModel:
    """With nothing but what the signatures need, but with variables."""
    return load_in_session(path, tags, SessionPolicy(most_frozen=0))


@pytest.fixture(scope="module")
def case_of(path: Paths) -> Iterator[Callable[[str, Any], Case]]:
    """The case of a builder, loaded once by each loader and closed at the end."""
    made: dict[tuple[str, Any], Case] = {}

    def make(name: str, loader: Any) -> Case:
        if (name, loader) not in made:
            inputs = {"x": CASES[name]}
            outputs = direct(path(name), "serving_default", inputs)
            model = loader(path(name), ["serve"])
            made[name, loader] = Case(model, "serving_default", inputs, outputs)
        return made[name, loader]

    yield make
    for case in made.values():
        case.model.close()


class EveryKind(ModelContract):
    """The contract for each builder, by the subclass's loader."""

    loader: Any

    @pytest.fixture(params=sorted(BUILDERS))
    def case(self, request: pytest.FixtureRequest, case_of: Any) -> Any:
        return case_of(request.param, type(self).loader)


class TestFrozen(EveryKind):
    loader = staticmethod(load_in_session)


class TestFrozenFromASession(EveryKind):
    loader = staticmethod(load_from_session)


class TestUnfrozen(EveryKind):
    loader = staticmethod(load_unfrozen)


class TestWhatIsFrozen:
    @pytest.fixture
    def frozen(self, path: Paths) -> Iterator[Callable[..., Opened]]:
        made = []

        def open(name: str, most: int = MOST) -> Opened:
            made.append(opened(path(name), most))
            return made[-1]

        yield open
        for one in made:
            one.close()

    @pytest.mark.parametrize("name", sorted(WHOLLY_FROZEN))
    def test_no_variable_is_left(
        self, name: str, frozen: Callable[..., Opened]
    ) -> None:
        graph_def = frozen(name).session.graph.as_graph_def()
        bodies = [it.node_def for it in graph_def.library.function]
        ops = {node.op for nodes in (graph_def.node, *bodies) for node in nodes}
        assert not {op for op in ops if "Variable" in op or op.startswith("VarHandle")}

    def test_what_is_written_stays_a_variable(
        self, frozen: Callable[..., Opened]
    ) -> None:
        one = frozen("partly_written")
        assert one.how.startswith("1 of its 2 variables are constants")
        count, read = one.runner("count", False), one.runner("serving_default", False)
        assert count(NUMBERS)[0].tolist() == 7.5
        assert read(NUMBERS)[0].tolist() == (NUMBERS * 3 + 2.5).tolist()

    def test_two_models_share_no_variable(self, path: Paths) -> None:
        first, second = (load(path("partly_written"), ["serve"]) for _ in range(2))
        first.run("count", {"x": NUMBERS})
        outputs = second.run("serving_default", {"x": NUMBERS})
        assert outputs["y"].tolist() == (NUMBERS * 3).tolist()
        first.close()
        second.close()

    def test_random_numbers_stay_random(self, frozen: Callable[..., Opened]) -> None:
        one = frozen("generator")
        assert one.how.startswith("1 of its 2 variables are constants")

    def test_the_smallest_come_first(self, frozen: Callable[..., Opened]) -> None:
        """``kinds`` has scalars of 8, 4, 1 and 2 bytes, among others."""
        assert frozen("kinds", most=4).how.startswith("3 of its 7 variables")
        assert frozen("kinds", most=0).how == "its 7 variables are read in each run"

    def test_constants_count_once_for_each_signature(
        self, frozen: Callable[..., Opened]
    ) -> None:
        """Each signature that reads a variable has a constant of its own."""
        one = frozen("partly_written", most=7)
        assert one.how == "its 2 variables are read in each run"

    def test_variables_that_the_main_op_sets_are_left_to_it(
        self, frozen: Callable[..., Opened]
    ) -> None:
        one = frozen("v1_local")
        assert one.how == "its 1 variables are constants"
        outputs = one.runner("serving_default", False)(NUMBERS)
        assert outputs[0].tolist() == (NUMBERS * 2 + 5).tolist()

    def test_constants_are_given_back_once_all_is_made(self, path: Paths) -> None:
        """And runs do not need them."""
        one = opened(path("large"))
        model, _ = tuned(one, POLICY, Tuner(None))
        kept = one.session.graph.as_graph_def().ByteSize()
        outputs = model.run("serving_default", {"x": CASES["large"]})
        model.close()
        assert kept < 4 * 256 * 256
        want = direct(path("large"), "serving_default", {"x": CASES["large"]})
        assert_same(outputs, want)

    def test_folding_changes_no_more_than_rounding(self, tmp_path: Path) -> None:
        folder = str(tmp_path / "model")
        convolved(folder)
        x = np.random.default_rng(1).normal(size=(4, 8, 8, 3)).astype("float32")
        want = direct(folder, "serving_default", {"x": x})["y"]
        for loader in (load_in_session, load_unfrozen, load_as_saved):
            model = loader(folder, ["serve"])
            got = model.run("serving_default", {"x": x})["y"]
            model.close()
            assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("extra", [0, 1])
def test_graphs_are_optimized_unless_there_are_very_many_signatures(
    extra: int, tmp_path: Path
) -> None:
    folder = str(tmp_path / "model")
    module = variables(np.float32(2))
    run = tf.function(lambda x: {"y": x * module.a}, [spec([None])])
    names = [f"f{number}" for number in range(MOST_OPTIMIZED + extra)]
    tf.saved_model.save(module, folder, dict.fromkeys(names, run))
    config = session_config(POLICY)
    one = from_checkpoint(folder, ["serve"], config, MOST)
    assert config.graph_options.place_pruned_graph == bool(extra)
    assert [one.runner(it, True)(NUMBERS)[0].tolist() for it in names] == [
        (2 * NUMBERS).tolist()
    ] * len(names)
    one.close()


class TestFallingBack:
    def test_a_mutable_table_is_left_to_tensorflow(self, saved_model: Paths) -> None:
        path = saved_model("mutable_table")
        with pytest.raises(Unfit, match="MutableHashTable"):
            opened(path)
        model = load(path, ["serve"])
        found = model.run("find", {"x": np.array([b"b", b"z"], object)})
        assert found["y"].tolist() == [2, -1]
        model.close()

    def test_the_text_form_is_loaded_by_tensorflow(self, saved_model: Paths) -> None:
        with pytest.raises(Unfit, match="no saved_model"):
            from_checkpoint(
                saved_model("v1_text"), ["serve"], session_config(POLICY), MOST
            )

    def test_a_checkpoint_that_lacks_a_variable_is_told_of(
        self, path: Paths, tmp_path: Path
    ) -> None:
        """The graph is that of one model, the checkpoint another's."""
        for part in ("saved_model.pb", "variables"):
            source = path("nested") if part == "saved_model.pb" else path("gathered")
            (tmp_path / part).symlink_to(Path(source) / part)
        with pytest.raises(Exception, match="not in the checkpoint"):
            opened(str(tmp_path))

    def test_a_checkpoint_with_another_shape_is_told_of(
        self, path: Paths, tmp_path: Path
    ) -> None:
        (tmp_path / "saved_model.pb").symlink_to(path("gathered") + "/saved_model.pb")
        (tmp_path / "variables").symlink_to(path("fixed") + "/variables")
        with pytest.raises(Unfit, match="is stored of another shape"):
            from_checkpoint(str(tmp_path), ["serve"], session_config(POLICY), MOST)
