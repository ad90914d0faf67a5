"""The measures of the built-in models, small ones, through the real stack."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from deploy.stack.stack import Stack
from tests.support.films import write_video
from triton_repo.zoo.architectures import quality_labels
from triton_repo.zoo.training.camera_motion import paths
from triton_repo.zoo.training.frame_quality.scenes import photograph

MEASURED = {"camera_motion": paths.LABELS, "frame_quality": quality_labels.LABELS}


@pytest.mark.parametrize(("bar", "status"), [("0", 0), ("1.01", 1)], ids=["above the bar", "below the bar"])
@pytest.mark.parametrize("model", MEASURED)
def test_evaluation_prints_every_label_and_holds_the_bar(
    stack: Stack, tmp_path: Path, model: str, bar: str, status: int
) -> None:
    scene = cv2.resize(photograph("stereo_motorcycle"), (1080, 720), interpolation=cv2.INTER_CUBIC)
    write_video(tmp_path / "footage.mp4", [scene] * 5, 30)
    command = [sys.executable, "-m", f"triton_repo.zoo.training.{model}.evaluate", "--url", stack.url]
    options = ["--footage", str(tmp_path), "--per-class", "1", "--bar", bar, "--jobs", "2"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=150)
    assert done.returncode == status, done.stderr
    assert all(label in done.stdout for label in MEASURED[model])


@pytest.mark.parametrize(
    ("model", "words"), [("camera_motion", "can be decoded"), ("frame_quality", "is large enough and can be decoded")]
)
def test_evaluation_without_footage_says_so(tmp_path: Path, model: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    command = [sys.executable, "-m", f"triton_repo.zoo.training.{model}.evaluate", "--footage", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, f"evaluate: no video that {words} in {tmp_path}\n")


@pytest.mark.parametrize(("bar", "status"), [("0", 0), ("1.01", 1)], ids=["above the bar", "below the bar"])
def test_timelines_are_held_against_what_happens(stack: Stack, tmp_path: Path, bar: str, status: int) -> None:
    scene = cv2.resize(photograph("stereo_motorcycle"), (1080, 720), interpolation=cv2.INTER_CUBIC)
    write_video(tmp_path / "footage.mp4", [scene] * 5, 30)
    command = [
        sys.executable,
        "-m",
        "triton_repo.zoo.training.camera_motion.evaluate_timeline",
        "--url",
        stack.url,
        "--seed",
        "3",
    ]
    options = ["--footage", str(tmp_path), "--films", "1", "--moves", "3", "--bar", bar]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=150)
    assert done.returncode == status, done.stdout + done.stderr
    assert "24 fps 320x240" in done.stdout
