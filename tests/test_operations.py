"""The paths for operators, whatever the models do."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from tests.web_client import Answer, WebClient
from txinfer.cost import Point
from txinfer.guard import Guard
from txinfer.interfaces import IStatus
from txinfer.keys import parse_keys
from txinfer.limits import ClientLimits
from txinfer.observe import Amount, Depth, Labels, Load, Run
from txinfer.operations import FIGURES, HEALTH, Operations
from txinfer.trace import Trace
from txinfer.web import CORS_HEADERS, PREFLIGHT_HEADERS, ErrorResource, Root

NAMES = Labels("digits", 3, "names")


@implementer(IStatus)
@attrs.define(eq=False)
class Status:
    """A service that is said to be as it is set."""

    now: Load | None = None
    reasons: list[str] = attrs.field(factory=list)

    def load(self) -> Load | None:
        return self.now

    def unready(self) -> list[str]:
        return self.reasons


class Bench:
    """The paths beside an API that answers 418, under a guard if told so."""

    def __init__(self, guard: Guard | None = None) -> None:
        self.status = Status()
        self.clock = Clock()
        self.operations = Operations(self.status, self.clock)
        self.operations.begin()
        api = ErrorResource(418, "the api")
        root = Root(api, CORS_HEADERS, PREFLIGHT_HEADERS, guard, private=FIGURES)
        self.operations.mount_health(root)
        self.operations.mount_figures(root)
        self.root = root
        self.web = WebClient(root)

    def get(self, path: str, verb: str = "GET", **headers: str) -> Answer:
        fields = {name.replace("_", "-"): text for name, text in headers.items()}
        connection = self.web.begin(verb, path, None, fields)
        self.clock.advance(0)
        return connection.answer(verb)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def load(**changes: Any) -> Load:
    whole = {"slots": 1, "lost": 0, "running_since": (), "depths": {}, "wait": 0.0}
    return Load(**{**whole, **changes}, held=Amount(0, 0), most=Amount(9, 99))


# Health


def test_who_answers_is_alive(bench: Bench) -> None:
    bench.status.reasons = ["the model is still loading"]
    answer = bench.get("/healthz")
    assert (answer.status, answer.value) == (200, {"alive": True})


def test_ready_is_who_has_no_reason_not_to_be(bench: Bench) -> None:
    answer = bench.get("/readyz")
    assert (answer.status, answer.value) == (200, {"ready": True, "reasons": []})
    bench.status.reasons = ["the model is still loading"]
    answer = bench.get("/readyz")
    assert answer.status == 503
    assert answer.value == {"ready": False, "reasons": ["the model is still loading"]}


def test_health_is_everybody_s_to_ask_for() -> None:
    limits = ClientLimits(rate_limit=1, rate_burst=1)
    keys = parse_keys("a-key-of-16-chars")
    bench = Bench(Guard(Clock(), keys, limits, HEALTH, FIGURES))
    for _ in range(5):
        assert bench.get("/healthz").status == 200
        assert bench.get("/readyz").status == 200
    for path in ("/metrics", "/stats", "/monitoring/prometheus/metrics"):
        assert bench.get(path).status == 401
        for _ in range(3):
            assert bench.get(path, X_API_Key="a-key-of-16-chars").status == 200


# Metrics


@pytest.mark.parametrize("path", ["/metrics", "/monitoring/prometheus/metrics"])
def test_metrics_are_where_scrapers_look(bench: Bench, path: str) -> None:
    bench.operations.metrics.answered(NAMES, 200, Trace())
    answer = bench.get(path)
    assert answer.status == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {f.name for f in text_string_to_metric_families(answer.body.decode())}
    assert {"txinfer_requests", "txinfer_model_state"} <= families


def test_a_scrape_lets_others_be_served_meanwhile(bench: Bench) -> None:
    connection = bench.web.begin("GET", "/metrics")
    assert connection.received == b""
    assert bench.get("/healthz").status == 200
    assert connection.answer("GET").status == 200


def test_a_scraper_that_hangs_up_harms_nobody(bench: Bench) -> None:
    bench.web.begin("GET", "/metrics").hang_up()
    bench.clock.advance(0)
    assert bench.get("/metrics").status == 200


def test_a_registry_has_the_metrics_while_the_service_runs() -> None:
    registry = CollectorRegistry()
    first, second = (Operations(Status(), Clock(), registry) for _ in range(2))
    first.begin()
    first.begin()
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        second.begin()
    first.end()
    assert list(registry.collect()) == []
    second.begin()
    first.end()
    assert len(list(registry.collect())) > 10


PREFLIGHT = {"Access_Control_Request_Method": "GET", "Origin": "https://a.example"}


def open_headers(answer: Answer) -> list[str]:
    """The headers of an answer that let pages of other origins read it."""
    wanted = ("access-control-", "timing-allow-")
    return [name for name in answer.headers if name.lower().startswith(wanted)]


@pytest.mark.parametrize(
    "path", ["/metrics", "/stats", "/monitoring/prometheus/metrics", "/metrics/x"]
)
def test_pages_of_other_origins_do_not_read_figures(bench: Bench, path: str) -> None:
    for verb in ("GET", "HEAD", "POST"):
        assert open_headers(bench.get(path, verb, Origin="https://a.example")) == []
    preflight = bench.get(path, "OPTIONS", **PREFLIGHT)
    assert (preflight.status // 100, open_headers(preflight)) == (4, [])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metric", "/names"])
def test_pages_of_other_origins_read_everything_else(bench: Bench, path: str) -> None:
    assert len(open_headers(bench.get(path))) == len(CORS_HEADERS)
    assert bench.get(path, "OPTIONS", **PREFLIGHT).status == 204


def test_pages_do_not_read_figures_under_any_site(bench: Bench) -> None:
    mounted: Any = Resource()
    mounted.putChild(b"api", bench.root)
    web = WebClient(mounted, Site(mounted, reactor=bench.clock))
    assert open_headers(web.get("/api/stats")) == []
    assert open_headers(web.get("/api/healthz"))


# Statistics


def test_statistics_show_the_last_batches(bench: Bench) -> None:
    bench.clock.advance(100)
    told = bench.operations.metrics
    told.ran(Run(NAMES, rows=3, calls=2, waited=0.25, seconds=0.5))
    bench.clock.advance(1)
    told.ran(Run(NAMES, 1, 1, 0.0, 0.125, failed=True, rerun=True))
    bench.status.now = load(
        running_since=(100.5,),
        shares=(1.0,),
        depths={NAMES: Depth(queued_rows=4, queued_bytes=16, running_rows=2)},
        wait=1.25,
        costs={NAMES: [Point(4, 3.5, 0.5, 9)]},
        at_once={NAMES: {2: 12.25, 1: 7.0}},
    )
    assert bench.get("/stats").value == {
        "now": 101,
        "slots": {"all": 1, "lost": 0, "running_ms": [500.0]},
        "saturation": 0.0804,
        "predicted_wait_ms": 1250.0,
        "queue": [
            {
                **NAMES._asdict(),
                "rows": 4,
                "bytes": 16,
                "running_rows": 2,
            }
        ],
        "costs": [
            {
                **NAMES._asdict(),
                "sizes": [
                    {"rows": 3.5, "run_ms": 500.0, "rows_per_second": 7.0, "runs": 9}
                ],
                "at_once": [
                    {"runs": 1, "rows_per_second": 7.0},
                    {"runs": 2, "rows_per_second": 12.25},
                ],
            }
        ],
        "batches": [
            {
                **NAMES._asdict(),
                "at": 101,
                "rows": 1,
                "callers": 1,
                "waited_ms": 0.0,
                "run_ms": 125.0,
                "failed": True,
                "isolation": True,
            },
            {
                **NAMES._asdict(),
                "at": 100,
                "rows": 3,
                "callers": 2,
                "waited_ms": 250.0,
                "run_ms": 500.0,
                "failed": False,
                "isolation": False,
            },
        ],
    }


def test_statistics_are_there_without_a_model(bench: Bench) -> None:
    assert bench.get("/stats").value == {"now": 0, "batches": []}


# All of them


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/stats"])
def test_they_are_only_read(bench: Bench, path: str) -> None:
    answer = bench.get(path, "POST")
    assert (answer.status, answer["Allow"]) == (405, "GET, HEAD")
    assert answer.error == "method not allowed"
    head = bench.get(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head["Content-Length"] == bench.get(path)["Content-Length"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/stats"])
def test_they_are_not_to_be_stored(bench: Bench, path: str) -> None:
    assert bench.get(path)["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        *("/healthz/", "/healthz/x", "/metrics/x", "/stats/"),
        *("/monitoring", "/monitoring/", "/monitoring/x", "/monitoring/prometheus"),
        "/monitoring/prometheus/metrics/x",
    ],
)
def test_there_is_nothing_below_or_between_them(bench: Bench, path: str) -> None:
    answer = bench.get(path)
    assert (answer.status, answer.error) == (404, "not found")


def test_other_paths_are_the_apis(bench: Bench) -> None:
    for path in ("/", "/healthzz", "/Healthz", "//healthz"):
        assert bench.get(path).status == 418


def test_their_names_are_told(bench: Bench) -> None:
    health, figures = Resource(), Resource()
    bench.operations.mount_health(health)
    assert set(health.children) == HEALTH
    bench.operations.mount_figures(figures)
    assert set(figures.children) == FIGURES


def test_they_are_json_under_any_site() -> None:
    bench = Bench()
    mounted: Any = Resource()
    root = Root(ErrorResource(418, "the api"))
    bench.operations.mount_health(root)
    mounted.putChild(b"api", root)
    web = WebClient(mounted, Site(mounted, reactor=bench.clock))
    answer = web.get("/api/readyz")
    assert json.loads(answer.body)["ready"]
    assert answer["X-Request-Id"]
