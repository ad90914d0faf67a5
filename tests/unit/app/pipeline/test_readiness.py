"""What web workers tell each other: facts in files that are locked for as long as their worker lives."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.pipeline.readiness import Facts, WorkerRegistry, expect

WARM = Facts(serves=True, decoders=2, cold="", triton=True, region=True, clip="")
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    expect(tmp_path / "crew", 2)
    return tmp_path / "crew"


def _live(folder: Path, facts: Facts, told: "multiprocessing.connection.Connection") -> None:
    WorkerRegistry(folder).tell(facts)
    told.send("told")
    told.recv()  # until it is killed


@contextmanager
def colleague(folder: Path, facts: Facts) -> Iterator[Callable[[], None]]:
    """Another worker, a real process; what is handed out kills it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_live, args=(folder, facts, theirs), daemon=True)
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
    crew = WorkerRegistry(folder)
    with colleague(folder, WARM):
        crew.tell(replace(WARM, **missing))
        assert crew.lacking() == [f"1 of 2 web workers: {words}"]
        crew.tell(WARM)
        assert crew.lacking() == []
    crew.leave()


def test_what_nobody_has_told_is_missing_too(folder: Path) -> None:
    crew = WorkerRegistry(folder)
    assert crew.lacking() == ["2 of 2 web workers: not there yet"]
    crew.tell(WARM)
    assert crew.lacking() == ["1 of 2 web workers: not there yet"]
    crew.leave()


def test_killed_worker_does_not_count(folder: Path) -> None:
    crew = WorkerRegistry(folder)
    crew.tell(WARM)
    with colleague(folder, WARM) as kill:
        assert crew.lacking() == [] and len(crew.living()) == 2
        kill()
        assert crew.living() == [WARM] and crew.lacking() == []
        assert len(list(folder.iterdir())) == 1
    with colleague(folder, Facts()):
        assert crew.lacking() == [] and len(crew.living()) == 2
    crew.leave()
    assert crew.living() == [] and list(folder.iterdir()) == []


def test_a_later_one_that_takes_requests_and_is_not_warm_counts(folder: Path) -> None:
    crew = WorkerRegistry(folder)
    crew.tell(WARM)
    with colleague(folder, WARM):
        assert crew.lacking() == []
    with colleague(folder, replace(WARM, triton=False)):
        assert crew.lacking() == ["1 of 2 web workers: has not reached Triton"]
    crew.leave()


def test_a_new_start_knows_nothing_of_those_before(folder: Path) -> None:
    with colleague(folder, WARM):
        expect(folder, 1)
        assert WorkerRegistry(folder).lacking() == ["1 of 1 web workers: not there yet"]


def test_without_a_folder_a_worker_knows_itself_alone(tmp_path: Path) -> None:
    crew = WorkerRegistry(tmp_path / "no" / "such")
    assert crew.lacking() == []
    crew.tell(replace(WARM, triton=False))
    assert crew.lacking() == ["1 of 1 web workers: has not reached Triton"]
    crew.tell(WARM)
    assert crew.lacking() == []
    crew.leave()
    crew.leave()
