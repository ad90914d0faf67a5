"""The job queue, the same on SQLite and on a real Redis."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.queue import Queue
from deploy.ports import free_ports
from tests.stack.running import until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if not program:
        pytest.skip("no redis-server: install Debian's package")
    (port,) = free_ports(1)
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until(
                lambda: subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).returncode == 0, 10
            )
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("redis"))


@pytest.fixture
def queue(place: str, tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(place, tmp_path)
    queue.clear()
    yield queue
    queue.close()


def taken(queue: Queue) -> list[str]:
    """Ids of all that may be done now, after doing it."""
    done: list[str] = []
    queue.works_with(done.append)
    queue.huey.storage.blocking = False
    while (task := queue.huey.dequeue()) is not None:
        queue.huey.execute(task)
    return done


def test_the_first_in_is_the_first_out(queue: Queue) -> None:
    for identity in "abc":
        queue.put(identity)
    assert queue.waiting() == ["a", "b", "c"]
    assert taken(queue) == ["a", "b", "c"]
    assert queue.waiting() == []


def test_what_is_to_wait_is_known_and_not_yet_done(queue: Queue) -> None:
    queue.put("later", delay_s=60)
    queue.put("now")
    assert taken(queue) == ["now"]
    assert queue.waiting() == ["later"]


def test_another_process_s_connection_sees_the_same_queue(queue: Queue, place: str, tmp_path: Path) -> None:
    queue.put("a")
    other = Queue(place, tmp_path)
    try:
        assert other.waiting() == ["a"]
        assert taken(other) == ["a"]
        assert queue.waiting() == []
    finally:
        other.close()


def test_no_pickle_is_ever_stored(queue: Queue) -> None:
    queue.put("a")
    (stored,) = queue.huey.storage.enqueued_items()
    assert bytes(stored).startswith(b'["')
