"""The doctor's table, JSON, exit codes and page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from app.settings import CHECKOUT
from deploy.doctor import pages, runner
from deploy.doctor import report as table
from deploy.doctor.check import Check, Finding, KnownIssue, ok
from deploy.doctor.checks.software import sandbox, versions
from deploy.doctor.context import Context, Skipped
from deploy.doctor.registry import CHECKS, ISSUES
from deploy.doctor.runner import CheckResult, run_checks
from tests.support.doctor import found, healthy

DOCS = CHECKOUT / "docs"
BENT = KnownIssue("bent", "it squeaks", "{part} is bent", "straighten {part}", verdict="warning")
SNAPPED = KnownIssue("snapped", "it is silent", "{part} has snapped", "replace {part}")


@pytest.fixture
def context() -> Iterator[Context]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder:  # a path of pytest's may be too long for sockets
        yield healthy(Path(folder))


def check(name: str, *findings: Finding | Exception, timeout_s: float = 10.0) -> Check:
    def look(context: Context):
        for finding in findings:
            if isinstance(finding, Exception):
                raise finding
            yield finding

    return Check(name, look, (BENT, SNAPPED), timeout_s)


def lines(reports: list[CheckResult], width: int = 60, all_lines: bool = True) -> list[str]:
    console = Console(width=width, color_system=None, file=open("/dev/null", "w"), record=True)  # noqa: SIM115
    with console.file:
        console.print(table.table(reports, 1.25, all_lines))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_failed_checks_show_their_fix(context) -> None:
    checks = [
        check("wheels", ok("round")),
        check("axle", SNAPPED.finding(part="the front axle"), BENT.finding(part="the rear axle")),
        check("horn", Skipped("no battery")),
        check("lamp", Skipped("no battery")),
    ]
    assert lines(run_checks(context, checks)) == [
        "✓  wheels       round",
        "✗  axle         the front axle has snapped",
        "                Fix: replace the front axle",
        "!               the rear axle is bent",
        "                Fix: straighten the rear axle",
        "·  not checked  no battery: horn, lamp",
        "",
        "1 problem, 1 ok, 2 not checked  (1.2 s)",
    ]


def test_quiet_hides_passed_checks(context) -> None:
    reports = run_checks(context, [check("wheels", ok("round"))])
    assert lines(reports, all_lines=False) == ["1 ok  (1.2 s)"]


@pytest.mark.parametrize(
    ("fault", "strict", "code"),
    [(None, True, 0), (BENT, False, 0), (BENT, True, 1), (SNAPPED, False, 2), (SNAPPED, True, 2)],
)
def test_exit_codes(context, fault: KnownIssue | None, strict: bool, code: int) -> None:
    finding = fault.finding(part="it") if fault else ok("well")
    assert table.exit_code(run_checks(context, [check("it", finding)]), strict) == code


def test_json_has_all_facts_of_the_table(context) -> None:
    reports = run_checks(context, [check("axle", BENT.finding(part="it")), check("horn", Skipped("no battery"))])
    body = json.loads(table.as_json(reports, 1.25))
    assert body["counts"] == {"ok": 0, "warning": 1, "wrong": 0, "not checked": 1}
    assert body["checks"][0] == {
        "check": "axle",
        "verdict": "warning",
        "findings": [{"verdict": "warning", "says": "it is bent", "mend": "straighten it", "fault": "bent"}],
    }


def test_hanging_check_does_not_block_others(context) -> None:
    end = threading.Event()

    def hang(context: Context):
        end.wait(30)
        yield ok("late")

    checks = [Check("slow", hang, (), 0.2), check("ill", ValueError("oh")), check("well", ok("well"))]
    reports = run_checks(context, checks)
    end.set()
    assert [report.findings[0].issue for report in reports] == [runner.TIMED_OUT.name, runner.FAILED.name, ""]
    assert "ValueError: oh" in reports[1].findings[0].message


def test_checks_of_parts_missing_in_the_image_are_skipped(context) -> None:
    (context.checkout / "deploy" / "setup").unlink()
    (report,) = run_checks(context, [check("it", ModuleNotFoundError("no", name="app.shm.pool"))])
    assert (report.verdict, report.findings[0].message) == ("not checked", "app.shm.pool is not in this container")


def test_all_of_it_ends_within_twenty_seconds() -> None:
    assert max(check.timeout_s for check in CHECKS) < 20


def test_stopped_healthy_stack_has_no_issues(context) -> None:
    skipped = ("parent folders", "packages", "torchvision")  # of the real checkout
    checks = [item for item in CHECKS if item.name not in skipped]
    assert found(context, checks) <= {
        sandbox.LAYER_MISSING.name,
        versions.NGINX_VULNERABLE.name,
    }  # findings of this machine


def test_names_are_different() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len({fault.name for fault in ISSUES}) == len(ISSUES)


def test_client_without_the_service_names_the_doctor(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "client" / "clipstack_client", tmp_path / "clipstack_client")
    path = f"{tmp_path}:{sysconfig.get_path('purelib')}"
    words = [sys.executable, "-S", "-c", "from clipstack_client.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "the service is not installed here" in done.stderr) == (1, True), done.stderr


def test_page_has_the_texts_of_the_checks() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    assert page.endswith(pages.tables() + "\n")
