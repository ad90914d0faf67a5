"""bench/gpu/first_run.py: its limits, its results on disk, and the steps that need no GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.settings import CHECKOUT
from bench.gpu import first_run
from bench.gpu.first import ipc
from bench.gpu.first.report import Report
from bench.gpu.first_run import CALLS, Call, Step
from tests.support.cuda_driver import fake_library


def results(output: Path, call: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / f"{call}.json").read_text())
    return content


def test_steps_fit_into_their_calls() -> None:
    assert sum(call.limit_s for call in CALLS.values()) == 600
    assert all(step.limit_s < call.limit_s for call in CALLS.values() for step in call.steps)


def test_every_step_has_its_module() -> None:
    names = {step.name for call in CALLS.values() for step in call.steps}
    assert all((CHECKOUT / "bench" / "gpu" / "first" / f"{name}.py").is_file() for name in names)


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results, whose steps are shell commands."""
    commands = {"good": 'echo \'{"a": 1}\' > "$1"', "bad": "exit 3", "slow": "echo '{}' > \"$1\"; sleep 60 & sleep 60"}
    script = tmp_path / "step"
    script.write_text(
        '#!/bin/sh\nname=$(echo "$@" | sed \'s/.*--step \\([a-z]*\\).*/\\1/\')\nset -- "$4"\ncase $name in\n'
        + "".join(f"{name}) {command} ;;\n" for name, command in commands.items())
        + "esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(first_run.sys, "executable", str(script))
    return tmp_path


def test_failed_or_hanging_step_does_not_stop_the_others(steps: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call = Call(60, (Step("slow", 0.5), Step("bad", 5), Step("good", 5)))
    assert first_run.run_call("call", call, 60, steps, dry_run=True) == 1
    outcomes = results(steps, "call")["steps"]
    assert {name: step["status"] for name, step in outcomes.items()} == {
        "slow": "timeout",
        "bad": "failed",
        "good": "ok",
    }
    assert outcomes["good"]["results"] == {"a": 1}
    assert json.loads(capfd.readouterr().out)["slow"] == "timeout"


def test_no_step_outlasts_its_call(steps: Path) -> None:
    call = Call(6, (Step("slow", 60), Step("slow", 60)))
    first_run.run_call("call", call, 6, steps, dry_run=True)
    assert results(steps, "call")["steps"]["slow"]["seconds"] < 6


def test_longer_limit_gives_every_step_more(steps: Path) -> None:
    call = Call(8, (Step("slow", 0.4),))
    first_run.run_call("call", call, 16, steps, dry_run=True)
    assert 0.8 <= results(steps, "call")["steps"]["slow"]["seconds"] < 8


def test_report_keeps_results_before_a_failure(tmp_path: Path) -> None:
    report = Report(tmp_path / "step.json")
    report.add("first", 1)
    with report.part("second"):
        raise ValueError("wrong")
    assert json.loads((tmp_path / "step.json").read_text()) == {"first": 1, "second": {"error": "ValueError: wrong"}}


def test_memory_between_processes_is_probed_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPC_PROBE_RUNTIME", "tests.support.cuda_fake:FakeCuda")
    monkeypatch.setenv("IPC_PROBE_LIBRARY", str(fake_library(tmp_path)))
    report = Report(tmp_path / "ipc.json")
    ipc.run(report, dry_run=False)
    plain = report.results["same namespaces"]
    assert plain["is_right"] and plain["pair_us"]["median"] > 0 and plain["pair_while_open_us"]["most"] > 0
    assert set(report.results) == {*ipc.WAYS, "dead exporter"}
    dead = report.results["dead exporter"]
    assert dead["before"] == {"is_right": True}
    assert dead["after"]["still_right"] is True and dead["after"]["close"] == "works"
    assert "CUDA_ERROR_INVALID_HANDLE" in dead["after"]["second_open"] and "CUDA_ERROR" in dead["late"]["open"]


def test_missing_gpu_is_noted_in_the_results(tmp_path: Path) -> None:
    report = Report(tmp_path / "ipc.json")
    with report.part("step"):
        ipc.run(report, dry_run=False)
    assert "no memory can be exported" in report.results["same namespaces"]["error"]
