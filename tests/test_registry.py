"""What addresses mean, and what is told of models."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.memory import AFFINE, MemoryModel
from tests.pool import SteppedThreads
from txinfer.collector import Collector
from txinfer.errors import (
    Unavailable,
    UnknownLabel,
    UnknownMethod,
    UnknownModel,
    UnknownVersion,
)
from txinfer.interfaces import IModels, IPredictor
from txinfer.models import Servable
from txinfer.observe import Labels
from txinfer.policy import BatchPolicy
from txinfer.registry import Registry, Versions


def servable(number: int, *methods: str) -> Servable:
    """A servable that is available."""
    threads = SteppedThreads()
    model = MemoryModel(dict.fromkeys(methods or ("f",), AFFINE))
    collector = Collector(threads, Clock(), BatchPolicy())
    made = Servable(lambda: model, threads, collector, Labels("m", number))
    loaded = Deferred.fromCoroutine(made.load())
    threads.finish()
    assert loaded.called
    return made


@pytest.fixture
def versions() -> Versions:
    return Versions("m", {"stable": 3, "old": 1})


def test_the_interfaces_are_kept(versions: Versions) -> None:
    verifyObject(IPredictor, versions)
    verifyObject(IModels, Registry([versions]))


def test_a_model_is_its_highest_available_version(versions: Versions) -> None:
    for number in (3, 4, 2):
        versions.publish(servable(number))
    assert versions.current().number == 4
    assert versions.method("f").labels == Labels("m", 4, "f")
    versions.withdraw(4)
    with versions.lease("f") as method:
        assert method.labels.version == 3


def test_a_lease_stays_with_its_version(versions: Versions) -> None:
    versions.publish(servable(3, "f"))
    with versions.lease("f") as method:
        versions.publish(servable(4, "g"))
        assert method.labels.version == 3
        with pytest.raises(UnknownMethod):
            versions.method("f")


def test_versions_and_labels_are_addresses(versions: Versions) -> None:
    registry = Registry([versions, Versions("other")])
    three, four = servable(3), servable(4)
    versions.publish(three)
    versions.publish(four)
    assert registry.at() is versions
    assert registry.at("m") is versions
    assert registry.at("m", 3) is three
    assert registry.at("m", label="stable") is three
    assert registry.at(version=4) is four


def test_a_label_may_be_moved(versions: Versions) -> None:
    versions.publish(servable(3))
    versions.publish(servable(4))
    versions.labels["stable"] = 4
    assert versions.label("stable").number == 4


def test_what_is_unknown_is_told_with_what_is_known(versions: Versions) -> None:
    versions.publish(servable(3))
    registry = Registry([versions])
    with pytest.raises(UnknownModel, match="no model 'x'; known: m"):
        registry.at("x")
    with pytest.raises(UnknownVersion, match="no version '9'; known: 3"):
        registry.at("m", 9)
    with pytest.raises(UnknownLabel, match="no label 'new'; known: old, stable"):
        registry.at("m", label="new")


def test_before_anything_is_loaded_everything_is_to_come(versions: Versions) -> None:
    for find in (
        versions.current,
        lambda: versions.version(3),
        lambda: versions.label("stable"),
    ):
        with pytest.raises(Unavailable, match="still loading"):
            find()


def test_a_version_that_failed_is_told_from_one_that_is_none(
    versions: Versions,
) -> None:
    versions.publish(servable(3))
    versions.failures[4] = "it could not be loaded"
    versions.pending[5] = "its files have just changed"
    with pytest.raises(Unavailable, match="not loaded"):
        versions.version(4)
    with pytest.raises(Unavailable):
        versions.version(5)
    with pytest.raises(Unavailable, match="not loaded"):
        versions.label("old")


def test_closed_it_says_that_the_server_stops(versions: Versions) -> None:
    three = servable(3)
    versions.publish(three)
    assert versions.close() == [three]
    with pytest.raises(Unavailable, match="shutting down"):
        versions.lease("f")


def test_the_listing_tells_each_version_s_state(versions: Versions) -> None:
    old, new = servable(3), servable(4, "f", "g")
    versions.publish(old)
    versions.publish(new)
    versions.withdraw(3)
    old.retire()
    versions.failures = {4: "it could not be loaded", 5: "its warm-up failed"}
    versions.pending = {6: "variables.index is missing"}
    assert versions.listing() == {
        "name": "m",
        "labels": {"stable": 3, "old": 1},
        "versions": [
            {"version": 6, "state": "START", "waiting": "variables.index is missing"},
            {"version": 5, "state": "END", "error": "its warm-up failed"},
            {
                "version": 4,
                "state": "AVAILABLE",
                "methods": ["f", "g"],
                "error": "it could not be loaded",
            },
            {"version": 3, "state": "UNLOADING", "methods": ["f"]},
        ],
    }
    versions.drop(old)
    assert [row["version"] for row in versions.listing()["versions"]] == [6, 5, 4]


def test_publishing_the_same_version_again_gives_back_the_old(
    versions: Versions,
) -> None:
    first, second = servable(3), servable(3)
    assert versions.publish(first) is None
    assert versions.publish(second) is first
    assert versions.current() is second
