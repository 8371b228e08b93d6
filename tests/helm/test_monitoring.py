"""Alerts and dashboards speak of series, labels and values that the programs export."""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from headway_router.metric_table import TABLE, Kind, Row
from helm_cli import CHART, Helm

TARGET = {"namespace", "pod"}
"""Labels that Prometheus adds to all series of a pod."""
ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
RUNBOOK = CHART.parents[1] / "docs" / "runbook.md"


def series() -> Iterator[tuple[str, Row]]:
    for row in TABLE:
        parts = ("_bucket", "_sum", "_count") if row.kind is Kind.HISTOGRAM else ("",)
        yield from ((row.name + part, row) for part in parts)


SERIES = dict(series())


def rules() -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def panels(path: Path) -> list[dict[str, Any]]:
    board = json.loads(path.read_text())
    found: list[dict[str, Any]] = board["panels"]
    return found


def problems(expression: str) -> list[str]:
    """What of it nothing exports."""
    found: list[str] = []
    text = expression.replace("$__rate_interval", "5m")
    labels = TARGET | {label for name in SERIES if name in text for label in SERIES[name].labels}
    if "_bucket" in text:
        labels.add("le")

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.extend(_of_selector(node))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.extend(f"by {one}" for one in set(node.modifier.labels) - labels)
        return True

    promql_parser.walk(promql_parser.parse(text), look)
    return found


def _of_selector(selector: Any) -> Iterator[str]:
    row = SERIES.get(selector.name)
    if row is None:
        yield f"no series {selector.name}"
        return
    for matcher in selector.matchers.matchers:
        values = row.labels.get(matcher.name)
        if values is None:
            if matcher.name not in TARGET:
                yield f"{selector.name} has no label {matcher.name}"
        elif isinstance(values, type) and issubclass(values, StrEnum):
            asked = set(matcher.value.split("|"))
            yield from (f"{matcher.name} is never {value}" for value in asked - set(values))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("headway_nothing", "no series headway_nothing"),
        ("rate(headway_requests_total{outcom='shed'}[5m])", "no label outcom"),
        ("headway_endpoints{state=~'ready|tired'}", "state is never tired"),
        ("sum by (reason) (headway_endpoints)", "by reason"),
        ("sum by (le) (headway_ttft_seconds)", "no series headway_ttft_seconds"),
    ],
)
def test_what_nothing_exports_is_found(expression: str, problem: str) -> None:
    assert any(problem in found for found in problems(expression))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_is_about_what_exists(rule: dict[str, Any]) -> None:
    assert problems(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    kept = set(re.findall(r"by \(([\w, ]+)\)", rule["expr"])[:1])
    assert named <= {label.strip() for labels in kept for label in labels.split(",")}


def test_every_alert_has_its_entry_in_the_runbook_and_no_other_has() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert re.findall(r"^## (Headway\w+)$", RUNBOOK.read_text(), re.MULTILINE) == names


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_shows_what_exists(path: Path) -> None:
    assert panels(path)
    for panel in panels(path):
        for target in panel["targets"]:
            assert problems(target["expr"]) == [], panel["title"]
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = {
                label.strip()
                for labels in re.findall(r"by \(([\w, ]+)\)", target["expr"])
                for label in labels.split(",")
            }
            assert named <= kept, panel["title"]


def test_every_series_but_those_of_no_time_is_on_a_dashboard() -> None:
    shown = "".join(path.read_text() for path in DASHBOARDS)
    assert [row.name for row in TABLE if row.name not in shown] == []


def test_a_dashboard_is_told_from_others() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({b["title"] for b in boards}) == 3
    for board in boards:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_chart_ships_them(helm: Helm) -> None:
    on = {name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboards")}
    objects = helm.objects({"monitoring": on})
    [shipped] = [o for o in objects if o["kind"] == "PrometheusRule"]
    for ours, theirs in zip(rules(), _rules_of(shipped), strict=True):
        url = f"docs/runbook.md#{ours['alert'].lower()}"
        assert theirs["annotations"] == {**ours["annotations"], "runbook_url": url}
        assert theirs["expr"] == ours["expr"]
    [boards] = [
        o
        for o in objects
        if o["kind"] == "ConfigMap" and "grafana_dashboard" in o["metadata"]["labels"]
    ]
    assert boards["data"] == {path.name: path.read_text() for path in DASHBOARDS}


def _rules_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in manifest["spec"]["groups"] for rule in group["rules"]]
