"""Jobs on disk: accepted whole, one for a key, locked by one, resumed from the journal, kept for so long."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from app.errors import IdempotencyConflict, JobNotFound, NotReady, Overloaded, StorageFull, TooManyRequests
from app.inference.decision import Selection
from app.inference.model import Model
from app.jobs.attempt import MAX_DEATHS, MAX_FALLS
from app.jobs.clock import Clock
from app.jobs.service import JobService
from app.jobs.storage.journal import Journal, read
from app.jobs.storage.records import JobSpec, JobState
from app.jobs.storage.retention import RetentionLimits, remove_expired
from app.jobs.storage.store import Job
from app.jobs.storage.window_pages import Page, stream_with_windows
from app.jobs.worker import Worker
from app.media.types import Media, Source
from app.pipeline.cache import ResultCache
from app.settings import Settings
from app.timeline.scan import ScanStarted
from app.timeline.services import TimelineSink
from app.timeline.windows import Grid
from app.web.job_serializers import record_json

ASKED = JobSpec("", "", "film.mp4", 10, "camera_motion", None, None, 0.5, 5)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobService]:
    settings = dataclasses.replace(Settings.from_environment({}), data_dir=tmp_path / "data", max_jobs=3)
    service = JobService(settings)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def upload(tmp_path: Path) -> Source:
    (tmp_path / "upload").write_bytes(b"0123456789")
    return Source(str(tmp_path / "upload"), 0, 10)


def test_accepted_job_is_on_disk_and_queued(service: JobService, upload: Source) -> None:
    job, new = service.accept(ASKED, upload, None)
    Path(upload.path).unlink()
    assert new
    assert job.source.read_bytes() == b"0123456789"
    assert service.queue.waiting() == [job.id]
    spec, state = service.read(service.find(job.id))
    assert (spec.name, state.state) == ("film.mp4", "queued")
    assert record_json(spec, state, service.queue_position(job.id))["progress"]["position"] == 1


def test_of_a_form_only_the_file_is_kept(service: JobService, upload: Source) -> None:
    job, _ = service.accept(dataclasses.replace(ASKED, bytes=4), Source(upload.path, 3, 4), None)
    assert job.source.read_bytes() == b"3456"


def test_a_key_has_one_job(service: JobService, upload: Source) -> None:
    first, new = service.accept(ASKED, upload, "a key")
    again, new_again = service.accept(ASKED, upload, "a key")
    other, _ = service.accept(ASKED, upload, "another key")
    assert (first.id, new, new_again) == (again.id, True, False)
    assert other.id != first.id
    with pytest.raises(IdempotencyConflict):
        service.accept(dataclasses.replace(ASKED, margin=0.9), upload, "a key")


def test_full_queue_and_full_disk_are_refused(service: JobService, upload: Source) -> None:
    with pytest.raises(StorageFull):
        service.accept(dataclasses.replace(ASKED, bytes=30 << 30), upload, None)
    for _ in range(3):
        service.accept(ASKED, upload, None)
    with pytest.raises(Overloaded):
        service.accept(ASKED, upload, None)


def test_one_job_has_one_worker(service: JobService, upload: Source) -> None:
    job, _ = service.accept(ASKED, upload, None)
    with job.locked() as mine, job.locked() as twice:
        assert (mine, twice) == (True, False)
    with job.locked() as mine:
        assert mine


def test_waiting_job_is_cancelled_at_once_and_then_removed(service: JobService, upload: Source) -> None:
    job, _ = service.accept(ASKED, upload, None)
    assert service.cancel_or_remove(job) == "cancelled"
    assert job.state().state == "cancelled"
    assert service.cancel_or_remove(job) == "removed"
    with pytest.raises(JobNotFound):
        service.find(job.id)
    with pytest.raises(JobNotFound):
        service.read(job)


@pytest.mark.parametrize("job_id", ["..", "../../etc", "x" * 24, "A" * 24, ""])
def test_what_is_no_id_is_no_job(service: JobService, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        service.find(job_id)


def test_truncated_record_is_dropped(tmp_path: Path) -> None:
    path, header = tmp_path / "journal", {"model": "m", "version": "1"}
    scores = np.array([0.25, 0.75], np.float32)
    journal = Journal(path, header, 2)
    for index in range(3):
        journal.append_window(index, index == 2, scores * index)
    journal.append_cut(1.5)
    journal.close()
    path.write_bytes(path.read_bytes()[:-5])  # the cut
    journal = Journal(path, header, 2)
    assert (len(journal.contents.scores), journal.contents.cuts_s) == (3, [])
    journal.append_cut(1.5)
    journal.append_window(3, False, scores)
    journal.close()
    found = read(path)
    np.testing.assert_array_equal(found.scores[:, 1], np.float32([0, 0.75, 1.5, 0.75]))
    assert found.padded.tolist() == [False, False, True, False]
    assert found.cuts_s == [1.5]


def test_a_journal_of_another_model_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", {"version": "1"}, 2)
    journal.append_window(0, False, np.zeros(2, np.float32))
    journal.close()
    journal = Journal(tmp_path / "journal", {"version": "2"}, 2)
    assert len(journal.contents.scores) == 0
    journal.close()


def shown(job: Job, *, classes: int = 3, **page: int) -> dict[str, Any]:
    """A timeline with a page of the windows in `job`'s journal."""
    timeline = {"labels": [f"label {n}" for n in range(classes)], "hop_s": 0.25, "window_s": 1.0}
    pieces = stream_with_windows({"timeline": timeline}, timeline, job.journal, Page(**page))
    told: dict[str, Any] = json.loads("".join(pieces))["timeline"]
    return told


