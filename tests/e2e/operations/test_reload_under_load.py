"""Parts are restarted under load without a failed request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.support.movements import film_movement
from tests.support.stack_state import pid_of, ready
from tests.support.stacks import until

CLIENTS = 4
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("films") / "film.mp4", "pan_left").read_bytes()


@contextmanager
def under_load(stack: Stack, film: bytes) -> Iterator[Counter[str]]:
    """Run clients for the block; yields counts by best label or error, complete after the block."""
    counts: Counter[str] = Counter()
    enough = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=stack.url, timeout=60) as http:
            while not enough.is_set():
                try:
                    answer = http.post("/v1/classify", content=film)
                except httpx.HTTPError as error:
                    counts[repr(error)] += 1
                    continue
                counts[answer.json()["predictions"][0]["label"] if answer.status_code == 200 else answer.text] += 1

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        enough.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("words", [("restart", "triton"), ("signal", "KILL", "triton")], ids=" ".join)
def test_requests_wait_for_a_restarted_triton(stack: Stack, film: bytes, words: tuple[str, ...]) -> None:
    before = pid_of(stack, "triton")
    with under_load(stack, film) as labels:
        until(lambda: labels["pan_left"] >= CLIENTS, PATIENCE_S)
        stack.supervisorctl(*words)
        until(lambda: pid_of(stack, "triton") not in (0, before) and ready(stack), PATIENCE_S)
        then = labels["pan_left"]
        until(lambda: labels["pan_left"] >= then + 4 * CLIENTS, PATIENCE_S)
    assert set(labels) == {"pan_left"}


@pytest.mark.parametrize("program", ["web", "nginx"])
def test_reload_fails_no_request(stack: Stack, film: bytes, program: str) -> None:
    before = set(stack.processes())
    with under_load(stack, film) as labels:
        until(lambda: labels["pan_left"] >= CLIENTS, PATIENCE_S)
        stack.supervisorctl("signal", "HUP", program)
        until(lambda: len(set(stack.processes()) - before) >= 2 and ready(stack), PATIENCE_S)  # its new workers
        then = labels["pan_left"]
        until(lambda: labels["pan_left"] >= then + 4 * CLIENTS, PATIENCE_S)
    assert set(labels) == {"pan_left"}
