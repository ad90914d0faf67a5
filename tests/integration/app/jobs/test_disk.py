"""Jobs on a disk that is full, and jobs that share files with others."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.errors import StorageFull
from app.inference.model import Model
from app.jobs.service import JobService
from app.jobs.storage.journal import read
from app.jobs.storage.records import JobSpec
from app.jobs.storage.store import Job
from app.jobs.worker import Worker
from app.media.types import Media, Source
from app.pipeline.cache import ResultCache
from app.settings import Settings
from app.timeline.scan import ScanStarted
from app.timeline.services import TimelineSink
from app.timeline.windows import Grid
from tests.support.doctor import file_system
from tests.support.redis_server import running_redis

SPEC = JobSpec("", "", "film.mp4", 10, "m", None, None, 0.5, 5)
MODEL = Model("m", "1", "video", 2, 1, 30.0, 8, 8, "x", ("a",))
MEDIA = Media("video", "mp4", "h264", 8, 8, 0, 100.0, 30.0, 3000)
GRID = Grid(2, 1.0, 1.0)
WINDOWS = GRID.fit(99.0).count


@pytest.fixture
def disk() -> Iterator[Path]:
    try:
        with file_system("size=16m") as folder:
            yield folder
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")


def fill(disk: Path) -> Path:
    """Fill the disk; removing the file makes room again."""
    path = disk / "filling"
    with path.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            return path
    return path


class Windows:
    """A pipeline that records all windows of a video, and calls a function before one of them."""

    def __init__(self, model: Model = MODEL, before: int = -1, do: Callable[[], object] = lambda: None) -> None:
        self._model, self._before, self._do = model, before, do
        self.tries = 0

    def timeline(self, _source: Source, _question: object, recorder: TimelineSink, _stopped: object) -> None:
        self.tries += 1
        first = recorder.resume(self._model, GRID)
        recorder.start(self._model, MEDIA, ScanStarted(GRID.fit(99.0), 100.0, 1000, False))
        for index in range(first, WINDOWS):
            if index == self._before:
                self._before = -1
                self._do()
            recorder.add_picture(index, np.full((2, 8, 8, 3), index % 256, np.uint8))
            recorder.add_window(index, False, np.float32([1]))
        recorder.finish(1.0, 1.0)


def worker(service: JobService, pipeline: object, results_mb: int = 0) -> Worker:
    results = ResultCache(service.folder.path.with_name("results"), results_mb << 20)
    return Worker(service.folder, service.queue, pipeline, results, None)  # type: ignore[arg-type]


@contextmanager
def opened(data_dir: Path, queue: str = "") -> Iterator[JobService]:
    service = JobService(dataclasses.replace(Settings.from_environment({}), data_dir=data_dir, queue=queue))
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(params=["sqlite", "redis"])
def full(request: pytest.FixtureRequest, disk: Path, tmp_path: Path) -> Iterator[JobService]:
    """A job service with its data on the small disk; its queue is there too, or in a Redis with room."""
    if request.param == "sqlite":
        with opened(disk / "data") as service:
            yield service
    else:
        with running_redis(tmp_path) as address, opened(disk / "data", address) as service:
            yield service


@pytest.fixture
def upload(tmp_path: Path) -> Source:
    (tmp_path / "upload").write_bytes(b"0123456789")
    return Source(str(tmp_path / "upload"), 0, 10)


def test_full_disk_refuses_jobs_and_counts_no_attempt(full: JobService, disk: Path, upload: Source) -> None:
    job, _ = full.accept(SPEC, upload, None)
    filling = fill(disk)
    with pytest.raises(StorageFull):
        full.accept(SPEC, upload, None)
    assert full.newest(9, None)[0][0].id == job.id
    pipeline = Windows()
    for _ in range(5):
        worker(full, pipeline).work(job.id)
    filling.unlink()
    assert (pipeline.tries, job.state().state, job.state().tries) == (0, "queued", 0)
    worker(full, pipeline).work(job.id)
    result = job.state()
    assert (result.state, result.deaths, result.falls) == ("done", 0, 0)
    assert full.accept(SPEC, upload, None)[1]


@pytest.mark.parametrize("before", [0, 40, WINDOWS - 1])
def test_disk_full_does_not_count_as_an_attempt(full: JobService, disk: Path, upload: Source, before: int) -> None:
    job, _ = full.accept(SPEC, upload, None)
    filling = list[Path]()
    pipeline = Windows(before=before, do=lambda: filling.append(fill(disk)))
    at_work = threading.Thread(target=worker(full, pipeline).work, args=(job.id,))
    at_work.start()
    at_work.join(1.5)
    assert filling and at_work.is_alive()  # it waits for room and keeps the job
    with job.locked() as mine:
        assert not mine
    filling[0].unlink()
    at_work.join(10)
    assert not at_work.is_alive()
    result = job.state()
    assert (result.state, result.tries, result.deaths, result.error) == ("queued", 0, 0, None)
    worker(full, pipeline).work(job.id)
    assert job.state().state == "done"
    assert len(read(job.journal).scores) == WINDOWS


def test_stopping_worker_does_not_wait_for_room(full: JobService, disk: Path, upload: Source) -> None:
    job, _ = full.accept(SPEC, upload, None)
    filling = list[Path]()
    ending = worker(full, Windows(before=5, do=lambda: filling.append(fill(disk))))
    at_work = threading.Thread(target=ending.work, args=(job.id,))
    at_work.start()
    at_work.join(1.0)
    ending.stop()
    at_work.join(10)
    assert not at_work.is_alive()
    filling[0].unlink()
    worker(full, Windows()).work(job.id)
    assert job.state().state == "done"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    with opened(tmp_path / "data") as service:
        yield service


def linked_jobs(service: JobService, upload: Source) -> tuple[Job, Job]:
    """Return a finished job, and another of the same video whose journal and pictures are hard links to the first's."""
    first, _ = service.accept(SPEC, upload, None)
    second, _ = service.accept(SPEC, upload, None)
    worker(service, Windows(), 1).work(first.id)
    worker(service, Windows(), 1).work(second.id)
    assert (first.state().cache, second.state().cache) == ("miss", "hit")
    assert os.path.samefile(first.journal, second.journal)
    return first, second


