"""A job's journal of windows, and the pages of windows that the API returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.inference.decision import Selection
from app.jobs.storage.journal import Journal, read
from app.jobs.storage.store import Job
from app.jobs.storage.window_pages import Page, stream_with_windows


def test_truncated_journal_record_is_dropped(tmp_path: Path) -> None:
    path, header = tmp_path / "journal", {"model": "m", "version": "1"}
    scores = np.array([0.25, 0.75], np.float32)
    journal = Journal(path, header, 2)
    for index in range(3):
        journal.append_window(index, index == 2, scores * index)
    journal.append_cut(1.5)
    journal.close()
    path.write_bytes(path.read_bytes()[:-5])
    journal = Journal(path, header, 2)
    assert (len(journal.contents.scores), journal.contents.cuts_s) == (3, [])
    journal.append_cut(1.5)
    journal.append_window(3, False, scores)
    journal.close()

    contents = read(path)
    np.testing.assert_array_equal(contents.scores[:, 1], np.float32([0, 0.75, 1.5, 0.75]))
    assert contents.padded.tolist() == [False, False, True, False]
    assert contents.cuts_s == [1.5]


def test_journal_of_another_model_starts_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", {"version": "1"}, 2)
    journal.append_window(0, False, np.zeros(2, np.float32))
    journal.close()
    journal = Journal(tmp_path / "journal", {"version": "2"}, 2)
    assert len(journal.contents.scores) == 0
    journal.close()


def timeline_page(job: Job, *, classes: int = 3, **page: int) -> dict[str, Any]:
    """Return a timeline with a page of the windows in `job`'s journal."""
    timeline = {"labels": [f"label {n}" for n in range(classes)], "hop_s": 0.25, "window_s": 1.0}
    pieces = stream_with_windows({"timeline": timeline}, timeline, job.journal, Page(**page))

    result: dict[str, Any] = json.loads("".join(pieces))["timeline"]

    return result


def write_journal(job: Job, windows: int, classes: int = 3) -> None:
    """Write a journal of `windows` windows, with a cut before each tenth one."""
    journal = Journal(job.journal, {}, classes)
    for index in range(windows):
        if index % 10 == 0:
            journal.append_cut(index / 4)
        journal.append_window(index, index == windows - 1, np.float32([index % 7 / 10, 0.5, 0.3, *[0] * (classes - 3)]))
    journal.close()


def test_windows_are_shown_with_their_best_labels(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_journal(job, 1)
    result = timeline_page(job, offset=0, limit=10, top_k=2)
    (window,) = result["windows"]
    assert window["predictions"] == [{"label": "label 1", "score": 0.5}, {"label": "label 2", "score": 0.3}]
    assert (window["start_s"], window["end_s"], window["padded"]) == (0.0, 1.0, True)
    assert result["next_offset"] is None


@pytest.mark.parametrize("limit", [1, 7, 100, 333, 1000])
def test_pages_together_hold_all_windows(tmp_path: Path, limit: int) -> None:
    job = Job(tmp_path)
    write_journal(job, 333)
    windows: list[dict[str, Any]] = []
    offset: int | None = 0
    while offset is not None:
        result = timeline_page(job, offset=offset, limit=limit, top_k=3)
        assert len(result["windows"]) == min(limit, 333 - offset)
        windows += result["windows"]
        offset = result["next_offset"]
    assert [window["start_s"] for window in windows] == [n / 4 for n in range(333)]
    assert [window["padded"] for window in windows] == [False] * 332 + [True]


def test_a_page_past_the_end_is_empty(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_journal(job, 5)
    assert timeline_page(job, offset=2**32 - 1, limit=5, top_k=1)["windows"] == []


def test_predictions_of_a_page_are_bounded(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_journal(job, 300, classes=1000)
    result = timeline_page(job, classes=1000, offset=0, limit=20_000, top_k=1000)
    assert (len(result["windows"]), result["next_offset"]) == (100, 100)


def test_windows_have_decisions_on_the_selected_labels(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_journal(job, 7)
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
    write_journal(job, 300, classes=1000)
    labels = [f"label {n}" for n in range(1000)]
    timeline = {"labels": labels, "hop_s": 0.25, "window_s": 1.0, "scores": "sigmoid"}
    page = Page(0, 20_000, 1, Selection(min_score=0.0))

    result = json.loads("".join(stream_with_windows(timeline, timeline, job.journal, page)))
    assert (len(result["windows"]), result["next_offset"]) == (100, 100)


def test_windows_are_streamed_in_pieces(tmp_path: Path) -> None:
    job = Job(tmp_path)
    write_journal(job, 2000)
    timeline = {"labels": ["a", "b", "c"], "hop_s": 0.25, "window_s": 1.0}
    pieces = list(stream_with_windows(timeline, timeline, job.journal, Page(0, 2000, 3)))
    assert len(pieces) > 5 and max(map(len, pieces)) < 150_000


def test_windows_of_a_removed_job_raise_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        timeline_page(Job(tmp_path), offset=0, limit=1, top_k=1)
