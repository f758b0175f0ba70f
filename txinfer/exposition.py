"""What was counted, in Prometheus' words and format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from .counts import Histogram
from .families import COUNTERS, GAUGES, HISTOGRAMS, Family, HistogramFamily
from .metrics import Metrics
from .observe import Load

# The oldest text format, which every scraper reads.
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Simple = type[CounterMetricFamily] | type[GaugeMetricFamily]


@attrs.frozen(eq=False)
class Exposition(Collector):
    """Reads :class:`~txinfer.metrics.Metrics` when a registry is scraped.

    Args:
        metrics: what was counted.
        load: how busy the slots are now; None while no model is served.
    """

    _metrics: Metrics
    _load: Callable[[], Load | None]

    def describe(self) -> Iterable[Metric]:
        """The metrics without values: by these a registry admits each name once."""
        yield from (_histogram(family, ()) for family in HISTOGRAMS)
        yield from (_simple(CounterMetricFamily, family, ()) for family in COUNTERS)
        yield from (_simple(GaugeMetricFamily, family, ()) for family in GAUGES)

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values now."""
        load = self._load()
        for histogram in HISTOGRAMS:
            yield _histogram(histogram, histogram.read(self._metrics, load))
        for family in COUNTERS:
            values = family.read(self._metrics, load)
            yield _simple(CounterMetricFamily, family, values)
        for family in GAUGES:
            values = family.read(self._metrics, load)
            yield _simple(GaugeMetricFamily, family, values)


def process_registry() -> CollectorRegistry:
    """A registry that tells of the process, for one that is all ours."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def text(registry: CollectorRegistry) -> Iterator[bytes]:
    """All that a registry has, metric by metric; time may pass between two."""
    for metric in registry.collect():
        yield generate_latest(_Only(metric))


@attrs.frozen(eq=False)
class _Only(Collector):
    """A single metric, where a whole registry is wanted."""

    metric: Metric

    def collect(self) -> list[Metric]:
        """That one."""
        return [self.metric]


def _simple(
    kind: Simple, family: Family, values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, value in values:
        metric.add_metric(labels, value)
    return metric


def _histogram(
    family: HistogramFamily, values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values:
        metric.add_metric(labels, _buckets(value), value.sum)
    return metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """How many values were at most each bound, as Prometheus has it."""
    total = 0
    buckets: list[tuple[str, float]] = []
    bounds = (*histogram.bounds, float("inf"))
    for bound, count in zip(bounds, histogram.counts, strict=True):
        total += count
        buckets.append((floatToGoString(bound), total))
    return buckets
