"""Resumable uploads through nginx: broken links, killed programs, and what becomes of a complete upload."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.uploads import tus
from clipstack_client import Client, Progress, RequestRefused
from clipstack_client.sending.resumable import CHUNK_BYTES
from deploy.stack.stack import Stack
from tests.support.breaking_link import breaking_link
from tests.support.job_requests import wait_for_job
from tests.support.large_films import digest
from tests.support.leaks import descendants
from tests.support.stacks import until

MB = 1_000_000
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": tus.CHUNK_TYPE}
HEADS = 100_000  # bytes of all requests' headers, generously
# Bytes that a killed nginx or web worker had received and not yet written
IN_FLIGHT = 4 * MB


def create(http: httpx.Client, length: int, **headers: str) -> str:
    answer = http.post("/v1/uploads", headers=TUS | {"Upload-Length": str(length)} | headers)
    assert answer.status_code == 201, answer.text
    location: str = answer.headers["Location"]
    return location


def offset(http: httpx.Client, path: str) -> int:
    answer = http.head(path, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def source_of(stack: Stack, job_id: str) -> Path:
    return stack.settings.data_dir / "jobs" / job_id / "source"


def open_uploads(stack: Stack) -> list[Path]:
    return [path for path in stack.settings.resumable_dir.glob("*/*") if path.is_dir()]


def test_film_over_breaking_link_becomes_job(stack: Stack, http: httpx.Client, large_film: Path) -> None:
    with breaking_link(stack.settings.port, 20 * MB) as link, Client(link.url) as client:
        job = client.submit(large_film)
        assert link.breaks >= 2
        assert link.sent <= 1.1 * large_film.stat().st_size
    assert digest(source_of(stack, job.id)) == digest(large_film)
    record = wait_for_job(http, job.id)
    assert (record["state"], record["name"]) == ("done", "large.mp4")
    assert record["timeline"]["segments"][0]["label"] == "pan_left"
    assert open_uploads(stack) == []


def nginx_workers(stack: Stack) -> list[int]:
    return list(descendants(int(stack.supervisorctl("pid", "nginx"))))


def web_workers(stack: Stack) -> list[int]:
    master = int(stack.supervisorctl("pid", "web"))
    children = subprocess.run(["pgrep", "-P", str(master)], capture_output=True, text=True, check=True).stdout.split()
    return [int(pid) for pid in children]


def web_master(stack: Stack) -> list[int]:
    return [int(stack.supervisorctl("pid", "web"))]


@pytest.mark.parametrize("victims", [nginx_workers, web_workers, web_master])
def test_kill_in_middle_loses_at_most_one_chunk(
    stack: Stack, http: httpx.Client, large_film: Path, victims: Callable[[Stack], list[int]]
) -> None:
    killed: list[int] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "sending" and progress.sent > 30 * MB and not killed:
            killed.extend(victims(stack))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    with breaking_link(stack.settings.port) as link, Client(link.url) as client:
        job = client.submit(large_film, progress=watch)
        assert killed
        assert link.sent <= large_film.stat().st_size + CHUNK_BYTES + HEADS
    assert digest(source_of(stack, job.id)) == digest(large_film)
    stack.wait(60)


def test_killed_command_continues_at_next_run(stack: Stack, large_film: Path) -> None:
    with breaking_link(stack.settings.port) as link:
        command = [sys.executable, "-m", "clipstack_client", "timeline", "--detach", "--url", link.url, str(large_film)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: link.sent > 20 * MB, 30)
        process.kill()
        process.wait()
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert link.sent <= large_film.stat().st_size + CHUNK_BYTES + MB


def test_broken_chunk_without_checksum_is_kept(stack: Stack, http: httpx.Client) -> None:
    path = create(http, 30 * MB)
    content = bytes(30 * MB)
    with breaking_link(stack.settings.port, 20 * MB) as link, pytest.raises(httpx.TransportError):
        httpx.patch(link.url + path, content=content, headers=CHUNK | {"Upload-Offset": "0"}, timeout=30)
    until(lambda: offset(http, path) > 20 * MB - IN_FLIGHT, 10)
    began = offset(http, path)
    answer = http.patch(path, content=content[began:], headers=CHUNK | {"Upload-Offset": str(began)})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(30 * MB))
    assert http.delete(path, headers=TUS).status_code == 204


def test_second_writer_is_refused_with_retry_after(stack: Stack, http: httpx.Client) -> None:
    path = create(http, 10 * MB)

    def slowly():  # type: ignore[no-untyped-def]
        yield bytes(MB)
        until(lambda: offset(http, path) > 0, 10)
        began = time.monotonic()
        answer = http.patch(path, content=b"x", headers=CHUNK | {"Upload-Offset": "0"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (423, "upload_locked")
        assert time.monotonic() - began < 5
        yield bytes(9 * MB)

    headers = CHUNK | {"Upload-Offset": "0", "Content-Length": str(10 * MB)}
    assert http.patch(path, content=slowly(), headers=headers).status_code == 204
    assert http.delete(path, headers=TUS).status_code == 204


def test_refusal_reaches_client_that_sends_large_body(stack: Stack, http: httpx.Client) -> None:
    path = create(http, 8 * MB)
    answer = http.patch(path, content=bytes(4 * MB), headers=CHUNK | {"Upload-Offset": "9"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "offset_conflict")
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    http.delete(path, headers=TUS)


def test_lost_answer_gives_same_job_again(stack: Stack, http: httpx.Client, large_film: Path) -> None:
    film = large_film.read_bytes()
    path = create(http, len(film), **{"Upload-Metadata": "filename YS5tcDQ="})
    http.patch(path, content=film, headers=CHUNK | {"Upload-Offset": "0"})
    body, headers = {"upload": path.rpartition("/")[2]}, {"Idempotency-Key": "once"}
    first = http.post("/v1/jobs", json=body, headers=headers)
    assert (first.status_code, first.json()["name"]) == (202, "a.mp4")
    again = http.post("/v1/jobs", json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert http.post("/v1/jobs", json=body).json()["error"]["code"] == "upload_not_found"


def test_complete_upload_is_classified(stack: Stack, http: httpx.Client, large_film: Path) -> None:
    film = large_film.read_bytes()
    path = create(http, len(film))
    http.patch(path, content=film, headers=CHUNK | {"Upload-Offset": "0"})
    answer = http.post("/v1/classify", json={"upload": path.rpartition("/")[2], "top_k": 1})
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["label"] == "pan_left"
    assert http.head(path, headers=TUS).status_code == 404


def test_client_removes_file_that_is_no_video(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(b"no video\n" * 1000)
    with Client(stack.url, resumable_bytes=1) as client, pytest.raises(RequestRefused, match="this is text"):
        client.submit(path)
    assert open_uploads(stack) == []


def test_dead_connection_releases_its_upload(stack: Stack, http: httpx.Client) -> None:
    path = create(http, 10 * MB)
    with socket.create_connection(("127.0.0.1", stack.settings.port)) as dead:
        head = f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1:{stack.settings.port}\r\nTus-Resumable: 1.0.0\r\n"
        head += f"Content-Type: {tus.CHUNK_TYPE}\r\nUpload-Offset: 0\r\nContent-Length: {10 * MB}\r\n\r\n"
        dead.sendall(head.encode() + bytes(MB))  # then silence, as of a phone that has changed its network
        began = time.monotonic()
        until(lambda: offset(http, path) == MB, 20)

        def continued() -> bool:
            answer = http.patch(path, content=bytes(9 * MB), headers=CHUNK | {"Upload-Offset": str(MB)})
            assert answer.status_code in (204, 423), answer.text
            return answer.status_code == 204

        until(continued, 20)
        assert time.monotonic() - began < 20
    http.delete(path, headers=TUS)


def test_transfers_beyond_limit_are_refused_and_others_served(stack: Stack, http: httpx.Client) -> None:
    workers, limit = stack.settings.web_workers, stack.settings.max_transfers
    paths = [create(http, MB) for _ in range(workers * limit + 4)]
    with ExitStack() as cleanup:
        for path in paths:
            connection = cleanup.enter_context(socket.create_connection(("127.0.0.1", stack.settings.port)))
            head = f"PATCH {path} HTTP/1.1\r\nHost: 127.0.0.1:{stack.settings.port}\r\nTus-Resumable: 1.0.0\r\n"
            head += f"Content-Type: {tus.CHUNK_TYPE}\r\nUpload-Offset: 0\r\nContent-Length: {MB}\r\n\r\n"
            connection.sendall(head.encode() + b"x")
        statuses = []

        def refused() -> bool:
            path = create(http, MB)
            statuses.append(http.patch(path, content=b"x", headers=CHUNK | {"Upload-Offset": "0"}).status_code)
            http.delete(path, headers=TUS)
            return statuses[-1] == 503

        until(refused, 8)
        assert http.get("/v1/models").status_code == 200
    for path in paths:
        until(lambda path=path: http.delete(path, headers=TUS).status_code == 204, 20)  # type: ignore[misc]
