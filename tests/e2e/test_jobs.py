"""Jobs through the real service: followed, cancelled, and resumed after kills."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from tritonclient.grpc import InferenceServerClient

from app.admission.flags import RECENT_S, UploadWaitingFlag
from app.jobs.storage.journal import read
from app.timeline.window_inference import GROUP, MAX_YIELD_S
from bench.fixtures.videos import repeat_film
from deploy.stack import processes
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.job_requests import journal, submit_job, wait_for_job, windows_done
from tests.support.movements import film_movement
from tests.support.stacks import until

CANCEL_S = 2.0


@pytest.fixture(scope="module")
def http(stack: Stack) -> httpx.Client:
    with httpx.Client(base_url=stack.url, timeout=30) as client:
        yield client  # type: ignore[misc]


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s in which the camera pans, cut in the middle."""
    frames = [frame for seed in (1, 2) for frame in panning(600, 320, 240, step=2, seed=seed)]
    return write_video(tmp_path_factory.mktemp("films") / "long.mp4", frames)


def test_a_job_is_followed_to_its_timeline(http: httpx.Client, tmp_path: Path) -> None:
    identity = submit_job(http, film_movement(tmp_path / "film.mp4", "pan_left", seconds=3))["id"]
    with http.stream("GET", f"/v1/jobs/{identity}/events") as stream:
        lines = list(stream.iter_lines())
    assert "event: end" in lines
    body = json.loads([line for line in lines if line.startswith("data: ")][-1].removeprefix("data: "))
    assert (body["state"], body["progress"]["percent"]) == ("done", 100.0)
    assert [segment["label"] for segment in body["timeline"]["segments"]] == ["pan_left"]
    assert body["timeline"]["segments"][0]["end_s"] == pytest.approx(3.0, abs=0.05)
    picture = http.get(body["timeline"]["thumbnails"][0]["url"])
    assert picture.content.startswith(b"\xff\xd8")
    for form, start in {"json": b"{", "csv": b"start_s", "vtt": b"WEBVTT", "svg": b"<svg", "png": b"\x89PNG"}.items():
        answer = http.get(f"/v1/jobs/{identity}/timeline", params={"format": form})
        assert answer.status_code == 200
        assert answer.content.startswith(start)
    part = http.get(f"/v1/jobs/{identity}/source", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert "sandbox" in part.headers["Content-Security-Policy"]


def test_windows_of_the_same_frames_are_inferred_once(stack: Stack, http: httpx.Client, tmp_path: Path) -> None:
    # A pan, then a still of ten minutes
    film = write_video(tmp_path / "still.mp4", panning(30, 320, 240), pts=[*range(0, 1160, 40), 600_000])
    with InferenceServerClient(stack.settings.triton_target) as triton:
        before = triton.get_inference_statistics("camera_motion").model_stats[0].inference_count
        job = wait_for_job(http, submit_job(http, film, hop_s=0.1)["id"])
        inferences = triton.get_inference_statistics("camera_motion").model_stats[0].inference_count - before
    assert job["state"] == "done"
    windows = job["timeline"]["windows"]
    assert len(windows) == job["progress"]["windows"] > 5_900
    assert 10 < inferences < 60
    stills = [still["predictions"] for still in windows[20:2980]]
    assert all(still == stills[0] for still in stills)
    assert windows[0]["predictions"] != stills[0]
    assert len(job["timeline"]["thumbnails"]) > 50


def test_job_of_killed_worker_resumes(stack: Stack, http: httpx.Client, long_film: Path) -> None:
    identity = submit_job(http, long_film, hop_s=0.05)["id"]
    until(lambda: windows_done(http, identity) > 20, 30)
    (worker,) = [int(line.split()[3].rstrip(",")) for line in stack.supervisorctl("status", "jobs").splitlines()]
    os.kill(worker, signal.SIGKILL)
    before = len(read(journal(stack, identity)).scores)
    assert processes.wait_until_gone([worker], 5)
    job = wait_for_job(http, identity)
    contents = read(journal(stack, identity))  # raises if a window is missing or duplicated
    assert (job["state"], job["tries"]) == ("done", 1)
    assert len(contents.scores) == job["progress"]["windows"] > before > 20
    assert job["timeline"]["cuts_s"] == pytest.approx([20.0], abs=0.11)


def cancelled_within_2_s(http: httpx.Client, identity: str) -> None:
    began = time.monotonic()
    answer = http.delete(f"/v1/jobs/{identity}")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert time.monotonic() - began < CANCEL_S
    assert http.delete(f"/v1/jobs/{identity}").json() == {"id": identity, "state": "removed"}
    assert http.get(f"/v1/jobs/{identity}").json()["error"]["code"] == "job_not_found"


@pytest.mark.alone
def test_a_running_job_is_cancelled(http: httpx.Client, long_film: Path) -> None:
    identity = submit_job(http, long_film, hop_s=0.03)["id"]
    until(lambda: windows_done(http, identity) > 0, 30)
    cancelled_within_2_s(http, identity)


def test_job_is_cancelled_while_it_waits_in_queue(stack: Stack, http: httpx.Client, long_film: Path) -> None:
    stack.supervisorctl("stop", "jobs")
    try:
        result = submit_job(http, long_film)
        assert (result["state"], result["progress"]["position"]) == ("queued", 1)
        cancelled_within_2_s(http, result["id"])
    finally:
        stack.supervisorctl("start", "jobs")


@pytest.mark.alone
def test_job_is_cancelled_in_middle_of_decoding(http: httpx.Client, long_film: Path, tmp_path: Path) -> None:
    # One window a minute: nearly all of the time is decoding
    repeat_film(tmp_path / "longer.mp4", long_film.read_bytes(), seconds=900)
    identity = submit_job(http, tmp_path / "longer.mp4", hop_s=60)["id"]
    until(lambda: windows_done(http, identity) > 0, 30)
    cancelled_within_2_s(http, identity)


@pytest.mark.alone
def test_a_job_is_cancelled_while_triton_is_silent(stack: Stack, http: httpx.Client, long_film: Path) -> None:
    identity = submit_job(http, long_film, hop_s=0.03)["id"]
    until(lambda: windows_done(http, identity) > 0, 30)
    triton = int(stack.supervisorctl("pid", "triton"))
    os.kill(triton, signal.SIGSTOP)
    try:
        cancelled_within_2_s(http, identity)
    finally:
        os.kill(triton, signal.SIGCONT)
    stack.wait(30)


def test_job_yields_while_uploads_wait(stack: Stack, http: httpx.Client, long_film: Path) -> None:
    flag, over = stack.run_dir / "web" / "waiting", threading.Event()
    waiting = UploadWaitingFlag(flag)

    def wait() -> None:
        while not over.wait(RECENT_S / 4):
            waiting.touch()

    uploads = threading.Thread(target=wait)
    uploads.start()
    try:
        until(flag.exists, 10)
        identity = submit_job(http, long_film)["id"]
        until(lambda: windows_done(http, identity) > 0, MAX_YIELD_S + 30)  # the job still makes progress
        before, since = windows_done(http, identity), time.monotonic()
        until(lambda: windows_done(http, identity) >= before + GROUP, 3 * MAX_YIELD_S + 10)
        assert time.monotonic() > since + MAX_YIELD_S / 2  # without yielding it takes a fraction of a second
    finally:
        over.set()
        uploads.join()
        flag.unlink(missing_ok=True)
    assert wait_for_job(http, identity)["state"] == "done"


def test_aborted_upload_makes_no_job(stack: Stack, http: httpx.Client, long_film: Path) -> None:
    before = http.get("/v1/jobs").json()["jobs"]
    with socket.create_connection(("127.0.0.1", stack.settings.port)) as connection:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {long_film.stat().st_size}\r\n\r\n"
        connection.sendall(head.encode() + long_film.read_bytes()[:-1000])
        until(lambda: any((stack.run_dir / "uploads").iterdir()), 10)
    until(lambda: not any((stack.run_dir / "uploads").iterdir()), 2)
    assert http.get("/v1/jobs").json()["jobs"] == before


def test_idempotency_key_sent_twice_makes_one_job(http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "zoom_in", seconds=1)
    send = {"content": film.read_bytes(), "headers": {"Idempotency-Key": f"key {tmp_path}"}}
    first, second = http.post("/v1/jobs", **send), http.post("/v1/jobs", **send)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert http.post("/v1/jobs", params={"top_k": 1}, **send).json()["error"]["code"] == "idempotency_conflict"


@pytest.mark.parametrize(
    ("params", "content", "status", "code"),
    [
        ({}, b"", 400, "empty_file"),
        ({}, b"hello", 415, "unsupported_media"),
        ({}, b"\x89PNG\r\n\x1a\n", 422, "wrong_media_kind"),
        ({"hop_s": "nan"}, b"x", 400, "invalid_parameter"),
        ({"hop_s": "0"}, b"x", 400, "invalid_parameter"),
        ({"margin": "2"}, b"x", 400, "invalid_parameter"),
        ({"model": "nobody"}, b"GIF89a", 404, "model_not_found"),
    ],
)
def test_obvious_errors_are_refused_at_once(
    http: httpx.Client, params: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = http.post("/v1/jobs", params=params, content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_damaged_video_is_refused_at_submission(http: httpx.Client) -> None:
    before = len(http.get("/v1/jobs", params={"limit": 500}).json()["jobs"])
    answer = http.post("/v1/jobs", content=b"GIF89a" + bytes(100))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "undecodable")
    assert len(http.get("/v1/jobs", params={"limit": 500}).json()["jobs"]) == before


def test_job_of_a_video_damaged_later_on_fails(http: httpx.Client, stack: Stack, long_film: Path) -> None:
    stack.supervisorctl("stop", "jobs")
    try:
        identity = submit_job(http, long_film)["id"]
        (stack.settings.data_dir / "jobs" / identity / "source").write_bytes(b"GIF89a" + bytes(100))
    finally:
        stack.supervisorctl("start", "jobs")
    job = wait_for_job(http, identity)
    assert (job["state"], job["error"]["code"]) == ("failed", "undecodable")
