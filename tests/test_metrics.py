"""What is counted, and what a scraper reads of it."""

from __future__ import annotations

import math
import re
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.processes import needed
from txinfer.cost import Point
from txinfer.counts import (
    FIELDS,
    NOTED,
    PHASES,
    ROWS,
    SECONDS,
    Histogram,
    MethodCounts,
    Window,
)
from txinfer.exposition import Exposition, text
from txinfer.families import COUNTERS, GAUGES, HISTOGRAMS
from txinfer.metrics import BUSY_SECONDS, ENDED_VERSIONS, RECENT_RUNS, Door, Metrics
from txinfer.observe import Amount, Depth, Fetched, IObserver, Labels, Load, Run, Shed
from txinfer.trace import Trace

NAMES = Labels("digits", 3, "names")
TRACE = Trace(
    decode_seconds=0.002, queued_seconds=0.02, run_seconds=0.2, encode_seconds=2, runs=1
)

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def load(**changes: object) -> Load:
    values: dict[str, object] = {
        "slots": 2,
        "lost": 0,
        "running_since": (),
        "depths": {},
        "wait": 0.0,
        "held": Amount(7, 70),
        "most": Amount(100, 1000),
        **changes,
    }
    return Load(**values)  # type: ignore[arg-type]


class Bench:
    """Metrics with what a scrape of them says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics(self.clock)
        self.load: Load | None = load()
        self.registry = CollectorRegistry()
        self.registry.register(Exposition(self.metrics, lambda: self.load))

    def text(self) -> str:
        return b"".join(text(self.registry)).decode()

    def scrape(self) -> Values:
        """Every sample that is not 0 or a bucket, by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.value and not sample.name.endswith("_bucket")
        }

    def value(self, name: str, **labels: str) -> float:
        return self.scrape().get((name, tuple(sorted(labels.items()))), 0.0)

    def ran(self, **values: object) -> None:
        run = {"rows": 4, "calls": 2, "waited": 0.0, "seconds": 1.0, **values}
        self.metrics.ran(Run(NAMES, **run))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


METHOD = {"model": "digits", "method": "names"}
NONE = {"model": "", "method": ""}


def test_the_interface_is_kept(bench: Bench) -> None:
    verifyObject(IObserver, bench.metrics)


def test_calls_are_counted_by_status(bench: Bench) -> None:
    for status in (200, 200, 400):
        bench.metrics.answered(NAMES, status, TRACE)
    requests = "txinfer_requests_total"
    assert bench.value(requests, **METHOD, status="200") == 2
    assert bench.value(requests, **METHOD, status="400") == 1


def test_a_calls_seconds_are_told_by_phase(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 200, TRACE)

    def told(name: str, **labels: str) -> tuple[float, float]:
        return tuple(  # type: ignore[return-value]
            bench.value(f"{name}{part}", **METHOD, **labels)
            for part in ("_count", "_sum")
        )

    phase = "txinfer_phase_duration_seconds"
    assert told(phase, phase="decode") == (1, 0.002)
    assert told(phase, phase="fetch") == (0, 0)
    assert told(phase, phase="queue") == (1, 0.02)
    assert told(phase, phase="run") == (1, 0.2)
    assert told(phase, phase="encode") == (1, 2)
    count, total = told("txinfer_request_duration_seconds")
    assert count == 1
    assert total == pytest.approx(2.222)


def test_phases_that_a_call_did_not_get_to_are_not_counted(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 400, Trace(decode_seconds=1))
    phases = {
        dict(labels)["phase"]
        for name, labels in bench.scrape()
        if name == "txinfer_phase_duration_seconds_count"
    }
    assert phases == {"decode"}


def test_versions_of_a_model_are_counted_together(bench: Bench) -> None:
    for version in (1, 2, 2):
        bench.metrics.answered(NAMES._replace(version=version), 200, TRACE)
    assert bench.value("txinfer_requests_total", **METHOD, status="200") == 3


def test_runs_are_counted_with_their_rows_and_outcome(bench: Bench) -> None:
    bench.ran(rows=8, seconds=0.5)
    bench.ran(rows=4, seconds=0.25)
    bench.ran(failed=True)
    bench.ran(failed=True, rerun=True)
    assert bench.value("txinfer_runs_total", **METHOD, outcome="done") == 2
    assert bench.value("txinfer_runs_total", **METHOD, outcome="failed") == 2
    assert bench.value("txinfer_isolation_reruns_total", **METHOD) == 1
    assert bench.value("txinfer_batch_rows_sum", **METHOD) == 12
    assert bench.value("txinfer_run_duration_seconds_sum", **METHOD) == 0.75
    assert bench.value("txinfer_session_busy_seconds_total") == 2.75


