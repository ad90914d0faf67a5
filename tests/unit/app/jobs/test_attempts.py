"""Attempts at a job: how many failures and deaths of workers end it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.errors import NotReady
from app.inference.model import Model
from app.jobs.attempt import MAX_DEATHS, MAX_FALLS
from app.jobs.service import JobService
from app.jobs.storage.journal import read
from app.jobs.worker import Worker
from app.media.types import Media, Source
from app.pipeline.cache import ResultCache
from app.timeline.scan import ScanStarted
from app.timeline.services import TimelineSink
from app.timeline.windows import Grid
from tests.unit.app.jobs.records import JOB_SPEC

MODEL = Model("m", "1", "video", 2, 1, 30.0, 8, 8, "x", ("a",))
MEDIA = Media("video", "mp4", "h264", 8, 8, 0, 100.0, 30.0, 3000)
GRID = Grid(2, 1.0, 1.0)


class FailingPipeline:
    """A pipeline that raises `fault` at every attempt."""

    def __init__(self, fault: BaseException) -> None:
        self.fault, self.runs = fault, 0

    def timeline(self, *_: object) -> None:
        self.runs += 1
        raise self.fault


def worker(service: JobService, pipeline: FailingPipeline, tmp_path: Path, parent_id: str = "") -> Worker:
    results = ResultCache(tmp_path / "results", 0)
    return Worker(service.folder, service.queue, pipeline, results, None, parent_id)  # type: ignore[arg-type]


def test_third_failure_at_one_window_ends_the_job(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    pipeline = FailingPipeline(NotReady("the model server is away"))
    for _ in range(5):
        worker(service, pipeline, tmp_path).work(job.id)
    result = job.state()
    assert (result.state, result.tries, pipeline.runs) == ("failed", 3, 3)
    assert result.error == {"code": "not_ready", "message": "the model server is away"}


@pytest.mark.parametrize(
    ("parent_ids", "max_tries"),
    [("aaaa", MAX_DEATHS), ("abcdefghijk", MAX_FALLS), ("abbbb", MAX_DEATHS + 1)],
    ids=["alone", "all", "both"],
)
def test_job_survives_more_deaths_when_all_workers_die(
    service: JobService, upload: Source, tmp_path: Path, parent_ids: str, max_tries: int
) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    pipeline = FailingPipeline(KeyboardInterrupt())  # ends the attempt like a kill
    for parent_id in parent_ids[:-1]:
        with pytest.raises(KeyboardInterrupt):
            worker(service, pipeline, tmp_path, parent_id).work(job.id)
        assert (job.state().state, job.state().tries) == ("running", 1)
    worker(service, pipeline, tmp_path, parent_ids[-1]).work(job.id)
    result = job.state()
    assert (result.state, pipeline.runs) == ("failed", max_tries)
    assert result.error is not None and f"{max_tries} workers" in result.error["message"]


class OneWindowPipeline(FailingPipeline):
    """Classify one more window in every attempt, then fail."""

    def timeline(self, _source: Source, _question: object, recorder: TimelineSink, _stopped: object) -> None:
        first = recorder.resume(MODEL, GRID)
        recorder.start(MODEL, MEDIA, ScanStarted(GRID.fit(99.0), 100.0, 1000, False))
        recorder.add_window(first, False, np.zeros(1, np.float32))
        super().timeline()


def test_job_with_progress_between_kills_is_never_failed(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(JOB_SPEC, upload, None)
    for _ in range(MAX_DEATHS + 2):
        with pytest.raises(KeyboardInterrupt):
            worker(service, OneWindowPipeline(KeyboardInterrupt()), tmp_path).work(job.id)
    assert (job.state().state, job.state().deaths) == ("running", 0)
    assert len(read(job.journal).scores) == MAX_DEATHS + 2
