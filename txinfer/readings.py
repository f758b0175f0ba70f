"""Where the values of the metrics are, in what was counted and in the load.

A reading gives the values of one metric, each with the values of its labels.
While no model is served there is no load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from .counts import Histogram, MethodCounts
from .metrics import Door, Metrics, ModelCounts, VersionCounts
from .observe import Depth, Fetched, Load, Shed

V = TypeVar("V", float, Histogram)

Labelled = tuple[tuple[str, ...], V]
Reading = Callable[[Metrics, Load | None], Iterator[Labelled[V]]]

# TensorFlow Serving's states, in the order of a version's life.
STATES = ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")


def number(value: Callable[[Metrics], V]) -> Reading[V]:
    """One number, or histogram, of everything that was counted."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[V]]:
        yield (), value(metrics)

    return read


def of_method(value: Callable[[MethodCounts], V]) -> Reading[V]:
    """A number, or histogram, of each method."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[V]]:
        for key, counts in metrics.methods.items():
            yield key, value(counts)

    return read


def of_methods(values: Callable[[MethodCounts], Iterator[Labelled[V]]]) -> Reading[V]:
    """Some numbers, or histograms, of each method, told apart by one more label."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[V]]:
        for key, counts in metrics.methods.items():
            for labels, value in values(counts):
                yield key + labels, value

    return read


def of_version(value: Callable[[VersionCounts], float | None]) -> Reading[float]:
    """A number of each version of each model that has one."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
        for (model, version), counts in metrics.versions.items():
            found = value(counts)
            if found is not None:
                yield (model, str(version)), found

    return read


def of_outcomes(failures: Callable[[ModelCounts], dict[bool, int]]) -> Reading[float]:
    """How often something of each model was done, and how often it failed."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
        for model, counts in metrics.models.items():
            failed = failures(counts)
            yield (model, "done"), failed.get(False, 0)
            yield (model, "failed"), failed.get(True, 0)

    return read


def of_door(value: Callable[[Door], float]) -> Reading[float]:
    """A number of our own site, if there is one."""

    def read(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
        if metrics.door is not None:
            yield (), value(metrics.door)

    return read


def of_load(value: Callable[[Load], float]) -> Reading[float]:
    """A number of the load, if there is one."""

    def read(_: Metrics, load: Load | None) -> Iterator[Labelled[float]]:
        if load is not None:
            yield (), value(load)

    return read


def of_depth(value: Callable[[Depth], float]) -> Reading[float]:
    """A number of each method; 0 for those of which nothing waits or runs now."""

    def read(metrics: Metrics, load: Load | None) -> Iterator[Labelled[float]]:
        if load is None:
            return
        totals = dict.fromkeys((key for key in metrics.methods if key[1]), 0.0)
        for labels, depth in load.depths.items():
            key = labels.model, labels.method
            totals[key] = totals.get(key, 0.0) + value(depth)
        yield from totals.items()

    return read


# Those that are like no other


def in_flight(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
    """How many requests of each method have begun and are not answered."""
    totals = dict.fromkeys(metrics.methods, 0)
    for source in metrics.in_flight:
        for labels, count in source().items():
            key = labels.model, labels.method
            totals[key] = totals.get(key, 0) + count
    yield from totals.items()


def learned(_: Metrics, load: Load | None) -> Iterator[Labelled[float]]:
    """What runs of each method are known to take; of the newest version called."""
    if load is None:
        return
    newest = {(it.model, it.method): it for it in sorted(load.costs)}
    for key, labels in newest.items():
        for point in load.costs[labels]:
            yield (*key, str(point.most)), point.seconds


def phases(counts: MethodCounts) -> Iterator[Labelled[Histogram]]:
    """How long the phases took that any call of a method has got to."""
    for phase, histogram in counts.phases.items():
        if any(histogram.counts):
            yield (phase,), histogram


def statuses(counts: MethodCounts) -> Iterator[Labelled[float]]:
    """How many calls of a method were answered with each HTTP status."""
    for status, count in counts.statuses.items():
        yield (str(status),), count


def runs(counts: MethodCounts) -> Iterator[Labelled[float]]:
    """How many runs of a method gave outputs, and how many did not."""
    yield ("done",), sum(counts.runs.counts)
    yield ("failed",), counts.failed_runs


def sheds(counts: MethodCounts) -> Iterator[Labelled[float]]:
    """How many calls of a method were refused for each reason."""
    for reason in Shed:
        yield (reason.value,), counts.sheds.get(reason, 0)


def fetches(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
    """How many URL inputs were fetched, and what became of it."""
    for outcome in Fetched:
        yield (outcome.value,), metrics.fetches.get(outcome, 0)


def states(metrics: Metrics, _: Load | None) -> Iterator[Labelled[float]]:
    """The state of each version of each model."""
    for (model, version), counts in metrics.versions.items():
        for state in STATES:
            yield (model, str(version), state), float(counts.state == state)


def saturation(metrics: Metrics, load: Load | None) -> Iterator[Labelled[float]]:
    """The share of the session slots that was busy lately."""
    if load is not None:
        yield (), metrics.saturation(load)