def test_calls_that_were_not_answered_are_counted_by_why(bench: Bench) -> None:
    bench.metrics.shed(NAMES, Shed.ROWS)
    bench.metrics.shed(Labels(), Shed.RATE)
    bench.metrics.cancelled(NAMES)
    bench.metrics.expired(NAMES)
    sheds = "txinfer_sheds_total"
    assert bench.value(sheds, **METHOD, reason="queue_rows") == 1
    assert bench.value(sheds, model="", method="", reason="rate") == 1
    assert bench.value("txinfer_cancelled_total", **METHOD) == 1
    assert bench.value("txinfer_expired_total", **METHOD) == 1


def test_every_reason_to_shed_is_there_from_the_start(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 200, TRACE)
    told = set(re.findall(r'txinfer_sheds_total{.*reason="(\w+)"', bench.text()))
    assert told == {reason.value for reason in Shed}


def test_fetches_are_counted_by_outcome(bench: Bench) -> None:
    bench.metrics.fetched(Fetched.DONE, 0.5, 1000)
    bench.metrics.fetched(Fetched.DENIED, 0.25, 0)
    assert bench.value("txinfer_fetches_total", outcome="done") == 1
    assert bench.value("txinfer_fetches_total", outcome="denied") == 1
    assert bench.value("txinfer_fetched_bytes_total") == 1000
    assert bench.value("txinfer_fetch_duration_seconds_sum") == 0.75


def test_the_life_of_a_version_is_told(bench: Bench) -> None:
    version = Labels("digits", 3)
    bench.metrics.became(version, "LOADING")
    bench.metrics.loaded(version, 2.5, False)
    bench.metrics.warmed(NAMES, 0.5, False)
    bench.metrics.warmed(NAMES._replace(method="features"), 0.25, False)
    bench.metrics.became(version, "AVAILABLE")
    bench.metrics.loaded(Labels("digits", 4), 1, True)
    states = {"model": "digits", "version": "3"}
    assert bench.value("txinfer_model_state", **states, state="AVAILABLE") == 1
    assert bench.value("txinfer_model_state", **states, state="LOADING") == 0
    assert bench.value("txinfer_model_load_duration_seconds", **states) == 2.5
    assert bench.value("txinfer_model_warmup_duration_seconds", **states) == 0.75
    loads = "txinfer_model_loads_total"
    assert bench.value(loads, model="digits", outcome="done") == 1
    assert bench.value(loads, model="digits", outcome="failed") == 1


def test_of_versions_that_have_ended_only_the_last_are_told(bench: Bench) -> None:
    for number in range(1, 100):
        labels = NAMES._replace(version=number)
        bench.metrics.became(labels, "AVAILABLE")
        bench.metrics.answered(labels, 200, TRACE)
        if number > 1:
            bench.metrics.became(labels._replace(version=number - 1), "END")
    assert len(bench.metrics.versions) == ENDED_VERSIONS + 1
    assert list(bench.metrics._by_labels) == [NAMES._replace(version=99)]
    assert bench.value("txinfer_requests_total", **METHOD, status="200") == 99


def test_of_a_model_that_is_removed_no_version_is_told(bench: Bench) -> None:
    bench.metrics.became(NAMES, "AVAILABLE")
    bench.metrics.became(NAMES._replace(model="iris"), "AVAILABLE")
    bench.metrics.answered(NAMES, 200, TRACE)
    bench.metrics.became(NAMES, "END")
    bench.metrics.removed(NAMES.model)
    assert {model for model, _ in bench.metrics.versions} == {"iris"}
    assert bench.value("txinfer_requests_total", **METHOD, status="200") == 1


# The load


def test_what_waits_and_runs_is_told_by_method(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 200, TRACE)
    other = NAMES._replace(method="features")
    bench.load = load(
        depths={
            NAMES: Depth(queued_rows=3, queued_bytes=24, running_rows=2),
            NAMES._replace(version=4): Depth(queued_rows=1),
            other: Depth(running_rows=5),
        },
        running_since=(0.0, 1.0),
        shares=(0.5, 0.5),
        wait=1.5,
        costs={
            NAMES._replace(version=9): [Point(1, 1, 0.5, 3), Point(4, 3.5, 0.75, 9)],
            NAMES._replace(version=4): [Point(1, 1, 9.5, 3)],
        },
    )
    assert bench.value("txinfer_learned_run_seconds", **METHOD, rows="1") == 0.5
    assert bench.value("txinfer_learned_run_seconds", **METHOD, rows="4") == 0.75
    features = {"model": "digits", "method": "features"}
    assert bench.value("txinfer_queue_rows", **METHOD) == 4
    assert bench.value("txinfer_queue_bytes", **METHOD) == 24
    assert bench.value("txinfer_in_flight_rows", **METHOD) == 2
    assert bench.value("txinfer_in_flight_rows", **features) == 5
    assert bench.value("txinfer_predicted_wait_seconds") == 1.5
    assert bench.value("txinfer_session_slots") == 2
    assert bench.value("txinfer_session_slots_busy") == 2
    assert bench.value("txinfer_queue_limit_rows") == 100
    assert bench.value("txinfer_held_bytes") == 70
    bench.load = load()
    line = 'txinfer_queue_rows{method="names",model="digits"} 0.0'
    assert line in bench.text()


