"""One gigabyte over a link that breaks every 50 MB, while parts of the service and the client itself are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from clipstack_client.sending.resumable import CHUNK_BYTES
from deploy.stack.stack import Stack
from tests.support.breaking_link import BreakingLink, breaking_link
from tests.support.job_requests import wait_for_job
from tests.support.large_films import digest, write_large_film
from tests.support.leaks import descendants
from tests.support.movements import film_movement
from tests.support.stacks import running_stack, until

GB, MB = 10**9, 10**6
MIN_FREE = 6 * GB


@pytest.fixture
def film(tmp_path: Path) -> Path:
    if shutil.disk_usage(tmp_path).free < MIN_FREE:
        pytest.skip(f"needs {MIN_FREE // GB} GB on the disk of temporary files")
    short = film_movement(tmp_path / "film.mp4", "pan_left", seconds=2).read_bytes()
    return write_large_film(tmp_path / "gigabyte.mp4", short, GB)


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def run_client(link: BreakingLink, film: Path, stack: Stack) -> str:
    """Send the film by the command, kill parts on the way, and return the id of its job."""
    command = [sys.executable, "-m", "clipstack_client", "timeline", "--detach", "--json", "--url", link.url, str(film)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: link.sent > 220 * MB, 120)
    kill(list(descendants(int(stack.supervisorctl("pid", "nginx")))))
    until(lambda: link.sent > 420 * MB, 120)
    kill([int(stack.supervisorctl("pid", "web"))])
    until(lambda: link.sent > 620 * MB, 180)
    kill([process.pid])
    process.wait()
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return str(json.loads(done.stdout)["id"])


@pytest.mark.timeout(900)
def test_gigabyte_arrives_whole_and_is_sent_at_most_1_1_times(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with (
        running_stack(models=("camera_motion",), web_workers="2") as stack,
        breaking_link(stack.settings.port, 50 * MB) as link,
    ):
        job_id = run_client(link, film, stack)
        print(f"{link.sent} bytes for {film.stat().st_size}, {link.breaks} breaks, chunks of {CHUNK_BYTES}")
        assert link.breaks >= 19
        assert link.sent <= 1.1 * film.stat().st_size
        assert digest(stack.settings.data_dir / "jobs" / job_id / "source") == digest(film)
        with httpx.Client(base_url=stack.url, timeout=30) as http:
            assert wait_for_job(http, job_id)["state"] == "done"
