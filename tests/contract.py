"""What every IModel must do, as tests to be mixed into a test class."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from zope.interface.verify import verifyObject

from txinfer.interfaces import IModel
from txinfer.tensors import Tensors, TensorSpec


@attrs.frozen
class Case:
    """A model, and what one of its signatures makes of some tensors."""

    model: IModel
    name: str
    inputs: Tensors
    outputs: Tensors


def assert_same(got: Tensors, want: Tensors) -> None:
    """The same names, and arrays that are the same bit for bit."""
    assert list(got) == list(want)
    for name, array in want.items():
        assert isinstance(got[name], np.ndarray), name
        assert got[name].dtype == array.dtype, name
        assert got[name].shape == array.shape, name
        assert got[name].tolist() == array.tolist(), name


def assert_fit(tensors: Tensors, specs: Mapping[str, TensorSpec]) -> None:
    """One array for each spec, of its dtype and a shape that it admits."""
    assert list(tensors) == list(specs)
    for name, spec in specs.items():
        assert isinstance(tensors[name], np.ndarray), name
        assert tensors[name].dtype == spec.dtype, name
        assert spec.admits(tensors[name].shape), name
        if spec.type == "string":
            assert all(isinstance(value, bytes) for value in tensors[name].flat)


class ModelContract:
    """Tests of any :class:`IModel`; the subclass has the fixture ``case``."""

    @pytest.fixture
    def case(self) -> Case:
        """The model to be tested."""
        raise NotImplementedError

    def test_provides_the_interface(self, case: Case) -> None:
        verifyObject(IModel, case.model)

    def test_a_signature_is_served_or_refused(self, case: Case) -> None:
        assert case.name in case.model.signatures
        assert not set(case.model.signatures) & set(case.model.refused)
        assert set(case.model.stateful) <= set(case.model.signatures)

    def test_a_run_gives_what_the_signature_says(self, case: Case) -> None:
        signature = case.model.signatures[case.name]
        outputs = case.model.run(case.name, case.inputs)
        assert_fit(case.inputs, signature.inputs)
        assert_fit(outputs, signature.outputs)
        assert_same(outputs, case.outputs)

    def test_a_run_leaves_its_inputs_alone(self, case: Case) -> None:
        before = {name: array.copy() for name, array in case.inputs.items()}
        case.model.run(case.name, case.inputs)
        assert_same(case.inputs, before)

    def test_the_order_of_the_tensors_does_not_matter(self, case: Case) -> None:
        turned = dict(reversed(list(case.inputs.items())))
        assert_same(case.model.run(case.name, turned), case.outputs)

    def test_several_threads_may_run_at_once(self, case: Case) -> None:
        with ThreadPoolExecutor(4) as pool:
            runs = [
                pool.submit(case.model.run, case.name, case.inputs) for _ in range(40)
            ]
        for run in runs:
            assert_same(run.result(), case.outputs)