def test_what_the_door_holds_is_told_where_there_is_one(bench: Bench) -> None:
    assert not re.search(r"^txinfer_connections ", bench.text(), re.M)
    bench.metrics.door = Door(lambda: 3, lambda: 4000)
    assert bench.value("txinfer_connections") == 3
    assert bench.value("txinfer_body_bytes") == 4000


def test_what_is_in_flight_is_told_by_whoever_knows(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 200, TRACE)
    name = "txinfer_in_flight_requests"
    assert f'{name}{{method="names",model="digits"}} 0.0' in bench.text()
    bench.metrics.in_flight.append(lambda: {NAMES: 2, Labels(): 1})
    bench.metrics.in_flight.append(lambda: {NAMES._replace(version=4): 3})
    assert bench.value(name, **METHOD) == 5
    assert bench.value(name, model="", method="") == 1


def test_answers_to_what_is_no_call_have_no_duration(bench: Bench) -> None:
    bench.metrics.answered(Labels(), 404, None)
    told = bench.value("txinfer_requests_total", model="", method="", status="404")
    assert told == 1
    assert bench.value("txinfer_request_duration_seconds_count", **NONE) == 0


def test_without_a_model_there_is_no_load(bench: Bench) -> None:
    bench.load = None
    assert not re.search(r"^txinfer_(session_slots|saturation)", bench.text(), re.M)


def test_saturation_is_the_busy_share_of_the_slots(bench: Bench) -> None:
    bench.clock.advance(100)
    for _ in range(BUSY_SECONDS - 1):
        bench.clock.advance(1)
        bench.ran(seconds=0.5, share=0.5)
    saturation = bench.value("txinfer_saturation_ratio")
    assert saturation == pytest.approx(0.5 / 2, rel=0.1)
    bench.clock.advance(BUSY_SECONDS)
    assert bench.value("txinfer_saturation_ratio") == 0


def test_runs_under_way_saturate_too(bench: Bench) -> None:
    bench.clock.advance(1000)
    bench.load = load(running_since=(10.0,), shares=(0.5,))
    assert bench.value("txinfer_saturation_ratio") == 0.5
    bench.load = load(running_since=(10.0, 20.0), shares=(0.5, 0.5))
    assert bench.value("txinfer_saturation_ratio") == 1


def test_saturation_is_between_nothing_and_all(bench: Bench) -> None:
    assert bench.value("txinfer_saturation_ratio") == 0
    bench.clock.advance(3)
    bench.ran(seconds=1000)
    assert bench.value("txinfer_saturation_ratio") == 1


# The parts


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_as_its_bounds_say(values: list[float]) -> None:
    histogram = Histogram(SECONDS)
    half = len(values) // 2
    for value in values[:half]:
        histogram.add(value)
    histogram.add_all(np.array(values[half:], np.float64))
    below = 0
    for bound, count in zip(SECONDS, histogram.counts, strict=False):
        below += count
        assert below == sum(value <= bound for value in values)
    assert sum(histogram.counts) == len(values)
    assert math.isclose(histogram.sum, sum(values))


BOUND = st.sampled_from(SECONDS)
SPAN = st.just(0.0) | BOUND | st.floats(0, 100)
CALL = st.builds(
    Trace,
    decode_seconds=SPAN,
    fetch_seconds=SPAN,
    queued_seconds=SPAN,
    run_seconds=SPAN,
    encode_seconds=SPAN,
    runs=st.integers(0, 2),
)