def journal_of(job: Job, windows: int, classes: int = 3) -> None:
    """Write a journal of `windows` windows, with a cut before each tenth one."""
    journal = Journal(job.journal, {}, classes)
    for index in range(windows):
        if index % 10 == 0:
            journal.append_cut(index / 4)
        journal.append_window(index, index == windows - 1, np.float32([index % 7 / 10, 0.5, 0.3, *[0] * (classes - 3)]))
    journal.close()


def test_windows_are_shown_with_their_best_labels(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 1)
    result = shown(job, offset=0, limit=10, top_k=2)
    (window,) = result["windows"]
    assert window["predictions"] == [{"label": "label 1", "score": 0.5}, {"label": "label 2", "score": 0.3}]
    assert (window["start_s"], window["end_s"], window["padded"]) == (0.0, 1.0, True)
    assert result["next_offset"] is None


@pytest.mark.parametrize("limit", [1, 7, 100, 333, 1000])
def test_pages_of_windows_make_up_the_whole(tmp_path: Path, limit: int) -> None:
    job = Job(tmp_path)
    journal_of(job, 333)
    windows: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        result = shown(job, offset=offset, limit=limit, top_k=3)
        assert len(result["windows"]) == min(limit, 333 - offset)
        windows += result["windows"]
        offset = result["next_offset"]
    assert [window["start_s"] for window in windows] == [n / 4 for n in range(333)]
    assert [window["padded"] for window in windows] == [False] * 332 + [True]


def test_a_page_past_the_end_is_empty(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 5)
    assert shown(job, offset=2**32 - 1, limit=5, top_k=1)["windows"] == []


def test_page_has_no_more_than_so_many_predictions(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 300, classes=1000)
    result = shown(job, classes=1000, offset=0, limit=20_000, top_k=1000)
    assert (len(result["windows"]), result["next_offset"]) == (100, 100)


def test_windows_have_decisions_on_the_selected_labels(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 7)
    timeline = {"labels": ["a", "b", "c"], "hop_s": 0.25, "window_s": 1.0, "scores": "sigmoid", "thresholds": None}
    page = Page(0, 7, 3, Selection(exclude=("c",)))
    windows = json.loads("".join(stream_with_windows(timeline, timeline, job.journal, page)))["windows"]
    assert [window["decision"] for window in windows] == [["b"]] * 5 + [["a", "b"], ["a", "b"]]
    assert windows[0]["predictions"] == [{"label": "b", "score": 0.5}, {"label": "a", "score": 0.0}]
    page = Page(0, 1, 3, Selection(min_score=0.6))
    (window,) = json.loads("".join(stream_with_windows(timeline, timeline, job.journal, page)))["windows"]
    assert window["decision"] == "none" and len(window["predictions"]) == 3


