"""The upload benchmark over a slow link, against the real stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import CHECKOUT
from bench.upload.link import best_kind
from bench.upload.relay import CHUNK_BYTES
from deploy.stack.stack import Stack
from tests.support.movements import film_movement


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_movement(tmp_path_factory.mktemp("film") / "pan_left.mp4", "pan_left", width=1280, height=720)


@pytest.mark.parametrize("link", ["simulated", "netns"])
def test_bench_measures_each_way_over_a_slow_link(stack: Stack, film: Path, tmp_path: Path, link: str) -> None:
    if link == "netns" and best_kind() != "netns":
        pytest.skip("no network namespace can be made here: that takes root, ip and tc")
    out = tmp_path / "upload.json"
    options = ("--no-made", "--link", link, "--rates", "2", "--times", "1", "-o", out, "--url", stack.url)
    command = [sys.executable, "-m", "bench.upload", film, *options]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert film.name in done.stdout
    (file,) = json.loads(out.read_text())["files"]
    runs = {run["way"]: run for run in file["runs"]}
    assert [runs[way]["sent"] for way in ("none", "shrink", "frames")] == ["none", "shrink", "frames"]
    delayed_bytes = file["media"]["bytes"] - 2 * CHUNK_BYTES  # the link's first burst passes at once
    assert runs["none"]["median_s"] > 0.9 * delayed_bytes * 8 / 2e6
    assert runs["frames"]["bytes"] < runs["shrink"]["bytes"] < runs["none"]["bytes"]
    assert all(run["same_label"] for run in runs.values())
