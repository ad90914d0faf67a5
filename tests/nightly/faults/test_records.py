"""Records of jobs are damaged under a running service; very many jobs are kept, and many clients come at once."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.store import now
from deploy.stack.stack import Stack
from tests.nightly.faults.fault_run import FaultRuns
from tests.nightly.faults.rows import Row
from tests.support.job_requests import wait_for_job
from tests.support.stacks import running_stack, until

OWNERS = 20
TIMELINE = {
    "duration_s": 4.0, "complete_to_s": 4.0, "window_s": 1.0, "hop_s": 0.25, "margin": 0.5, "labels": ["a", "b"],
    "segments": [{"start_s": 0.0, "end_s": 4.0, "label": "a", "score": 0.9}], "cuts_s": [], "pictures_s": [0.5],
}  # fmt: skip

PLACES, CLIENTS, KEPT = 20, 24, 10_000
RECONCILED_S = 45.0  # the job worker compares folders and index every 20 s


def as_the_service(path: Path, owner: Path) -> None:
    """Give a folder and its content to the owner of `owner`: the stack may run as another user than the tests."""
    facts = owner.stat()
    for item in [path, *path.rglob("*")]:
        os.chown(item, facts.st_uid, facts.st_gid, follow_symlinks=False)


@pytest.mark.timeout(300)
def test_42_records_damaged(faulty_stack: Stack, fault_runs: FaultRuns, row: Row, films: dict[str, bytes]) -> None:
    jobs, film = faulty_stack.settings.data_dir / "jobs", films["pan_left"]
    with fault_runs.of(faulty_stack) as fault_run, httpx.Client(base_url=faulty_stack.url, timeout=30) as http:
        made = [http.post("/v1/jobs", content=film).json()["id"] for _ in range(6)]
        for identity in made:
            wait_for_job(http, identity)
        fault_run.mark_fault()
        whole, newer, cut_off, zeros, fifo, folder = (jobs / identity for identity in made)
        body = json.loads((newer / "state.json").read_text())
        (newer / "state.json").write_text(json.dumps(body | {"of a newer version": [1]}))
        (cut_off / "state.json").write_bytes((cut_off / "state.json").read_bytes()[:40])
        (zeros / "job.json").write_bytes(bytes(200))
        (fifo / "job.json").unlink()
        os.mkfifo(fifo / "job.json")
        shutil.rmtree(folder)
        folder.write_bytes(b"no folder")
        (index,) = faulty_stack.settings.data_dir.glob("jobs-index-*.db")
        index.write_bytes(b"this is no database " * 500)
        statuses = Counter[str]()
        for address in ("/v1/jobs", "/metrics", "/status.json"):
            answer = http.get(address)
            statuses[f"{address} {answer.status_code}"] += 1
        later = http.post("/v1/jobs", content=film)
        statuses[f"POST {later.status_code}"] += 1
        row.check(
            f"just then: {dict(statuses)}",
            set(statuses)
            == {
                "/v1/jobs 200",
                "/metrics 200",
                "/status.json 200",
                "POST 202",
            },
        )
        row.check(f"a new job: {(state := wait_for_job(http, later.json()['id'])['state'])}", state == "done")
        kept = {identity: http.get(f"/v1/jobs/{identity}").status_code for identity in made}
        wanted = dict.fromkeys(made, 404) | dict.fromkeys((whole.name, newer.name, cut_off.name), 200)
        row.check(f"whole or with fields of a newer version: {kept[whole.name]}, {kept[newer.name]}", kept == wanted)
        again = wait_for_job(http, cut_off.name, RECONCILED_S)["state"]
        row.check(f"one without its state begins again: {again}", again == "done")
        # The index may still use its write-ahead log: the damage below is then found later, or never read
        until(lambda: {"job": 3, "state": 1}.items() <= set_aside(http).items(), RECONCILED_S)
        row.check(f"set aside and counted: {set_aside(http)}", True)
        fault_run.check_recovery(0.0, "requests: errors until")
        fault_run.check_errors()
    shutil.rmtree(faulty_stack.settings.data_dir / "damaged")


def set_aside(http: httpx.Client) -> dict[str, int]:
    counts = http.get("/status.json").json()["points"][-1]["damaged"]
    return {kind: int(count) for kind, count in counts.items() if count}


def make_jobs(folder: Path, count: int) -> None:
    """Write the folders of `count` finished jobs, as the service leaves them."""
    for number in range(count):
        job = folder / f"{number:024x}"
        (job / "pictures").mkdir(parents=True)
        spec = JobSpec(job.name, now(), "clip.mp4", 1000, "m", None, None, 0.5, 5, f"owner{number % OWNERS}")
        (job / "job.json").write_text(json.dumps(asdict(spec)))
        state = JobState("done", now(), now(), "1", 100.0, 13, 13, timeline=TIMELINE)
        (job / "state.json").write_text(json.dumps(asdict(state)))
        (job / "lock").touch()
        for name in ("source", "journal", "pictures/0.jpg"):
            (job / name).write_bytes(bytes(1000))


@pytest.mark.timeout(300)
def test_45_very_many_jobs(row: Row, films: dict[str, bytes]) -> None:
    film = films["pan_left"]
    with running_stack(max_jobs=str(PLACES), max_kept_jobs=str(2 * KEPT)) as stack:
        jobs = stack.settings.data_dir / "jobs"
        stack.supervisorctl("stop", "jobs")
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = Counter(
                answer.status_code
                for answer in clients.map(
                    lambda _: httpx.post(f"{stack.url}/v1/jobs", content=film), range(CLIENTS * 5)
                )
            )
        row.check(
            f"{CLIENTS} clients, {PLACES} places: {dict(answers)}",
            answers == {202: PLACES, 503: CLIENTS * 5 - PLACES} and len(list(jobs.iterdir())) == PLACES,
        )
        stack.supervisorctl("start", "jobs")
        beside = stack.settings.data_dir / "made"
        make_jobs(beside, KEPT)
        as_the_service(beside, jobs)
        for job in beside.iterdir():
            job.rename(jobs / job.name)
        with httpx.Client(base_url=stack.url, timeout=60) as http:
            until(lambda: listed(http) >= KEPT, RECONCILED_S)
            until(lambda: open_jobs(http) == 0, 120)
            row.check_within(f"with {KEPT} kept: list (median)", median_s(lambda: http.get("/v1/jobs")), 0.05)
            row.check_within("a new job (median)", median_s(lambda: http.post("/v1/jobs", content=film)), 0.05)


def listed(http: httpx.Client) -> int:
    counts = http.get("/status.json").json()["points"][-1]["jobs"]
    return int(counts["done"])


def open_jobs(http: httpx.Client) -> int:
    counts = http.get("/status.json").json()["points"][-1]["jobs"]
    return int(counts["queued"] + counts["running"])


def median_s(ask: object) -> float:
    assert callable(ask)
    seconds = []
    for _ in range(PLACES // 2):
        began = time.perf_counter()
        assert ask().status_code in (200, 202)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
