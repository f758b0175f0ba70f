"""What is in examples/monitoring uses metrics that there are, in valid files."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from tests.processes import PATIENCE, ROOT, needed
from txinfer.exposition import Exposition, process_registry, text
from txinfer.families import COUNTERS, GAUGES, HISTOGRAMS
from txinfer.metrics import Metrics

EXAMPLES = ROOT / "examples"
MONITORING = EXAMPLES / "monitoring"

# What Prometheus itself says of a target.
OF_PROMETHEUS = {"up": {"job", "instance"}}

# Labels that a scrape adds, or a query's own.
ADDED = {"job", "instance", "namespace", "pod", "le"}

# Grafana's variables, with something that PromQL can read in their place.
VARIABLES = {"$__rate_interval": "1m"}


def loaded(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def dashboard() -> dict[str, Any]:
    value = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    assert isinstance(value, dict)
    return value


# Expressions


def of_alerts() -> Iterator[tuple[str, str]]:
    [rules] = loaded(MONITORING / "alerts.yml")
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def of_panels() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


def of_scaling() -> Iterator[tuple[str, str]]:
    [keda] = loaded(MONITORING / "keda.yaml")
    for trigger in keda["spec"]["triggers"]:
        yield "keda", trigger["metadata"]["query"]
    [hpa] = loaded(MONITORING / "hpa.yaml")
    for metric in hpa["spec"]["metrics"]:
        yield "hpa", metric["pods"]["metric"]["name"]


EXPRESSIONS = [*of_alerts(), *of_panels(), *of_scaling()]


def readable(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$(\w+)", r"\1", expression)


def known() -> dict[str, set[str]]:
    """Every series that there may be, with its labels."""
    series: dict[str, set[str]] = {}
    for family in HISTOGRAMS:
        for part in ("bucket", "sum", "count"):
            series[f"{family.name}_{part}"] = set(family.labels)
    for simple in (*COUNTERS, *GAUGES):
        series[simple.name] = set(simple.labels)
    told = b"".join(text(process_registry())).decode()
    for name in re.findall(r"^(\w+)[{ ]", told, re.M):
        series.setdefault(name, {"generation"})
    return {**series, **OF_PROMETHEUS}


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The name and the labels of each selector of an expression."""

    def walk(node: Any) -> Iterator[Any]:
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
            child = getattr(node, name, None)
            if child is not None:
                yield from walk(child)
        for child in getattr(node, "args", None) or ():
            yield from walk(child)

    for selector in walk(promql_parser.parse(readable(expression))):
        yield selector.name, {matcher.name for matcher in selector.matchers.matchers}


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_every_expression_asks_for_metrics_that_there_are(
    place: str, expression: str
) -> None:
    found = list(selectors(expression))
    assert found, place
    for name, labels in found:
        assert name in known(), place
        assert labels <= known()[name] | ADDED, place


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_every_expression_groups_by_labels_that_there_are(
    place: str, expression: str
) -> None:
    labels = set().union(*(known()[name] for name, _ in selectors(expression)))
    for group in re.findall(r"\b(?:by|ignoring|on) ?\(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", group)) <= labels | ADDED, place


def test_expressions_with_a_mistake_are_found_out() -> None:
    found = dict(selectors('rate(txinfer_requests_totl{methid="a"}[5m])'))
    assert found == {"txinfer_requests_totl": {"methid"}}
    assert found.keys().isdisjoint(known())


def test_most_metrics_are_shown() -> None:
    shown = {name for _, expression in of_panels() for name, _ in selectors(expression)}
    ours = {name for name in known() if name.startswith("txinfer_")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    missing = {f for f in families if not any(name.startswith(f) for name in shown)}
    assert missing == set()


# Files


def test_the_dashboard_has_nothing_that_grafana_does_not_know() -> None:
    written = json.dumps(Dashboard.from_json(dashboard()), cls=JSONEncoder)
    assert_within(dashboard(), json.loads(written))


def assert_within(part: Any, whole: Any) -> None:
    """All that is in one JSON value is in another, which may have more."""
    if isinstance(part, dict):
        assert part.keys() <= whole.keys()
        for key, value in part.items():
            assert_within(value, whole[key])
    elif isinstance(part, list):
        assert len(part) == len(whole)
        for item, other in zip(part, whole, strict=True):
            assert_within(item, other)
    else:
        assert part == whole


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard()["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (("check", "config"), "prometheus.yml"),
        (("check", "rules"), "alerts.yml"),
        (("test", "rules"), "alerts_test.yml"),
    ],
)
def test_promtool_has_nothing_against_it(check: tuple[str, str], name: str) -> None:
    done = subprocess.run(
        [needed("promtool", "prometheus"), *check, name],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alert_is_tried() -> None:
    [tests] = loaded(MONITORING / "alerts_test.yml")
    rung = {
        case["alertname"]
        for test in tests["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert rung == {name for name, _ in of_alerts()}


@pytest.mark.parametrize("name", ["deploy/kubernetes.yaml", "monitoring/hpa.yaml"])
def test_kubernetes_takes_it(name: str) -> None:
    for document in loaded(EXAMPLES / name):
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_what_scales_is_what_is_deployed() -> None:
    deployment, service = loaded(EXAMPLES / "deploy" / "kubernetes.yaml")
    [hpa] = loaded(MONITORING / "hpa.yaml")
    [keda] = loaded(MONITORING / "keda.yaml")
    name = deployment["metadata"]["name"]
    assert hpa["spec"]["scaleTargetRef"]["name"] == name
    assert keda["spec"]["scaleTargetRef"]["name"] == name
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    [container] = pod["spec"]["containers"]
    probes = {
        container[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {"/healthz", "/readyz"}


def test_the_adapter_finds_the_metrics_that_pods_are_scaled_by() -> None:
    [values] = loaded(MONITORING / "prometheus-adapter.yaml")
    [rule] = values["rules"]["custom"]
    [pattern] = re.findall(r'__name__=~"([^"]*)"', rule["seriesQuery"])
    names = [name for place, name in of_scaling() if place == "hpa"]
    assert names
    assert all(re.fullmatch(pattern, name) for name in names)
    of = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
    of = of.replace("<<.Series>>", names[0]).replace("<<.LabelMatchers>>", 'pod="a"')
    assert list(selectors(of)) == [(names[0], {"pod"})]


def test_metrics_that_are_scaled_by_are_exposed_without_a_call() -> None:
    from tests.test_metrics import load

    registry = CollectorRegistry()
    registry.register(Exposition(Metrics(Clock()), load))
    for place, name in of_scaling():
        if place == "hpa":
            assert registry.get_sample_value(name) == 0
