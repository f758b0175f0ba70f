from __future__ import annotations

import os

import pytest
from twisted.internet.task import Clock

from tests.memory import MemoryModel
from txinfer import InferenceService, processors


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="it has no affinity")
def test_those_are_counted_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 7})
    assert processors.processors() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processors.processors() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors.processors() == 1


@pytest.mark.parametrize(("there", "runs"), [(1, 1), (3, 3), (64, 8)])
def test_there_is_a_slot_for_each_up_to_eight(
    monkeypatch: pytest.MonkeyPatch, there: int, runs: int
) -> None:
    monkeypatch.setattr(processors, "processors", lambda: there)
    assert processors.runs_at_once() == runs


@pytest.mark.parametrize(("threads", "slots"), [(0, 3), (1, 1), (5, 5)])
def test_a_service_has_them_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch, threads: int, slots: int
) -> None:
    monkeypatch.setattr(processors, "processors", lambda: 3)
    service = InferenceService(
        "memory", load=MemoryModel, threads=threads, reactor=Clock()
    )
    assert service._threads == slots
