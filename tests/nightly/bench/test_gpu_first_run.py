"""bench/gpu/first_run.py service from end to end, on the CPU: the real Triton, workers killed under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT


@pytest.mark.timeout(600)
def test_service_is_measured_on_the_cpu(tmp_path: Path) -> None:
    words = ["service", "--output", str(tmp_path), "--dry-run", "--limit", "500"]
    command = [sys.executable, "bench/gpu/first_run.py", *words]
    subprocess.run(command, cwd=CHECKOUT, timeout=550)
    step = json.loads((tmp_path / "service.json").read_text())["steps"]["service"]
    assert step["status"] == "ok", (tmp_path / "service.log").read_text()[-3000:]
    found = step["results"]
    assert found["ready_s 1"] > 0 and found["ready_s 2"] > 0
    assert set(found["shm"]["senders"]) == {"1", "4", "16"}
    assert all(found[f"killed {number}"]["answers_p50_ms"]["shm"] > 0 for number in (1, 2, 3))
    assert found["idle worker killed"]["regions"]
