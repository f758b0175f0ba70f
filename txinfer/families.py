"""Every metric that is exposed: its name, what it means, where its values are.

Names follow https://prometheus.io/docs/practices/naming/: base units, and
``_total`` for what only grows. The label ``method`` is the name of a signature;
``model`` and ``method`` are empty for requests that never got to one.
"""

from __future__ import annotations

from typing import NamedTuple

from . import readings
from .counts import Histogram
from .readings import Reading, number, of_depth, of_load, of_method, of_methods


class Family(NamedTuple):
    """A metric of one value for each combination of its labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Reading[float]


class HistogramFamily(NamedTuple):
    """A metric of one histogram for each combination of its labels."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Reading[Histogram]


METHOD = ("model", "method")
MODEL = ("model", "outcome")
VERSION = ("model", "version")

HISTOGRAMS = (
    HistogramFamily(
        "txinfer_request_duration_seconds",
        "Seconds from decoding a call to encoding its answer.",
        METHOD,
        of_method(lambda counts: counts.whole),
    ),
    HistogramFamily(
        "txinfer_phase_duration_seconds",
        "Seconds that a call spent in a phase: decode, fetch, queue, run or encode.",
        (*METHOD, "phase"),
        of_methods(readings.phases),
    ),
    HistogramFamily(
        "txinfer_run_duration_seconds",
        "Seconds that a run of the model took.",
        METHOD,
        of_method(lambda counts: counts.runs),
    ),
    HistogramFamily(
        "txinfer_batch_rows",
        "Rows that a run of the model had.",
        METHOD,
        of_method(lambda counts: counts.rows),
    ),
    HistogramFamily(
        "txinfer_fetch_duration_seconds",
        "Seconds that the fetch of a URL input took.",
        (),
        number(lambda metrics: metrics.fetch_seconds),
    ),
)

COUNTERS = (
    Family(
        "txinfer_requests_total",
        "Answers, by HTTP status; 499 if the client hung up before.",
        (*METHOD, "status"),
        of_methods(readings.statuses),
    ),
    Family(
        "txinfer_runs_total",
        "Runs of the model, by whether they gave outputs.",
        (*METHOD, "outcome"),
        of_methods(readings.runs),
    ),
    Family(
        "txinfer_isolation_reruns_total",
        "Runs made to find out whose rows made a run before them fail.",
        METHOD,
        of_method(lambda counts: counts.reruns),
    ),
    Family(
        "txinfer_sheds_total",
        "Calls refused although nothing was wrong with them, by reason.",
        (*METHOD, "reason"),
        of_methods(readings.sheds),
    ),
    Family(
        "txinfer_cancelled_total",
        "Calls given up by their callers before they were answered.",
        METHOD,
        of_method(lambda counts: counts.cancelled),
    ),
    Family(
        "txinfer_expired_total",
        "Calls whose deadline passed while they were read, waited or ran.",
        METHOD,
        of_method(lambda counts: counts.expired),
    ),
    Family(
        "txinfer_fetches_total",
        "Fetches of URL inputs, by outcome.",
        ("outcome",),
        readings.fetches,
    ),
    Family(
        "txinfer_fetched_bytes_total",
        "Bytes of URL inputs that were read.",
        (),
        number(lambda metrics: metrics.fetched_bytes),
    ),
    Family(
        "txinfer_model_loads_total",
        "Versions of a model that were loaded, or could not be.",
        MODEL,
        readings.of_outcomes(lambda counts: counts.loads),
    ),
    Family(
        "txinfer_model_warmups_total",
        "Warm-ups of a model, by whether they succeeded.",
        MODEL,
        readings.of_outcomes(lambda counts: counts.warm_ups),
    ),
    Family(
        "txinfer_session_busy_seconds_total",
        "Seconds that runs have taken, of all session slots together.",
        (),
        number(lambda metrics: metrics.busy_seconds),
    ),
)

GAUGES = (
    Family(
        "txinfer_model_load_duration_seconds",
        "Seconds that it took to load a version of a model.",
        VERSION,
        readings.of_version(lambda version: version.load_seconds),
    ),
    Family(
        "txinfer_model_warmup_duration_seconds",
        "Seconds that it took to warm up a version of a model.",
        VERSION,
        readings.of_version(lambda version: version.warm_seconds),
    ),
    Family(
        "txinfer_model_state",
        "1 for the state that a version of a model is in, else 0.",
        (*VERSION, "state"),
        readings.states,
    ),
    Family(
        "txinfer_learned_run_seconds",
        "Seconds that a run of up to so many rows is known to take.",
        (*METHOD, "rows"),
        readings.learned,
    ),
    Family(
        "txinfer_connections",
        "Connections of clients.",
        (),
        readings.of_door(lambda door: door.connections()),
    ),
    Family(
        "txinfer_body_bytes",
        "Bytes of request bodies in memory.",
        (),
        readings.of_door(lambda door: door.body_bytes()),
    ),
    Family(
        "txinfer_queue_rows",
        "Rows that wait for a session slot.",
        METHOD,
        of_depth(lambda depth: depth.queued_rows),
    ),
    Family(
        "txinfer_queue_bytes",
        "Bytes of tensors that wait for a session slot.",
        METHOD,
        of_depth(lambda depth: depth.queued_bytes),
    ),
    Family(
        "txinfer_in_flight_requests",
        "Requests that have begun and are not answered.",
        METHOD,
        readings.in_flight,
    ),
    Family(
        "txinfer_in_flight_rows",
        "Rows in runs that are under way.",
        METHOD,
        of_depth(lambda depth: depth.running_rows),
    ),
    Family(
        "txinfer_queue_limit_rows",
        "Rows that may wait and run.",
        (),
        of_load(lambda load: load.most.rows),
    ),
    Family(
        "txinfer_queue_limit_bytes",
        "Bytes that may be held.",
        (),
        of_load(lambda load: load.most.size),
    ),
    Family(
        "txinfer_held_bytes",
        "Bytes held: bodies, tensors, and answers that are not sent.",
        (),
        of_load(lambda load: load.held.size),
    ),
    Family(
        "txinfer_session_slots",
        "Runs that can be under way at once.",
        (),
        of_load(lambda load: load.slots),
    ),
    Family(
        "txinfer_session_slots_busy",
        "Runs that are under way.",
        (),
        of_load(lambda load: len(load.running_since)),
    ),
    Family(
        "txinfer_session_slots_lost",
        "Session slots held by runs that are not expected to come back.",
        (),
        of_load(lambda load: load.lost),
    ),
    Family(
        "txinfer_saturation_ratio",
        "How busy the session was in the last 15 seconds, 0 to 1.",
        (),
        readings.saturation,
    ),
    Family(
        "txinfer_predicted_wait_seconds",
        "Seconds in which a call that came now is expected to begin to run.",
        (),
        of_load(lambda load: load.wait),
    ),
)
