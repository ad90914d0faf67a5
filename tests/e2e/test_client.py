"""The client and the command line against the real stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.client_contract import ClientContract
from tests.support.client_service import MP4
from tests.support.films import panning, write_video

if TYPE_CHECKING:
    from deploy.stack.stack import Stack

COMMAND = Path(sys.executable).with_name("clipstack")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a camera panning left, small enough to lie in a pipe."""
    path = write_video(tmp_path_factory.mktemp("films") / "panning.mp4", panning(60), options={"crf": "30"})
    assert path.stat().st_size <= 64 * 1024
    return path


class TestRealService(ClientContract):
    @pytest.fixture
    def url(self, stack: Stack) -> str:
        return stack.url

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = tmp_path / "damaged.mp4"
        path.write_bytes(MP4)
        return path


def clipstack(stack: Stack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *arguments, "--url", stack.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_command_line_classifies(stack: Stack, video: Path) -> None:
    done = clipstack(stack, "classify", video)
    assert (done.returncode, done.stderr) == (0, "")
    assert "camera_motion, 8 frames from" in done.stdout
    assert "infer" in done.stdout


def test_command_line_writes_json_for_many_files(stack: Stack, video: Path) -> None:
    done = clipstack(stack, "classify", "--json", "-j", "4", *[video] * 8)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 8
    assert {answer["transport"] for answer in answers} == {"system_shared_memory"}
    assert len({answer["request_id"] for answer in answers}) == 8


def test_command_line_lists_the_models(stack: Stack) -> None:
    assert "camera_motion  default for videos  video" in clipstack(stack, "models").stdout


def test_command_line_refuses_damaged_frames(stack: Stack, real_videos: Path) -> None:
    damaged = real_videos / "corrupted.mp4"  # damaged at 3.0 of 5 s, after the middle clip
    assert clipstack(stack, "classify", damaged).returncode == 0
    done = clipstack(stack, "classify", "--clips", "3", damaged)
    assert done.returncode == 1
    assert "HTTP 422" in done.stderr
