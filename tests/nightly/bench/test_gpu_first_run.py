"""bench/gpu/first_run.py from end to end, on the CPU: the real Triton, workers killed under load, and dry runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from tests.support.cuda_driver import fake_library


def first(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECKOUT / "bench" / "gpu" / "first_run.py"), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.timeout(600)
def test_service_is_measured_on_the_cpu(tmp_path: Path) -> None:
    words = ["service", "--output", str(tmp_path), "--dry-run", "--limit", "500"]
    command = [sys.executable, "bench/gpu/first_run.py", *words]
    subprocess.run(command, cwd=CHECKOUT, timeout=550)
    step = json.loads((tmp_path / "service.json").read_text())["steps"]["service"]
    assert step["status"] == "ok", (tmp_path / "service.log").read_text()[-3000:]
    results = step["results"]
    assert results["ready_s 1"] > 0 and results["ready_s 2"] > 0
    assert set(results["shm"]["senders"]) == {"1", "4", "16"}
    assert all(results[f"killed {number}"]["answers_p50_ms"]["shm"] > 0 for number in (1, 2, 3))
    assert results["idle worker killed"]["regions"]


@pytest.mark.parametrize(("call", "step"), [("layouts", "layouts"), ("decoding", "nvdec")])
def test_dry_run_ends_with_figures(tmp_path: Path, call: str, step: str) -> None:
    environment = {
        "IPC_PROBE_RUNTIME": "tests.support.cuda_fake:FakeCuda",
        "IPC_PROBE_LIBRARY": str(fake_library(tmp_path)),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = first(call, "--output", str(tmp_path / "out"), "--dry-run", **environment)
    steps = json.loads((tmp_path / "out" / f"{call}.json").read_text())["steps"]
    log = (tmp_path / "out" / f"{call}.log").read_text()
    assert steps["facts"]["status"] == steps[step]["status"] == "ok", log
    assert steps["facts"]["results"]["torch"]["available"] is False
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{call}.json", f"{call}.log"]
    figures = steps[step]["results"]
    if call == "layouts":
        for layout in ("channels_last", "depthwise", "products", "contiguous"):
            assert figures[layout]["largest_difference"] < 0.1 and figures[layout]["batch_2"]["ms"] > 0
    else:
        assert figures["short"]["PyAV, as for NVDEC, CPU"]["good"] and len(figures["turns"]) == 3
    assert done.returncode in (0, 1)  # namespaces of their own may be forbidden here
