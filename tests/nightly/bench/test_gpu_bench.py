"""bench/gpu/run.py end to end, on the CPU: the real Triton, real slots, and a killed worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT


@pytest.mark.timeout(900)  # a minute, on a machine that does nothing else
def test_every_step_passes_on_the_cpu(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    command = [sys.executable, "bench/gpu/run.py", "--cpu-check", "--models", "x3d_s", "--output", str(written)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(written.read_text())
    assert results["processor"] and results["on"] == "CPU, small clips"
    assert all(row["good"] for row in results["engine"]["x3d_s"]["checks"])
    assert set(results["decoding"]["films"]) == {"short", "long"}
    for film in results["decoding"]["films"].values():
        measured = {name: row for name, row in film["ways"].items() if "left_out" not in row}
        assert set(measured) >= {"decord, CPU", "PyAV, CPU", "PyAV, as for NVDEC, CPU"}
        assert all(row["good"] and row["at_once_4"]["clips_per_s"] > 0 for row in measured.values())
    path = results["path"]
    assert {way: row["way"] for way, row in path["x3d_s"].items()} == {
        "shm": "system_shared_memory",
        "inline": "inline",
    }
    assert all(row["clips_per_s"] > 0 for way in path["x3d_s"].values() for row in way["senders"].values())
    assert all(row["decode_ms"] > 0 for row in path["film"].values())
    assert path["killed"]["shm"]["regions"]
