"""The same tests of jobs, with the queue in a real Redis."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.e2e.test_jobs import (  # noqa: F401  the tests, and what they need
    http,
    long_film,
    test_a_job_is_followed_to_its_timeline,
    test_idempotency_key_sent_twice_makes_one_job,
    test_job_is_cancelled_while_it_waits_in_queue,
    test_job_of_killed_worker_resumes,
)
from tests.support.job_requests import submit_job
from tests.support.movements import film_movement
from tests.support.redis_server import running_redis
from tests.support.stacks import running_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose queue is in Redis."""
    with (
        running_redis(tmp_path_factory.mktemp("redis")) as address,
        running_stack(wait=False, models=("camera_motion",), queue=address, web_workers="1") as stack,
    ):
        yield stack


def test_the_queue_is_in_redis(stack: Stack, http: httpx.Client, tmp_path: Path) -> None:  # noqa: F811
    stack.supervisorctl("stop", "jobs")
    try:
        identity = submit_job(http, film_movement(tmp_path / "film.mp4", "pan_left", seconds=1))["id"]
        command = ["redis-cli", "-u", stack.settings.queue, "--scan"]
        assert "clipstack" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert not (stack.settings.data_dir / "queue.db").exists()
        assert http.delete(f"/v1/jobs/{identity}").json()["state"] == "cancelled"
    finally:
        stack.supervisorctl("start", "jobs")
