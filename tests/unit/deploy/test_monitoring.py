"""The rules and the dashboard: every metric is exported, every alert is documented."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.support.series import series_names

CHECKOUT = Path(__file__).resolve().parents[3]
MONITORING = CHECKOUT / "deploy" / "monitoring"
RULES, RULES_TEST = (MONITORING / "rules.yml").read_text(), (MONITORING / "rules_test.yml").read_text()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
DOCUMENTATION = (CHECKOUT / "docs" / "monitoring.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)
NAME = re.compile(r"\bclipstack_[a-z_]+")


@pytest.mark.parametrize(
    "text", [RULES, RULES_TEST, json.dumps(DASHBOARD), DOCUMENTATION], ids=["rules", "tests", "dashboard", "docs"]
)
def test_named_metrics_are_exported(text: str) -> None:
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in series_names()}
    named = set(NAME.findall(text))
    assert named and named <= series_names() | families


def test_the_dashboard_shows_every_metric_of_the_table() -> None:
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in NAME.findall(json.dumps(DASHBOARD))}
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in series_names()}
    # Without a panel: metrics of every start, and duplicates of others
    unshown = {
        "clipstack_region_registrations_total",
        "clipstack_model_answers",
        "clipstack_model_precision",
        "clipstack_transport_in_use",
    }
    assert families - shown == unshown


def test_dashboard_is_valid_for_grafana() -> None:
    assert DASHBOARD["schemaVersion"] >= 39 and DASHBOARD["uid"] and "id" not in DASHBOARD
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in ("row", "stat", "timeseries", "heatmap") and panel["title"]
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            references = [target["refId"] for target in panel["targets"]]
            assert references and len(set(references)) == len(references)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_instructions(alert: str) -> None:
    assert f"| `{alert}` |" in DOCUMENTATION
