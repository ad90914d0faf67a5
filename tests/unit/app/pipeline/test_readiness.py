"""What web workers tell each other: facts in files that are locked for as long as their worker lives."""

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


def _live(folder: Path, status: WorkerStatus, told: "multiprocessing.connection.Connection") -> None:
    WorkerRegistry(folder).publish(status)
    told.send("told")
    told.recv()  # until it is killed


@contextmanager
def colleague(folder: Path, status: WorkerStatus) -> Iterator[Callable[[], None]]:
    """Another worker, a real process; what is handed out kills it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_live, args=(folder, status, theirs), daemon=True)
    process.start()

    def kill() -> None:
        process.kill()
        process.join()

    try:
        assert ours.poll(30) and ours.recv() == "told"
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
def test_what_a_worker_lacks_is_named(folder: Path, missing: dict[str, object], words: str) -> None:
    registry = WorkerRegistry(folder)
    with colleague(folder, WARM):
        registry.publish(replace(WARM, **missing))
        assert registry.missing() == [f"1 of 2 web workers: {words}"]
        registry.publish(WARM)
        assert registry.missing() == []
    registry.leave()


def test_what_nobody_has_told_is_missing_too(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    assert registry.missing() == ["2 of 2 web workers: not there yet"]
    registry.publish(WARM)
    assert registry.missing() == ["1 of 2 web workers: not there yet"]
    registry.leave()


def test_killed_worker_does_not_count(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    registry.publish(WARM)
    with colleague(folder, WARM) as kill:
        assert registry.missing() == [] and len(registry.statuses()) == 2
        kill()
        assert registry.statuses() == [WARM] and registry.missing() == []
        assert len(list(folder.iterdir())) == 1
    with colleague(folder, WorkerStatus()):
        assert registry.missing() == [] and len(registry.statuses()) == 2
    registry.leave()
    assert registry.statuses() == [] and list(folder.iterdir()) == []


def test_later_worker_that_is_cold_counts(folder: Path) -> None:
    registry = WorkerRegistry(folder)
    registry.publish(WARM)
    with colleague(folder, WARM):
        assert registry.missing() == []
    with colleague(folder, replace(WARM, triton=False)):
        assert registry.missing() == ["1 of 2 web workers: has not reached Triton"]
    registry.leave()


def test_a_new_start_knows_nothing_of_those_before(folder: Path) -> None:
    with colleague(folder, WARM):
        expect(folder, 1)
        assert WorkerRegistry(folder).missing() == ["1 of 1 web workers: not there yet"]


def test_without_a_folder_a_worker_knows_itself_alone(tmp_path: Path) -> None:
    registry = WorkerRegistry(tmp_path / "no" / "such")
    assert registry.missing() == []
    registry.publish(replace(WARM, triton=False))
    assert registry.missing() == ["1 of 1 web workers: has not reached Triton"]
    registry.publish(WARM)
    assert registry.missing() == []
    registry.leave()
    registry.leave()
