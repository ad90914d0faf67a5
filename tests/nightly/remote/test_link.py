"""Triton behind a link that is slow, loses packets, or is cut."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from tests.nightly.remote.conftest import LARGE_SHAPE, TRITON, Remote, remote_service
from tests.nightly.remote.slow_link import run
from tests.support.films import panning, write_video
from tests.support.stacks import until

INFER_TIMEOUT_S, PATIENCE_S, SLACK_S = 20, 10, 5
CUT_S = 10.0
TIMES = 15
pytestmark = pytest.mark.timeout(600)


class Kind(NamedTuple):
    """A kind of request: its file, its model, the right label, and the bytes of its clip."""

    content: bytes
    model: str
    label: str
    clip_bytes: int


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    with remote_service() as remote:
        remote.start_triton()
        with remote.running_web():
            remote.wait_until_ready()
            yield remote


@pytest.fixture(autouse=True)
def mended(remote: Remote) -> Iterator[None]:
    yield
    remote.link.set()
    remote.link.is_cut = False


@pytest.fixture(scope="module")
def kinds(film: bytes, picture: bytes) -> dict[str, Kind]:
    return {
        "film": Kind(film, "camera_motion", "pan_left", 8 * 56 * 56 * 3),
        "picture": Kind(picture, "objects", "espresso", 224 * 224 * 3),
        "large clip": Kind(film, "large", "dark", math.prod(LARGE_SHAPE)),
    }


def answer(remote: Remote, kind: Kind) -> float:
    """Classify a file, and return the seconds that it took."""
    start = time.monotonic()
    response = remote.classify(kind.content, kind.model)
    took_s = time.monotonic() - start
    assert response.status_code == 200, response.text
    assert response.json()["transport"] == "inline"
    assert max(response.json()["predictions"], key=lambda entry: entry["score"])["label"] == kind.label
    return took_s


def test_clips_travel_inside_the_messages(remote: Remote, kinds: dict[str, Kind]) -> None:
    for name, kind in kinds.items():
        sent = [remote.link.sent_bytes]
        for _ in range(TIMES):
            answer(remote, kind)
            sent.append(remote.link.sent_bytes)
        # The median: health checks send clips of their own now and then
        there, back = (statistics.median(np.diff(side)) for side in zip(*sent, strict=True))
        print(f"{name}: {there / 1e3:.0f} kB to Triton, {back / 1e3:.1f} kB back, clip {kind.clip_bytes / 1e3:.0f} kB")
        assert kind.clip_bytes < there < 1.2 * kind.clip_bytes + 20_000 and back < 0.1 * there + 20_000


def test_latency_includes_that_of_the_link(remote: Remote, kinds: dict[str, Kind]) -> None:
    for delay_ms in (0, 10, 50):
        remote.link.set(delay_s=delay_ms / 1e3)
        for name, kind in kinds.items():
            answer(remote, kind)
            times = [answer(remote, kind) for _ in range(TIMES)]
            print(f"{delay_ms} ms each way, {name}: p50 {1e3 * statistics.median(times):.0f} ms")
            assert min(times) > 2 * delay_ms / 1e3 and max(times) < 10


def test_lossy_link_gives_right_answers_and_keeps_deadlines(remote: Remote, kinds: dict[str, Kind]) -> None:
    remote.link.set(delay_s=0.05, loss=0.01)
    for name, kind in kinds.items():
        times = [answer(remote, kind) for _ in range(TIMES)]
        print(
            f"50 ms each way, 1 % lost, {name}: p50 {1e3 * statistics.median(times):.0f} ms, worst {max(times):.2f} s"
        )
    for _ in range(10):
        start = time.monotonic()
        response = remote.classify(kinds["large clip"].content, "large", deadline_ms=300)
        assert response.status_code in (200, 503, 504) and time.monotonic() - start < 0.3 + 1


def all_slots_are_free(remote: Remote) -> bool:
    lines = [line for line in remote.metrics().splitlines() if line.startswith("clipstack_slots{")]
    assert lines
    return all(float(line.rpartition(" ")[2]) == 0 for line in lines if 'state="free"' not in line)


def test_cut_link_fails_within_bounds_and_recovers_by_itself(remote: Remote, film: bytes) -> None:
    pids = remote.web.pids(), remote.triton.pids()
    results: list[tuple[float, float, int]] = []
    ends = threading.Event()

    def ask_all_the_time() -> None:
        while not ends.is_set():
            start = time.monotonic()
            status = remote.classify(film).status_code
            results.append((start, time.monotonic(), status))

    threads = [threading.Thread(target=ask_all_the_time) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(results) > 5, 30)
    cut = time.monotonic()
    remote.link.is_cut = True
    time.sleep(CUT_S / 2)
    hurried = remote.classify(film, deadline_ms=1000)
    assert hurried.status_code in (503, 504) and time.monotonic() - cut < CUT_S / 2 + 1 + 1
    time.sleep(max(0.0, cut + CUT_S - time.monotonic()))
    remote.link.is_cut = False
    mended = time.monotonic()
    until(lambda: any(status == 200 and start > mended for start, _, status in results), 30)
    ends.set()
    for thread in threads:
        thread.join(90)
    assert not any(thread.is_alive() for thread in threads)
    recovered = min(end for start, end, status in results if status == 200 and end > mended)
    longest = max(end - start for start, end, _ in results)
    codes = [status for start, end, status in results if end > cut and start < mended]
    print(f"cut for {CUT_S} s: statuses {codes}, longest {longest:.1f} s, answers {recovered - mended:.1f} s later")
    assert {status for *_, status in results} <= {200, 503, 504}
    assert longest < INFER_TIMEOUT_S + PATIENCE_S + SLACK_S
    assert (remote.web.pids(), remote.triton.pids()) == pids
    until(lambda: all_slots_are_free(remote), 30)
    until(lambda: len(connections(remote)) <= 2, 60)


def connections(remote: Remote) -> list[str]:
    """Return the established connections to Triton's port, on its side, from the other side: one of web, one of jobs."""
    words = (
        "ip",
        "netns",
        "exec",
        remote.link.names[TRITON],
        "ss",
        "-tnH",
        "state",
        "established",
        "sport",
        "=",
        ":8001",
    )
    return [line for line in run(*words).splitlines() if remote.link.addresses[0] in line]


