"""`clipstack bulk` on the whole service: videos, pictures and bad files, classified and as timelines."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from clipstack_client.cli import main
from deploy.stack.stack import Stack
from tests.support.archives import pictures, rows_of
from tests.support.movements import film_movement


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three films, three pictures, and a file that is cut off."""
    (tmp_path / "archive").mkdir()
    for label in ("pan_left", "zoom_in", "tilt_up"):
        film_movement(tmp_path / "archive" / f"{label}.mp4", label)
    pictures(tmp_path / "archive", 3)
    film = (tmp_path / "archive" / "pan_left.mp4").read_bytes()
    (tmp_path / "archive" / "bad.mp4").write_bytes(film[:100])
    return tmp_path / "archive"


def bulk(stack: Stack, folder: Path, results: Path, *options: str) -> int:
    words = ["bulk", str(folder), "--to", str(results), "--format", "jsonl", "--url", stack.url, "--part-files", "3"]
    return CliRunner().invoke(main, [*words, *options]).exit_code


def job_ids(stack: Stack) -> set[str]:
    return {job["id"] for job in httpx.get(f"{stack.url}/v1/jobs", params={"limit": 500}).json()["jobs"]}


def test_films_pictures_and_bad_files_have_rows(stack: Stack, folder: Path, tmp_path: Path) -> None:
    assert bulk(stack, folder, tmp_path / "results") == 1
    rows = {Path(row["file"]).name: row for row in rows_of(tmp_path / "results")}
    assert len(rows) == 7
    for label in ("pan_left", "zoom_in", "tilt_up"):
        assert rows[f"{label}.mp4"]["predictions"][0]["label"] == label
        assert rows[f"{label}.mp4"]["media"]["kind"] == "video"
    assert all(rows[f"{index:06}.jpg"]["model"] == "objects" for index in range(3))
    assert {name for name, row in rows.items() if row["error_code"]} == {"bad.mp4"}


def test_timelines_have_segments_and_pictures_labels(stack: Stack, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.mp4").unlink()
    before = job_ids(stack)
    assert bulk(stack, folder, tmp_path / "results", "--timeline") == 0
    rows = {Path(row["file"]).name: row for row in rows_of(tmp_path / "results")}
    assert rows["zoom_in.mp4"]["segments"][0]["label"] == "zoom_in"
    assert (rows["zoom_in.mp4"]["predictions"], rows["000000.jpg"]["segments"]) == (None, None)
    assert rows["000000.jpg"]["predictions"]
    assert job_ids(stack) <= before, "the jobs are removed"
