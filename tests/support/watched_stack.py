"""A stack for tests of its watchdog: two built-in models, the scripted ones, and clients under load."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.support import scripted_model
from tests.support.movements import film_movement
from tests.support.stack_state import watchdog_numbers
from tests.support.stacks import running_stack, until

DEAD_S, HUNG_S = 15.0, 20.0  # from the fault to right answers
BUILT_IN = ("camera_motion", "frame_quality")
DEFAULT = "camera_motion@1"
MODELS = (DEFAULT, "frame_quality@1", "scripted@1")


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    with running_stack(wait=False, models=BUILT_IN, add_models=scripted_model.add, web_workers="1") as stack:
        yield stack


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return film_movement(tmp_path_factory.mktemp("films") / "film.mp4", "pan_left").read_bytes()


@pytest.fixture
def watched(own: Stack) -> Stack:
    """The stack with a new watchdog, without a backoff from earlier restarts, that has seen all models answer."""
    own.supervisorctl("stop", "watchdog")
    (own.run_dir / paths.WATCHDOG_METRICS).unlink(missing_ok=True)
    own.wait(30)
    own.supervisorctl("start", "watchdog")
    until(lambda: all(watchdog_numbers(own).get(f'clipstack_model_answers{{model="{model}"}}') for model in MODELS), 10)
    return own


def server(stack: Stack) -> int:
    return int(stack.supervisorctl("pid", "triton"))


def classify(stack: Stack, film: bytes) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/classify", content=film, timeout=30)


def is_right(answer: httpx.Response) -> bool:
    """Return whether the answer has the right label and came through memory shared with the current Triton."""
    if answer.status_code != 200:
        return False
    body = answer.json()
    return (body["predictions"][0]["label"], body["transport"]) == ("pan_left", "system_shared_memory")


@contextmanager
def under_load(stack: Stack, film: bytes, clients: int) -> Iterator[Counter[int]]:
    """Run clients for the block; yields the counts of their statuses, 0 for a wrong answer."""
    counts, ends = Counter[int](), threading.Event()

    def client() -> None:
        while not ends.is_set():
            answer = classify(stack, film)
            counts[0 if answer.status_code == 200 and not is_right(answer) else answer.status_code] += 1
            if answer.status_code != 200:
                ends.wait(0.2)

    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(client) for _ in range(clients)]
        try:
            yield counts
        finally:
            ends.set()
    for item in futures:
        item.result()
