"""The dashboard and the alert rules ask for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cascade.telemetry.measures import METRICS, Metric

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"][
    0
]["rules"]

SELECTED = re.compile(r"(?P<series>cascade_\w+)(?:\{(?P<selector>[^}]*)\})?")
MATCHER = re.compile(r'(?P<label>\w+)(?P<operator>=~|!~|!=|=)"(?P<value>[^"]*)"')
GROUPED = re.compile(r"by \((?P<labels>[^)]*)\)")
SHOWN = re.compile(r"\{\{ ?(?:\$labels\.)?(?P<label>\w+) ?\}\}")
# The values that labels of few values have.
VALUES = {
    "accepted": {"true", "false"},
    "escalated": {"true", "false"},
    "nested": {"true", "false"},
    "reason": {"accepted"},
    "status": {"passed", "failed", "abstained"},
}


def targets() -> list[tuple[str, str, str]]:
    """Each query of the dashboard: the panel, the query, what its lines are called."""
    return [
        (f"{panel['title']} {target['refId']}", target["expr"], target["legendFormat"])
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


QUERIES = [(title, expr) for title, expr, _ in targets()] + [
    (rule["alert"], rule["expr"]) for rule in RULES
]


def series_names(metric: Metric) -> set[str]:
    """The names that a metric's series have in Prometheus."""
    name = metric.prometheus_name
    if metric.kind == "histogram":
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {f"{name}_total"} if metric.kind == "counter" else {name}


SERIES = {name: metric for metric in METRICS for name in series_names(metric)}


def labels_of(series: str) -> set[str]:
    return {*SERIES[series].labels, *({"le"} if series.endswith("_bucket") else ())}


def selections(expr: str) -> Iterator[tuple[str, str, str, str]]:
    """Each matcher of a query: the series, the label, the operator, the value."""
    for found in SELECTED.finditer(expr):
        for matcher in MATCHER.finditer(found["selector"] or ""):
            yield found["series"], matcher["label"], matcher["operator"], matcher["value"]


def groupings(expr: str) -> set[str]:
    return {one.strip() for found in GROUPED.finditer(expr) for one in found["labels"].split(",")}


@pytest.mark.parametrize("expr", dict(QUERIES).values(), ids=dict(QUERIES).keys())
def test_a_query_names_what_there_is(expr: str) -> None:
    named = [found["series"] for found in SELECTED.finditer(expr)]
    assert named
    assert set(named) <= SERIES.keys()
    for series, label, operator, value in selections(expr):
        assert label in labels_of(series)
        if operator == "=":
            assert value in VALUES[label]
    for series in named:
        assert groupings(expr) <= labels_of(series)
    assert expr.count("(") == expr.count(")")


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {found["series"] for _, expr, _ in targets() for found in SELECTED.finditer(expr)}
    assert {SERIES[series] for series in shown} == set(METRICS)


def test_lines_are_called_by_labels_they_have() -> None:
    for _, expr, legend in targets():
        assert {found["label"] for found in SHOWN.finditer(legend)} <= groupings(expr)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_tells_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    words = " ".join(rule["annotations"].values())
    used = {found["label"] for found in SHOWN.finditer(words)}
    assert used <= groupings(rule["expr"])
    for series in re.findall(r"cascade_\w+", words):
        assert series in SERIES or any(series == m.prometheus_name for m in METRICS)


def test_panels_have_names_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_the_dashboard_asks_for_variables_it_has() -> None:
    has = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    built_in = {"__range", "__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= has | built_in
    for variable in DASHBOARD["templating"]["list"][1:]:
        series, label = re.fullmatch(
            r"label_values\((\w+), (\w+)\)", variable["definition"]
        ).groups()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
        assert label in labels_of(series)


def test_the_page_lists_the_metrics_as_they_are() -> None:
    page = (FOLDER.parent / "telemetry.md").read_text("utf-8")
    rows = re.findall(r"^\| `(cascade\.[\w.]+)` \| (\w+)[^|]*\| ([^|]*)\|$", page, re.MULTILINE)
    listed = [(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    assert listed == [(metric.name, metric.kind, metric.labels) for metric in METRICS]