def test_labels_of_a_page_are_bounded(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 300, classes=1000)
    labels = [f"label {n}" for n in range(1000)]
    timeline = {"labels": labels, "hop_s": 0.25, "window_s": 1.0, "scores": "sigmoid"}
    page = Page(0, 20_000, 1, Selection(min_score=0.0))
    told = json.loads("".join(stream_with_windows(timeline, timeline, job.journal, page)))
    assert (len(told["windows"]), told["next_offset"]) == (100, 100)


def test_parameters_of_scores_belong_to_the_job(service: JobService, upload: Source) -> None:
    spec = dataclasses.replace(ASKED, min_score=0.5, labels=["pan_left"], exclude=[])
    job, _ = service.accept(spec, upload, "a key")
    with pytest.raises(IdempotencyConflict):
        service.accept(ASKED, upload, "a key")
    again, state = service.read(service.find(job.id))
    parameters = record_json(again, state)["parameters"]
    assert (parameters["min_score"], parameters["labels"], parameters["exclude"]) == (0.5, ["pan_left"], [])


def test_record_of_an_older_version_has_the_defaults(service: JobService, upload: Source) -> None:
    job, _ = service.accept(ASKED, upload, None)
    segments = [{"start_s": 0.0, "end_s": 1.0, "label": "a", "score": 0.9}]
    times = {"duration_s": 1.0, "complete_to_s": 1.0, "window_s": 1.0, "hop_s": 0.5, "margin": 0.5}
    job.save(JobState("done", timeline=times | {"labels": ["a"], "segments": segments, "cuts_s": [], "pictures_s": []}))
    old = json.loads((job.path / "job.json").read_bytes())
    for name in ("min_score", "labels", "exclude"):
        del old[name]
    (job.path / "job.json").write_text(json.dumps(old))
    spec, state = service.read(service.find(job.id))
    timeline = record_json(spec, state)["timeline"]
    assert (timeline["scores"], timeline["thresholds"], timeline["decision"]) == ("softmax", None, ["a"])
    assert spec.has_same_parameters(dataclasses.replace(ASKED, id=spec.id))


def test_windows_come_piece_by_piece(tmp_path: Path) -> None:
    job = Job(tmp_path)
    journal_of(job, 2000)
    timeline = {"labels": ["a", "b", "c"], "hop_s": 0.25, "window_s": 1.0}
    pieces = list(stream_with_windows(timeline, timeline, job.journal, Page(0, 2000, 3)))
    assert len(pieces) > 5 and max(map(len, pieces)) < 150_000


def test_windows_of_removed_job_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shown(Job(tmp_path), offset=0, limit=1, top_k=1)


def finished(service: JobService, upload: Source, run_at: str) -> Job:
    job, _ = service.accept(ASKED, upload, None)
    job.save(JobState(state="done", finished=run_at))
    return job


MODEL = Model("m", "1", "video", 2, 1, 30.0, 8, 8, "x", ("a",))
MEDIA = Media("video", "mp4", "h264", 8, 8, 0, 100.0, 30.0, 3000)
GRID = Grid(2, 1.0, 1.0)


class Faulty:
    """A pipeline whose every try ends with `fault`."""

    def __init__(self, fault: BaseException) -> None:
        self.fault, self.runs = fault, 0

    def timeline(self, *_: object) -> None:
        self.runs += 1
        raise self.fault


def worker(service: JobService, pipeline: Faulty, tmp_path: Path, parent_id: str = "") -> Worker:
    results = ResultCache(tmp_path / "results", 0)
    return Worker(service.folder, service.queue, pipeline, results, None, parent_id)  # type: ignore[arg-type]