@given(st.lists(CALL, max_size=9), st.sets(st.integers(0, 9)))
def test_calls_that_are_sorted_together_count_as_one_by_one(
    traces: list[Trace], looks: set[int]
) -> None:
    counts = MethodCounts()
    whole, phases = Histogram(SECONDS), {name: Histogram(SECONDS) for name in PHASES}
    for number, trace in enumerate(traces):
        if number in looks:
            assert sum(counts.whole.counts) == number
        counts.add_answer(200, trace)
        spans = {
            "decode": trace.decode_seconds,
            "fetch": trace.fetch_seconds,
            "queue": trace.queued_seconds,
            "run": trace.run_seconds,
            "encode": trace.encode_seconds,
        }
        whole.add(sum(spans.values()))
        always = ("decode", "queue", "run") if trace.runs else ("decode",)
        for name, seconds in spans.items():
            if name in always or (seconds and name in ("fetch", "encode")):
                phases[name].add(seconds)
    for name, one_by_one in [("", whole), *phases.items()]:
        together = counts.phases[name] if name else counts.whole
        assert together.counts == one_by_one.counts
        assert math.isclose(together.sum, one_by_one.sum)


@pytest.mark.parametrize("calls", [1, NOTED - 1, NOTED, NOTED + 1, 3 * NOTED])
def test_no_call_is_missed_whenever_somebody_looks(bench: Bench, calls: int) -> None:
    for _ in range(calls):
        bench.metrics.answered(NAMES, 200, TRACE)
    run = {**METHOD, "phase": "run"}
    for _ in range(2):
        assert bench.value("txinfer_phase_duration_seconds_count", **run) == calls
        assert bench.value("txinfer_request_duration_seconds_count", **METHOD) == calls


def test_only_so_many_calls_are_noted() -> None:
    counts = MethodCounts()
    for _ in range(3 * NOTED):
        counts.add_answer(200, TRACE)
        assert len(counts._noted) < NOTED * FIELDS


def test_a_call_counts_for_what_it_took_until_it_was_answered() -> None:
    counts, trace = MethodCounts(), Trace(decode_seconds=1)
    counts.add_answer(504, trace)
    trace.add_run(32, 2.0, 4.0, False)
    assert counts.whole.sum == 1
    assert not any(counts.phases["run"].counts)


def test_bounds_grow() -> None:
    for bounds in (SECONDS, ROWS):
        assert list(bounds) == sorted(set(bounds))


def test_a_window_forgets() -> None:
    window = Window(3, 10.5)
    for now in (10.5, 11.0, 11.5, 12.0):
        window.add(now, 1.0)
    assert window.total(12.9) == 4
    assert window.start(12.9) == 10.5
    assert window.total(13.0) == 3
    assert window.start(13.0) == 11
    assert window.total(15.0) == 0


def test_the_last_runs_are_kept_with_their_time(bench: Bench) -> None:
    for number in range(RECENT_RUNS + 5):
        bench.clock.advance(1)
        bench.ran(rows=number + 1)
    at, run = bench.metrics.recent[-1]
    assert (at, run.rows) == (RECENT_RUNS + 5, RECENT_RUNS + 5)
    assert len(bench.metrics.recent) == RECENT_RUNS


# What Prometheus makes of it


def test_a_metric_is_admitted_to_a_registry_once(bench: Bench) -> None:
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        bench.registry.register(Exposition(Metrics(Clock()), lambda: None))


def test_a_registrys_other_metrics_are_told_too(bench: Bench) -> None:
    Gauge("of_the_application", "Another.", registry=bench.registry).set(7)
    assert bench.value("of_the_application") == 7


def test_what_is_described_is_what_is_collected(bench: Bench) -> None:
    bench.metrics.answered(NAMES, 200, TRACE)
    exposition = Exposition(bench.metrics, lambda: load())
    described = [(m.name, m.type) for m in exposition.describe()]
    assert described == [(m.name, m.type) for m in exposition.collect()]
    assert len(described) == len({name for name, _ in described})


@pytest.mark.parametrize("family", [*HISTOGRAMS, *COUNTERS, *GAUGES])
def test_names_and_labels_follow_the_conventions(family: object) -> None:
    name, labels = family.name, family.labels  # type: ignore[attr-defined]
    assert re.fullmatch(r"txinfer(_[a-z]+)+", name)
    assert name.endswith("_total") == (family in COUNTERS)
    assert not re.search(r"_(milliseconds|ms|count|sum|bucket)$", name)
    assert set(labels) <= {
        *("model", "method", "version"),
        *("status", "phase", "outcome", "reason", "state", "rows"),
    }


def test_promtool_has_nothing_against_it(bench: Bench) -> None:
    promtool = needed("promtool", "prometheus")
    bench.metrics.answered(NAMES, 200, TRACE)
    bench.ran()
    bench.metrics.loaded(NAMES, 1, False)
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=bench.text(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
