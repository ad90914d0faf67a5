"""The measure of the default model, a small one, through the real stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack import Stack
from tests.films import texture, write_video
from triton_repo.zoo.camera_paths import LABELS


@pytest.mark.parametrize(("bar", "status"), [("0", 0), ("1.01", 1)], ids=["above the bar", "below the bar"])
def test_evaluation_prints_every_label_and_holds_the_bar(stack: Stack, tmp_path: Path, bar: str, status: int) -> None:
    write_video(tmp_path / "footage.mp4", [texture(320, 240, seed) for seed in range(5)], 30)
    command = [sys.executable, "-m", "triton_repo.zoo.evaluate_camera_motion", "--url", stack.url]
    options = ["--footage", str(tmp_path), "--per-class", "1", "--bar", bar, "--jobs", "2"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=150)
    assert done.returncode == status, done.stderr
    assert all(label in done.stdout for label in LABELS)


def test_evaluation_without_footage_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    command = [sys.executable, "-m", "triton_repo.zoo.evaluate_camera_motion", "--footage", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, f"evaluate: no video that can be decoded in {tmp_path}\n")