def test_retry_with_another_model_keeps_the_old_journal(service: JobService, upload: Source) -> None:
    first, second = linked_jobs(service, upload)
    journal, pictures = first.journal.read_bytes(), {path: path.read_bytes() for path in first.pictures.iterdir()}
    (second.path / "state.json").write_text('{"state": "running"}')  # killed before it wrote its final state
    other = dataclasses.replace(MODEL, version="2")
    worker(service, Windows(other)).work(second.id)
    assert second.state().state == "done" and not os.path.samefile(first.journal, second.journal)
    assert first.journal.read_bytes() == journal
    assert {path: path.read_bytes() for path in first.pictures.iterdir()} == pictures
    assert len(read(first.journal).scores) == len(read(second.journal).scores) == WINDOWS


def test_retry_writes_a_new_journal(service: JobService, upload: Source) -> None:
    first, second = linked_jobs(service, upload)
    os.truncate(first.journal, first.journal.stat().st_size - 100)  # through the link both lose their last windows
    journal = first.journal.read_bytes()
    (second.path / "state.json").write_text('{"state": "running"}')
    worker(service, Windows()).work(second.id)
    assert first.journal.read_bytes() == journal
    assert len(read(second.journal).scores) == WINDOWS


def test_damaged_result_is_not_reused(service: JobService, upload: Source) -> None:
    first, second = linked_jobs(service, upload)
    third, _ = service.accept(SPEC, upload, None)
    first.journal.write_bytes(b"")
    worker(service, Windows(), 1).work(third.id)
    assert (third.state().state, third.state().cache) == ("done", "miss")
    assert len(read(third.journal).scores) == WINDOWS
    assert second.state().state == "done"


def test_job_without_its_video_fails(service: JobService, upload: Source) -> None:
    job, _ = service.accept(SPEC, upload, None)
    job.source.unlink()
    worker(service, Windows(), 1).work(job.id)
    result = job.state()
    assert result.state == "failed" and result.error is not None and "not there" in result.error["message"]
