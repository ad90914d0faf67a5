"""Results in notebooks: data frames and HTML tables."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from clipstack_client import Job, JobProgress, Result, Segment, Timeline
from clipstack_client.parsing import parse_result

ANSWER: dict[str, Any] = {
    "request_id": "1",
    "model": "camera_motion",
    "model_version": "1",
    "transport": "inline",
    "predictions": [{"label": "pan_left", "score": 0.97}, {"label": "<b>static</b>", "score": 0.03}],
    "media": {
        "kind": "video",
        "container": "mp4",
        "codec": "h264",
        "width": 340,
        "height": 256,
        "bytes": 1024,
        "name": "<script>alert(1)</script>.mp4",
    },
    "clips": [],
    "timing_ms": {"total": 37.0},
}


@pytest.fixture
def result() -> Result:
    return parse_result(ANSWER)


@pytest.fixture
def timeline() -> Timeline:
    segments = (Segment(0.0, 2.5, "static", 0.9), Segment(2.5, 4.0, "<i>", 0.62))
    return Timeline(4.0, 4.0, 0.93, 0.25, 0.1, ("static", "<i>"), segments, (), ())


def job(timeline: Timeline | None) -> Job:
    progress = JobProgress(100.0, 16, 16, None, None)
    state = "running" if timeline is None else "done"
    return Job(
        id="1",
        state=state,
        created="",
        finished=None,
        name="<a>.mp4",
        bytes=1,
        model="m",
        model_version="1",
        progress=progress,
        tries=1,
        cache=None,
        error=None,
        timing_s={},
        media=None,
        timeline=timeline,
        answer={},
    )


def test_predictions_as_a_data_frame(result: Result) -> None:
    frame = result.to_pandas()
    assert list(frame.columns) == ["label", "score"]
    assert frame["label"].tolist() == ["pan_left", "<b>static</b>"]
    assert frame["score"].sum() == pytest.approx(1.0)


def test_segments_as_a_data_frame(timeline: Timeline) -> None:
    frame = timeline.to_pandas()
    assert list(frame.columns) == ["start_s", "end_s", "label", "score"]
    assert (frame["end_s"] - frame["start_s"]).tolist() == [2.5, 1.5]


def test_data_frame_without_segments_has_its_columns(timeline: Timeline) -> None:
    empty = Timeline(4.0, 0.0, 0.93, 0.25, 0.1, (), (), (), ())
    assert list(empty.to_pandas().columns) == list(timeline.to_pandas().columns)


def test_missing_pandas_is_named(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_pandas\(\) needs pandas.*pip install pandas"):
        result.to_pandas()


def test_html_of_a_result_is_escaped(result: Result) -> None:
    html = result._repr_html_()
    assert "<td>pan_left</td><td>97.0%</td>" in html
    assert "&lt;b&gt;static&lt;/b&gt;" in html
    assert "<script>" not in html and "<b>" not in html


def test_html_of_job_is_escaped_with_and_without_timeline(timeline: Timeline) -> None:
    assert job(None)._repr_html_() == "<p>&lt;a&gt;.mp4: running, 100%</p>"
    html = job(timeline)._repr_html_()
    assert "<td>2.50</td><td>4.00</td><td>&lt;i&gt;</td><td>62.0%</td>" in html
    assert "<i>" not in html and "<a>" not in html
