"""The registry of web workers: status files that are locked while their worker lives."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.pipeline.readiness import WorkerRegistry, WorkerStatus, expect

WARM = WorkerStatus(serves=True, decoders=2, cold="", triton=True, region=True, clip="")
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    expect(tmp_path / "registry", 2)
    return tmp_path / "registry"


def _publish(folder: Path, status: WorkerStatus, pipe: "multiprocessing.connection.Connection") -> None:
    WorkerRegistry(folder).publish(status)
    pipe.send("published")
    pipe.recv()  # blocks until the process is killed


@contextmanager
def other_worker(folder: Path, status: WorkerStatus) -> Iterator[Callable[[], None]]:
    """Run another worker as a real process; yields a function that kills it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_publish, args=(folder, status, theirs), daemon=True)
    process.start()

    def kill() -> None:
        process.kill()
        process.join()

    try:
        assert ours.poll(30) and ours.recv() == "published"
        yield kill
    finally:
        kill()
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"cold": "its decoders have not started"}, "its decoders have not started"),
        ({"triton": False}, "has not reached Triton"),
        ({"region": False}, "its memory is not yet known to Triton"),
        ({"clip": "a clip of its own was not answered: slow"}, "a clip of its own was not answered: slow"),
        ({"serves": False}, "about to take requests"),
    ],
)
def test_missing_step_of_a_worker_is_named(folder: Path, missing: dict[str, object], words: str) -> None:
    registry = WorkerRegistry(folder)
    with other_worker(folder, WARM):
        registry.publish(replace(WARM, **missing))
        assert registry.missing() == [f"1 of 2 web workers: {words}"]
        registry.publish(WARM)
        assert registry.missing() == []
    registry.leave()


def test_workers_without_status_are_missing(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    assert registry.missing() == ["2 of 2 web workers: not there yet"]
    registry.publish(WARM)
    assert registry.missing() == ["1 of 2 web workers: not there yet"]
    registry.leave()


def test_killed_worker_does_not_count(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    registry.publish(WARM)
    with other_worker(folder, WARM) as kill:
        assert registry.missing() == [] and len(registry.statuses()) == 2
        kill()
        assert registry.statuses() == [WARM] and registry.missing() == []
        assert len(list(folder.iterdir())) == 1
    with other_worker(folder, WorkerStatus()):
        assert registry.missing() == [] and len(registry.statuses()) == 2
    registry.leave()
    assert registry.statuses() == [] and list(folder.iterdir()) == []


def test_cold_replacement_worker_counts(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    registry.publish(WARM)
    with other_worker(folder, WARM):
        assert registry.missing() == []
    with other_worker(folder, replace(WARM, triton=False)):
        assert registry.missing() == ["1 of 2 web workers: has not reached Triton"]
    registry.leave()


def test_new_start_ignores_earlier_workers(folder: Path) -> None:
    with other_worker(folder, WARM):
        expect(folder, 1)
        assert WorkerRegistry(folder).missing() == ["1 of 1 web workers: not there yet"]


def test_worker_without_a_folder_knows_only_itself(tmp_path: Path) -> None:
    registry = WorkerRegistry(tmp_path / "no" / "such")
    assert registry.missing() == []
    registry.publish(replace(WARM, triton=False))
    assert registry.missing() == ["1 of 1 web workers: has not reached Triton"]
    registry.publish(WARM)
    assert registry.missing() == []
    registry.leave()
    registry.leave()
