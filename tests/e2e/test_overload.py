"""Overload: admitted requests are answered in time, all others get Retry-After at once."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from PIL import Image

from bench.tools.overload import demo_clip, measured
from deploy.stack.launch import NICE
from deploy.stack.stack import Stack
from tests.support import scripted_model
from tests.support.stack_state import pid_of
from tests.support.stacks import running_stack, until

SOON_MS = 300


@pytest.fixture(scope="module")
def narrow() -> Iterator[Stack]:
    """A stack with one running and one waiting request, and a model that waits on demand."""
    settings = {"web_workers": "1", "max_inflight": "1", "max_queue": "1", "decoders": "1", "model": "scripted"}
    with running_stack(wait=False, models=(), add_models=scripted_model.add, **settings) as stack:
        yield stack


def picture(action: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (action, action, action)).save(file, "PNG")
    return file.getvalue()


def code(stack: Stack, action: int = scripted_model.ANSWER) -> str:
    """Return `ok` or the error code of a request with a short deadline."""
    answer = httpx.post(
        f"{stack.url}/v1/classify", content=picture(action), headers={"X-Deadline-Ms": str(SOON_MS)}, timeout=20
    )
    if answer.status_code == 503:
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
    return "ok" if answer.status_code == 200 else answer.json()["error"]["code"]


def test_ten_times_the_capacity(stack):
    result = asyncio.run(measured(stack, demo_clip(), factor=10, seconds=2, clients=(4,)))

    overload = result["overload"]
    assert set(overload["statuses"]) == {"200", "503"}, overload
    assert set(overload["codes"]) == {"overloaded"}
    assert overload["refused_without_retry_after"] == 0
    assert overload["admitted"]["most_ms"] <= result["deadline_ms"]
    assert result["normal_after_s"] is not None


@contextmanager
def working(stack: Stack) -> Iterator[threading.Thread]:
    """Keep one request running until the block ends."""
    released = stack.model_dir / "scripted" / scripted_model.RELEASED
    content = picture(scripted_model.CALCULATE)
    request = threading.Thread(
        target=httpx.post, args=(f"{stack.url}/v1/classify",), kwargs={"content": content, "timeout": 60}
    )
    request.start()
    try:
        yield request
    finally:
        released.touch()
        request.join()
        released.unlink()


def test_disconnect_and_deadline_free_the_queue_place(narrow):
    with working(narrow) as request:
        until(lambda: code(narrow) == "deadline_exceeded", 10)  # it runs, and the queue is empty

        address, content = httpx.URL(narrow.url), picture(scripted_model.ANSWER)
        head = f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
        with socket.create_connection((address.host, address.port), timeout=10) as connection:
            connection.sendall(head.encode() + content)
            until(lambda: code(narrow) == "overloaded", 10)  # the queue has one
        until(lambda: code(narrow) == "deadline_exceeded", 10)  # and now it has none
        assert request.is_alive(), "the first request had ended too"
    until(lambda: code(narrow) == "ok", 10)


@pytest.mark.parametrize("text", ["0", "soon", "-5", "99999999"])
def test_invalid_deadline_is_refused(stack, text):
    answer = httpx.post(f"{stack.url}/v1/classify", content=b"x", headers={"X-Deadline-Ms": text}, timeout=20)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


def test_forged_upload_headers_are_ignored(stack):
    headers = {"X-Handed-Over": "1.0", "X-Deadline-Ms": "20000"}
    answer = httpx.post(f"{stack.url}/v1/classify", content=demo_clip(), headers=headers, timeout=30)

    assert answer.status_code == 200, answer.text


def test_triton_and_jobs_have_lower_priority(stack):
    programs = ("nginx", "web", "triton", "jobs")
    nice = {name: os.getpriority(os.PRIO_PROCESS, pid_of(stack, name)) for name in programs}

    assert nice["nginx"] == nice["web"]
    assert nice["triton"] == nice["jobs"] == min(19, nice["web"] + NICE["triton"])


def test_readiness_shows_running_and_waiting_requests(stack):
    admission = httpx.get(f"{stack.url}/readyz", timeout=20).json()["admission"]

    assert set(admission) == {"limit", "at_work", "waiting", "admitted", "refused"}
    assert 1 <= admission["limit"] <= stack.settings.max_inflight


def test_nginx_refuses_uploads_while_web_is_full(stack):
    flag = stack.run_dir / "web" / "shut" / "everybody"
    flag.touch()
    with socket.create_connection((stack.settings.host, stack.settings.port), timeout=10) as client:
        client.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nand no more")
        answer = client.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 503 ") and b'"code":"overloaded"' in answer and b"Retry-After: " in answer
    assert not list((stack.run_dir / "uploads").iterdir())
    assert httpx.get(f"{stack.url}/v1/models", timeout=10).status_code == 200
    until(lambda: not flag.exists(), 10)  # nothing renews it
    assert httpx.post(f"{stack.url}/v1/classify?model=frame_quality", content=picture(1), timeout=20).status_code == 200
