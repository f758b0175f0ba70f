"""The model that stands in for TensorFlow keeps the contract too."""

from __future__ import annotations

import numpy as np
import pytest

from tests.contract import Case, ModelContract
from tests.memory import MemoryModel


class TestMemoryModel(ModelContract):
    @pytest.fixture
    def case(self) -> Case:
        inputs = {"x": np.array([1, 2], "float32")}
        outputs = {"y": np.array([3, 5], "float32")}
        return Case(MemoryModel(), "serving_default", inputs, outputs)

    def test_calls_are_recorded(self, case: Case) -> None:
        model = MemoryModel()
        model.run("serving_default", case.inputs)
        assert model.calls == [case.inputs]
        assert model.names == ["serving_default"]
