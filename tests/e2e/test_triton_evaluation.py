"""Small evaluations of the built-in models through the real stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import pytest

from deploy.stack.stack import Stack
from tests.support.films import write_video
from triton_repo.zoo.architectures import quality_labels
from triton_repo.zoo.training.camera_motion import evaluate as camera_motion
from triton_repo.zoo.training.camera_motion import evaluate_timeline, paths
from triton_repo.zoo.training.frame_quality import evaluate as frame_quality
from triton_repo.zoo.training.frame_quality.scenes import photograph

Run = Callable[..., tuple[int, str, str]]
MEASURED = [(camera_motion, paths.LABELS), (frame_quality, quality_labels.LABELS)]
BARS = pytest.mark.parametrize(("bar", "status"), [("0", 0), ("1.01", 1)], ids=["above the bar", "below the bar"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a program with its arguments; return its exit code and output."""

    def call(program: ModuleType, *words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words)])
        return program.main(), *capsys.readouterr()

    return call


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    scene = cv2.resize(photograph("stereo_motorcycle"), (1080, 720), interpolation=cv2.INTER_CUBIC)
    write_video(tmp_path / "footage.mp4", [scene] * 5, 30)
    return tmp_path


@BARS
@pytest.mark.parametrize(("program", "labels"), MEASURED, ids=["camera_motion", "frame_quality"])
def test_evaluation_prints_every_label_and_holds_the_bar(
    stack: Stack, run: Run, footage: Path, program: ModuleType, labels: tuple[str, ...], bar: str, status: int
) -> None:
    options = ("--url", stack.url, "--footage", footage, "--per-class", 1, "--bar", bar, "--jobs", 2)
    code, output, errors = run(program, *options)
    assert code == status, errors
    assert all(label in output for label in labels)


@pytest.mark.parametrize(
    ("program", "words"),
    [(camera_motion, "can be decoded"), (frame_quality, "is large enough and can be decoded")],
    ids=["camera_motion", "frame_quality"],
)
def test_missing_footage_is_reported(run: Run, tmp_path: Path, program: ModuleType, words: str) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    code, _, errors = run(program, "--footage", tmp_path)
    assert (code, errors) == (2, f"evaluate: no video that {words} in {tmp_path}\n")


@BARS
def test_timelines_are_compared_with_the_truth(stack: Stack, run: Run, footage: Path, bar: str, status: int) -> None:
    options = ("--url", stack.url, "--footage", footage, "--seed", 3, "--films", 1, "--moves", 3, "--bar", bar)
    code, output, errors = run(evaluate_timeline, *options)
    assert code == status, output + errors
    assert "24 fps 320x240" in output