def test_job_goes_on_after_the_link_was_cut(remote: Remote, tmp_path: Path) -> None:
    film = write_video(tmp_path / "long.mp4", panning(1800, 320, 240, step=1, seed=9)).read_bytes()
    job = httpx.post(f"{remote.url}/v1/jobs", content=film, timeout=60)
    assert job.status_code == 202, job.text
    address = f"{remote.url}/v1/jobs/{job.json()['id']}"
    until(lambda: httpx.get(address, timeout=30).json()["state"] == "running", 60)
    remote.link.is_cut = True
    time.sleep(CUT_S)
    assert httpx.get(address, timeout=30).json()["state"] == "running"
    remote.link.is_cut = False
    until(lambda: httpx.get(address, timeout=30).json()["state"] == "done", 120)


def test_requests_fail_fast_while_triton_is_away_for_long(remote: Remote, film: bytes) -> None:
    pids = remote.web.pids()
    remote.link.is_cut = True
    until(lambda: remote.classify(film).status_code == 503, 60)
    time.sleep(PATIENCE_S)
    start = time.monotonic()
    refused = remote.classify(film)
    print(f"503 after {time.monotonic() - start:.1f} s: {refused.text}")
    assert refused.status_code == 503 and refused.headers["Retry-After"] and time.monotonic() - start < 2 + SLACK_S
    assert remote.status("/readyz") == 503 and remote.status("/healthz") == 200
    remote.link.is_cut = False
    until(lambda: remote.classify(film).status_code == 200, 30)
    assert remote.web.pids() == pids