def test_third_failure_at_one_window_ends_the_job(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(ASKED, upload, None)
    pipeline = Faulty(NotReady("the model server is away"))
    for _ in range(5):
        worker(service, pipeline, tmp_path).work(job.id)
    result = job.state()
    assert (result.state, result.tries, pipeline.runs) == ("failed", 3, 3)
    assert result.error == {"code": "not_ready", "message": "the model server is away"}


@pytest.mark.parametrize(
    ("keepers", "max_tries"),
    [("aaaa", MAX_DEATHS), ("abcdefghijk", MAX_FALLS), ("abbbb", MAX_DEATHS + 1)],
    ids=["alone", "all", "both"],
)
def test_deaths_of_all_workers_are_forgiven_longer(
    service: JobService, upload: Source, tmp_path: Path, keepers: str, max_tries: int
) -> None:
    job, _ = service.accept(ASKED, upload, None)
    pipeline = Faulty(KeyboardInterrupt())  # takes the worker out of its work, as a kill does
    for parent_id in keepers[:-1]:
        with pytest.raises(KeyboardInterrupt):
            worker(service, pipeline, tmp_path, parent_id).work(job.id)
        assert (job.state().state, job.state().tries) == ("running", 1)
    worker(service, pipeline, tmp_path, keepers[-1]).work(job.id)
    result = job.state()
    assert (result.state, pipeline.runs) == ("failed", max_tries)
    assert result.error is not None and f"{max_tries} workers" in result.error["message"]


class OneWindow(Faulty):
    """Looks at one window more in every try."""

    def timeline(self, _source: Source, _question: object, recorder: TimelineSink, _stopped: object) -> None:
        first = recorder.resume(MODEL, GRID)
        recorder.start(MODEL, MEDIA, ScanStarted(GRID.fit(99.0), 100.0, 1000, False))
        recorder.add_window(first, False, np.zeros(1, np.float32))
        super().timeline()


def test_job_with_progress_between_kills_is_never_given_up(service: JobService, upload: Source, tmp_path: Path) -> None:
    job, _ = service.accept(ASKED, upload, None)
    for _ in range(MAX_DEATHS + 2):
        with pytest.raises(KeyboardInterrupt):
            worker(service, OneWindow(KeyboardInterrupt()), tmp_path).work(job.id)
    assert (job.state().state, job.state().deaths) == ("running", 0)
    assert len(read(job.journal).scores) == MAX_DEATHS + 2


class Believed:
    """A clock that nobody has set."""

    def is_trusted(self) -> bool:
        return True


def test_expired_then_oldest_jobs_are_removed(service: JobService, upload: Source) -> None:
    old = finished(service, upload, "2020-01-01T00:00:00.000Z")
    early = finished(service, upload, "2999-01-01T00:00:00.000Z")
    late = finished(service, upload, "2999-01-02T00:00:00.000Z")
    waiting, _ = service.accept(ASKED, upload, None)
    clock = cast(Clock, Believed())
    remove_expired(service.folder, RetentionLimits(7, 100, 1 << 30), clock)
    assert [job.path.exists() for job in (old, early, late, waiting)] == [False, True, True, True]
    remove_expired(service.folder, RetentionLimits(7, 100, service.folder.index.bytes() - 1), clock)
    assert [job.path.exists() for job in (early, late, waiting)] == [False, True, True]
    remove_expired(service.folder, RetentionLimits(7, 100, 0), clock)
    assert [job.path.exists() for job in (late, waiting)] == [False, True]


def test_each_owner_has_jobs_and_idempotency_keys_of_its_own(service: JobService, upload: Source) -> None:
    alices, bobs = (dataclasses.replace(ASKED, owner=owner) for owner in ("alice", "bob"))
    first, _ = service.accept(alices, upload, "monday")
    second, new = service.accept(bobs, upload, "monday")
    assert new and first.id != second.id
    assert service.accept(bobs, upload, "monday")[0].id == second.id
    assert [spec.owner for spec, _ in service.newest(9, "bob")] == ["bob"]


def test_one_owner_has_half_of_the_places(service: JobService, upload: Source) -> None:
    greedy = dataclasses.replace(ASKED, owner="greedy")
    for _ in range(2):
        service.accept(greedy, upload, None)
    with pytest.raises(TooManyRequests):
        service.accept(greedy, upload, None)
    service.accept(dataclasses.replace(ASKED, owner="modest"), upload, None)


def test_job_from_before_there_were_owners_is_read(service: JobService, upload: Source) -> None:
    job, _ = service.accept(ASKED, upload, None)
    body = json.loads((job.path / "job.json").read_text())
    del body["owner"]
    (job.path / "job.json").write_text(json.dumps(body))
    assert service.read(job)[0].owner == ""
