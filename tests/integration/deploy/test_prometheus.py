"""promtool accepts the rules and the dashboard's queries, and each rule fires when it should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MONITORING = Path(__file__).resolve().parents[3] / "deploy" / "monitoring"
RULES, RULES_TEST = (MONITORING / "rules.yml").read_text(), (MONITORING / "rules_test.yml").read_text()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
ALERTS = re.findall(r"- alert: (\w+)", RULES)
# Grafana's variables, as values of PromQL
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def promtool(*words: str) -> str:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian's package prometheus; deploy/setup test)")
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, cwd=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expressions() -> list[str]:
    """Return the queries of the dashboard's panels."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    for variable, value in VARIABLES.items():
        queries = [expression.replace(variable, value) for expression in queries]
    return queries


def test_prometheus_accepts_configuration_and_rules() -> None:
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "rules.yml")


def test_every_rule_fires_only_when_it_should() -> None:
    assert ALERTS and all(f'alertname="{name}"' in RULES_TEST for name in ALERTS)
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml")


def test_rule_tests_detect_a_silent_rule(tmp_path: Path) -> None:
    (tmp_path / "rules_test.yml").write_text(RULES_TEST)
    (tmp_path / "rules.yml").write_text(RULES.replace("clipstack_triton_answers == 0", "clipstack_triton_answers == 2"))
    promtool("check", "rules", str(tmp_path / "rules.yml"))
    with pytest.raises(AssertionError, match="ClipstackTritonDown"):
        promtool("test", "rules", str(tmp_path / "rules_test.yml"))


def test_prometheus_accepts_the_dashboard_queries(tmp_path: Path) -> None:
    records = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    assert f"{len(records)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yml"))
