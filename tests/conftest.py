"""Fixtures for every test."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# Before TensorFlow is first imported: it writes to stderr what it was built with.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# How long an example takes says how busy the machine is.
settings.register_profile(
    "txinfer", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("txinfer")


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a SavedModel by the name of its builder; written once."""
    folder = tmp_path_factory.mktemp("saved_models")

    def path(name: str) -> str:
        from tests.saved_models import BUILDERS

        made = folder / name
        if not made.exists():
            BUILDERS[name](str(made))
        return str(made)

    return path
