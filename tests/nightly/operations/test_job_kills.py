"""Jobs survive kills of any process: each accepted job ends with one result and no duplicate window."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.jobs.storage.journal import read
from deploy.stack import processes
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.job_requests import journal, wait_for_job
from tests.support.stacks import until

RECOVERY_S = 60.0
LONGEST_S = 3.0  # from one kill to the next, after all programs run again
UNFINISHED = 2  # fewest jobs at every kill
HOP_S = 0.06


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30, transport=httpx.HTTPTransport(retries=3)) as client:
        yield client


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = panning(900, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", frames).read_bytes()


class Submitter:
    """Submit jobs, and remember the accepted ones."""

    def __init__(self, http: httpx.Client, film: bytes) -> None:
        self._http, self._film = http, film
        self.accepted: list[str] = []

    def hand_in(self) -> str:
        answer = self._http.post("/v1/jobs", content=self._film, params={"hop_s": HOP_S})
        assert answer.status_code == 202, answer.text
        self.accepted.append(answer.json()["id"])
        return self.accepted[-1]

    def unfinished(self) -> int:
        return sum(job["state"] in ("queued", "running") for job in self.listed())

    def listed(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self._http.get("/v1/jobs", params={"limit": 200}).raise_for_status().json()["jobs"]
        return jobs

    def outcome(self, identity: str) -> dict[str, Any]:
        return wait_for_job(self._http, identity, patience_s=120)


def kill(stack: Stack, victim: str) -> None:
    """Kill a program and wait until all run again."""
    if victim == "everything":
        everything = processes.of_stack(stack.run_dir)
        for pid in everything:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert processes.wait_until_gone(everything, 10)
        stack.up()
    else:
        before = int(stack.supervisorctl("pid", victim))
        os.kill(before, signal.SIGKILL)
        until(lambda: int(stack.supervisorctl("pid", victim)) not in (0, before), RECOVERY_S)
        stack.wait(RECOVERY_S)


@pytest.mark.timeout(900)
def test_jobs_outlive_kills_at_random_moments(stack: Stack, http: httpx.Client, film: bytes, repeats: int) -> None:
    office, chance = Submitter(http, film), random.Random(repeats)
    unharmed = office.outcome(office.hand_in())
    right = read(journal(stack, unharmed["id"])).scores
    for victim in (["everything", "jobs", "triton"] * repeats)[:repeats]:
        while office.unfinished() < UNFINISHED:
            office.hand_in()
        time.sleep(chance.uniform(0.05, LONGEST_S))  # the random moment
        kill(stack, victim)
    for identity in office.accepted:
        result = office.outcome(identity)
        assert result["state"] == "done", result["error"]
        journal_contents = read(journal(stack, identity))  # raises if a window is missing or duplicated
        assert len(journal_contents.scores) == len(right) == result["progress"]["windows"]
        np.testing.assert_allclose(journal_contents.scores, right, atol=1e-3)
        assert result["timeline"]["segments"] == unharmed["timeline"]["segments"]
    assert sorted(job["id"] for job in office.listed()) == sorted(office.accepted)
    print(f"{repeats} kills, {len(office.accepted)} jobs of {len(right)} windows")
    held = {path.name for path in Path(stack.settings.data_dir / "jobs").iterdir() if not path.name.startswith(".")}
    assert held >= set(office.accepted)
