"""The command line over many films: timelines, jobs, watched folders, resumed outputs and smaller uploads."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.movements import film_movement
from tests.support.stacks import until

if TYPE_CHECKING:
    from deploy.stack.stack import Stack

COMMAND = Path(sys.executable).with_name("clipstack")
MOVEMENTS = ("pan_left", "tilt_up", "zoom_in")
ONCE = ("--once", "--every", "0.1", "--settle", "0.2")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three films, each named after its movement, and large enough to be worth reducing."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "more").mkdir()
    for name, parent in zip(MOVEMENTS, (folder, folder, folder / "more"), strict=True):
        film_movement(parent / f"{name}.mp4", name, width=1280, height=720)
    return folder


@pytest.fixture
def no_jobs(stack: Stack) -> Iterator[None]:
    """Remove all jobs before and after the test."""
    clipstack(stack, "jobs", "remove", "--ended")
    yield
    clipstack(stack, "jobs", "remove", "--ended")


def clipstack(stack: Stack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *arguments, "--url", stack.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def answers(text: str) -> dict[str, dict[str, Any]]:
    """Return JSON lines by the stem of their file's name."""
    return {Path(answer["file"]).stem: answer for answer in map(json.loads, text.splitlines())}


def best(answer: dict[str, Any]) -> str:
    return str(answer["predictions"][0]["label"])


def test_folder_is_classified_and_resumed(stack: Stack, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    done = clipstack(stack, "classify", films, "-o", out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 classified\n")
    assert {stem: best(answer) for stem, answer in answers(out.read_text()).items()} == {
        name: name for name in MOVEMENTS
    }
    lines = out.read_text().splitlines(keepends=True)
    out.write_text(lines[0] + lines[1] + lines[2][:100])
    assert clipstack(stack, "classify", films, "-o", out, "--resume").stderr == "1 classified, 2 done before\n"
    assert set(answers(out.read_text())) == set(MOVEMENTS)


def test_pattern_is_classified_as_csv(stack: Stack, films: Path) -> None:
    done = clipstack(stack, "classify", f"{films}/**/*.mp4", "--format", "csv", "--top-k", "1")
    rows = csv.DictReader(io.StringIO(done.stdout))
    assert {Path(row["file"]).stem: row["label_1"] for row in rows} == {name: name for name in MOVEMENTS}


@pytest.mark.parametrize("way", ["--shrink", "--frames"])
def test_reduced_upload_gives_the_same_answer(stack: Stack, films: Path, way: str) -> None:
    whole = answers(clipstack(stack, "classify", films, "--json").stdout)
    done = clipstack(stack, "classify", films, "--json", way)
    assert (done.returncode, done.stderr) == (0, "")
    for stem, answer in answers(done.stdout).items():
        before = whole[stem]
        assert best(answer) == best(before) == stem
        assert answer["predictions"][0]["score"] == pytest.approx(before["predictions"][0]["score"], abs=0.1)
        assert answer["sent"]["reduction"] == way[2:]
        assert answer["sent"]["bytes"] < answer["sent"]["whole_bytes"] / 2
        assert answer["media"]["bytes"] == answer["sent"]["whole_bytes"] == before["media"]["bytes"]
        assert [clip["frames"] for clip in answer["clips"]] == [clip["frames"] for clip in before["clips"]]


@pytest.mark.parametrize(("rate", "sent"), [("0.2", "frames"), ("100000", "none")])
def test_auto_chooses_by_upload_rate(stack: Stack, films: Path, rate: str, sent: str) -> None:
    done = clipstack(stack, "classify", films, "--json", "--shrink", "auto", "--rate", rate)
    ways = {value.get("sent", {}).get("reduction", "none") for value in answers(done.stdout).values()}
    assert ways == {sent}


@pytest.mark.usefixtures("no_jobs")
def test_timelines_of_a_folder_and_their_jobs(stack: Stack, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "timelines.jsonl"
    assert clipstack(stack, "timeline", films, "-o", out).stderr == "3 analysed\n"
    result = answers(out.read_text())
    labels = {stem: {segment["label"] for segment in job["timeline"]["segments"]} for stem, job in result.items()}
    assert labels == {name: {name} for name in MOVEMENTS}
    assert clipstack(stack, "timeline", films, "-o", out, "--resume").stderr == "3 done before\n"
    listed = clipstack(stack, "jobs")
    assert all(job["id"][:8] in listed.stdout for job in result.values())
    shown = clipstack(stack, "jobs", "show", result["zoom_in"]["id"]).stdout
    assert "zoom_in" in shown and "camera_motion" in shown
    assert clipstack(stack, "jobs", "cancel", result["zoom_in"]["id"]).stdout.endswith("  done\n")
    assert clipstack(stack, "jobs", "remove", "--ended").stdout.count("removed") == 3
    assert clipstack(stack, "jobs", "show", result["zoom_in"]["id"]).returncode == 1


@pytest.mark.usefixtures("no_jobs")
def test_timeline_of_reduced_film_equals_the_original(stack: Stack, films: Path, tmp_path: Path) -> None:
    out = tmp_path / "pan.vtt"
    assert clipstack(stack, "timeline", films / "pan_left.mp4", "--shrink", "-o", out).returncode == 0
    assert out.read_text().startswith("WEBVTT")
    assert "pan_left" in out.read_text()
    (job,) = map(json.loads, clipstack(stack, "jobs", "list", "--json").stdout.splitlines())
    assert job["media"]["width"] < 1280


@pytest.mark.usefixtures("no_jobs")
def test_detached_job_is_followed_and_cancelled(stack: Stack, films: Path) -> None:
    begun = clipstack(stack, "timeline", "--detach", "--json", films / "tilt_up.mp4")
    id = json.loads(begun.stdout)["id"]
    assert "tilt_up" in clipstack(stack, "jobs", "show", "--follow", id).stdout
    assert clipstack(stack, "jobs", "remove", id).stdout == f"{id}  removed\n"


@pytest.mark.usefixtures("no_jobs")
@pytest.mark.parametrize("kind", ["classify", "timeline"])
def test_watched_folder_is_processed_once(stack: Stack, films: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "seen.jsonl"
    words: tuple[str | Path, ...] = (
        "watch",
        films,
        *ONCE,
        "-o",
        out,
        "--resume",
        *(["--timeline"] * (kind != "classify")),
    )
    assert clipstack(stack, *words).returncode == 0
    assert set(answers(out.read_text())) == set(MOVEMENTS)
    assert clipstack(stack, *words).stderr == "nothing to do\n"


def test_watch_runs_until_interrupted(stack: Stack, tmp_path: Path) -> None:
    folder, out = tmp_path / "inbox", tmp_path / "seen.jsonl"
    folder.mkdir()
    words = [COMMAND, "watch", folder, "--every", "0.1", "--settle", "0.2", "-o", out, "--url", stack.url]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watching:
        for count, name in enumerate(MOVEMENTS, 1):
            film_movement(folder / f"{name}.mp4", name)
            until(lambda count=count: out.exists() and len(out.read_text().splitlines()) == count, 30)
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(timeout=20) == 143
    assert {stem: best(answer) for stem, answer in answers(out.read_text()).items()} == {
        name: name for name in MOVEMENTS
    }
