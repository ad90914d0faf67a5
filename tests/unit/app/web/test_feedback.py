"""Feedback in the API: off by default, and the predicted labels of a part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.jobs.storage.records import JobState
from app.settings import Settings
from app.web.feedback import predicted_in

SEGMENTS = [(0.0, 2.0, "left", 0.9), (2.0, 6.0, "right", 0.6), (0.0, 5.0, "shake", 0.7)]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    settings = dataclasses.replace(Settings.from_environment({}), run_dir=tmp_path, data_dir=tmp_path, decoders=1)
    app = create_app(settings)
    app.extensions["Pipeline"].start()
    yield app.test_client()
    app.extensions["Pipeline"].stop()


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", ""), ("GET", ""), ("DELETE", f"/{'1' * 24}"), ("GET", f"/{'1' * 24}/source")],
)
def test_feedback_is_off_unless_it_is_turned_on(client: FlaskClient, method: str, path: str, tmp_path: Path) -> None:
    answer = client.open(f"/v1/feedback{path}", method=method)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "feedback_off")
    assert not (tmp_path / "feedback").exists()


@pytest.mark.parametrize(
    ("span", "labels", "score"),
    [
        ((0.0, 2.0), ("left", "shake"), 0.9),
        ((2.0, 6.0), ("right", "shake"), 0.7),
        ((4.0, 6.0), ("right", "shake"), 0.7),
        ((5.5, 6.0), ("right",), 0.6),
        (None, ("right", "shake"), 0.7),
        ((7.0, 8.0), (), None),
    ],
)
def test_labels_over_half_of_a_part_were_predicted(
    span: tuple[float, float] | None, labels: tuple[str, ...], score: float | None
) -> None:
    segments = [{"start_s": a, "end_s": b, "label": label, "score": value} for a, b, label, value in SEGMENTS]
    state = JobState(timeline={"duration_s": 6.0, "segments": segments})
    assert predicted_in(state, span) == (labels, score)
    assert predicted_in(JobState(), span) == ((), None)
