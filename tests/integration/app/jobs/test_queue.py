"""The job queue, the same on SQLite and on a real Redis."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app import damaged
from app.jobs.queue import Queue
from tests.support.redis_server import running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with running_redis(tmp_path) as address:
        yield address


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
    """Run all tasks that are due and return their ids."""
    done: list[str] = []
    queue.set_handler(done.append)
    queue.huey.storage.blocking = False
    while (task := queue.huey.dequeue()) is not None:
        queue.huey.execute(task)
    return done


def test_queue_is_first_in_first_out(queue: Queue) -> None:
    for job_id in "abc":
        queue.put(job_id)
    assert queue.waiting() == ["a", "b", "c"]
    assert taken(queue) == ["a", "b", "c"]
    assert queue.waiting() == []


def test_delayed_job_is_known_and_not_started(queue: Queue) -> None:
    queue.put("later", delay_s=60)
    queue.put("now")
    assert taken(queue) == ["now"]
    assert queue.waiting() == ["later"]


def test_other_processes_see_the_same_queue(queue: Queue, place: str, tmp_path: Path) -> None:
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


NO_DATABASE = b"this is no database " * 500


def damage(folder: Path) -> None:
    """Overwrite the file's bytes in place, while others have it open."""
    (folder / "queue.db").write_bytes(NO_DATABASE)


def test_damaged_file_is_set_aside_at_start(tmp_path: Path) -> None:
    damage(tmp_path)
    with closing(Queue("", tmp_path)) as queue:
        queue.put("a")
        assert taken(queue) == ["a"]
    assert (tmp_path / "queue.db.damaged").read_bytes() == NO_DATABASE


def test_open_damaged_file_is_replaced(tmp_path: Path) -> None:
    with closing(Queue("", tmp_path)) as old:
        old.put("before")
        damage(tmp_path)
        with closing(Queue("", tmp_path)) as new:
            new.put("a")
            old.put("b")
            assert old.waiting() == new.waiting() == ["a", "b"]
            assert taken(old) == ["a", "b"]
            assert new.waiting() == []


@pytest.mark.parametrize("what", ["a folder", "a full folder", "a FIFO", "a link to nowhere", "a log that is a folder"])
def test_folder_or_fifo_in_place_of_the_file_is_set_aside(tmp_path: Path, what: str) -> None:
    path = tmp_path / "queue.db"
    match what:
        case "a folder":
            path.mkdir()
        case "a full folder":
            (path / "deeper").mkdir(parents=True)
        case "a FIFO":
            os.mkfifo(path)
        case "a link to nowhere":
            path.symlink_to("nowhere/at/all")
        case _:
            path.with_name("queue.db-wal").mkdir()
    with closing(Queue("", tmp_path)) as queue:
        queue.put("a")
        assert taken(queue) == ["a"]
    assert damaged.count(tmp_path)["queue"] == 1


def test_missing_tables_are_created_again(tmp_path: Path) -> None:
    with closing(Queue("", tmp_path)) as queue:
        queue.put("before")
        with closing(sqlite3.connect(tmp_path / "queue.db")) as other:
            other.execute("drop table task")
        with pytest.raises(sqlite3.DatabaseError):
            queue.put("a")
        queue.put("b")
        assert taken(queue) == ["b"]


def test_damage_found_during_use_is_one_error(tmp_path: Path) -> None:
    with closing(Queue("", tmp_path)) as queue:
        for number in range(300):
            queue.put(f"job {number}")
        queue.huey.storage.sql("pragma wal_checkpoint(truncate)")
        queue.huey.storage.close()
        path = tmp_path / "queue.db"
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))  # it still opens as a database
        with pytest.raises(sqlite3.DatabaseError):
            queue.waiting()
        assert queue.waiting() == []
        queue.put("a")
        assert taken(queue) == ["a"]
    assert (tmp_path / "queue.db.damaged").exists()


def test_locked_database_is_not_damage(tmp_path: Path) -> None:
    with closing(Queue("", tmp_path)) as queue, closing(sqlite3.connect(tmp_path / "queue.db")) as other:
        queue.put("a")
        queue.huey.storage.sql("pragma busy_timeout=10")
        other.isolation_level = None
        other.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError):
            queue.put("b")
        other.execute("rollback")
        assert queue.waiting() == ["a"]
    assert not list(tmp_path.glob("*.damaged"))
