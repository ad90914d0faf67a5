"""A model of independent labels through the real stack: no, one and two right labels, in answers and timelines."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from clipstack_client import Client
from clipstack_client.cli import main as clipstack
from deploy.stack.stack import Stack
from tests.e2e.colour_model import add_arguments, colour_film, colour_picture
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.stacks import until
from triton_repo.zoo.cli.main import main

SECONDS = 10.0
INTERVALS = {"red": (1.0, 6.0), "blue": (4.0, 8.5)}
NEAR_S = 0.5
FOLLOWED_S = 15.0
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def models(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`colours` for films and `colour_pictures` for pictures, added beside the running stack."""
    folder, environment = tmp_path_factory.mktemp("colours"), stack.settings.environment()
    thresholds = folder / "thresholds.json"
    thresholds.write_text(json.dumps({"red": 0.5, "green": 0.5, "blue": 0.999999}))
    added = {
        "colours": add_arguments(folder),
        "colour_pictures": add_arguments(folder, 1),
        "strict": [*add_arguments(folder, 1), "--thresholds", str(thresholds)],
    }
    for name, words in added.items():
        result = CliRunner(env=environment).invoke(main, ["add", name, *words])
        assert result.exit_code == 0, result.output
    until(lambda: added.keys() <= {model["name"] for model in listed(stack)}, FOLLOWED_S)
    yield
    for name in added:
        assert CliRunner(env=environment).invoke(main, ["remove", name]).exit_code == 0


pytestmark = pytest.mark.usefixtures("models")


def listed(stack: Stack) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = httpx.get(f"{stack.url}/v1/models", timeout=30).json()["models"]
    return models


@pytest.fixture
def ask(stack: Stack) -> Ask:
    """Classify a picture in which these labels are right."""

    def run(*labels: str, model: str = "colour_pictures", **params: Any) -> httpx.Response:
        params = {"model": model, **params}
        return httpx.post(f"{stack.url}/v1/classify", params=params, content=colour_picture(*labels), timeout=60)

    return run


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_film(tmp_path_factory.mktemp("films") / "hard.mp4", INTERVALS, SECONDS)


def spans(segments: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Return the intervals of each label; those that touch at a cut are joined."""
    tracks: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for segment in segments:
        track = tracks[segment["label"]]
        if track and segment["start_s"] - track[-1][1] < 0.01:
            track[-1] = (track[-1][0], segment["end_s"])
        else:
            track.append((segment["start_s"], segment["end_s"]))
    return dict(tracks)


def check_tracks(segments: list[dict[str, Any]]) -> None:
    tracks = spans(segments)
    assert tracks.keys() == INTERVALS.keys()
    for label, expected in INTERVALS.items():
        (interval,) = tracks[label]
        assert interval == pytest.approx(expected, abs=NEAR_S), label


@pytest.mark.parametrize("fade_s", [0.0, 0.8], ids=["cuts", "fades"])
@pytest.mark.parametrize("model", ["colours", "colour_pictures"])
def test_both_tracks_of_two_overlapping_labels_are_right(
    http: httpx.Client, tmp_path: Path, model: str, fade_s: float
) -> None:
    film = colour_film(tmp_path / "film.mp4", INTERVALS, SECONDS, fade_s)
    record = wait_for_job(http, submit_job(http, film, model=model)["id"])
    timeline = record["timeline"]
    check_tracks(timeline["segments"])
    assert (timeline["scores"], timeline["thresholds"], timeline["decision"]) == ("sigmoid", None, ["red", "blue"])
    assert min(segment["start_s"] for segment in timeline["segments"]) > 0.4
    assert max(segment["end_s"] for segment in timeline["segments"]) < SECONDS - 0.9
    decisions = [set() if window["decision"] == "none" else set(window["decision"]) for window in timeline["windows"]]
    for window, decision in zip(timeline["windows"], decisions, strict=True):
        middle_s = (window["start_s"] + window["end_s"]) / 2
        if all(abs(middle_s - edge) > NEAR_S for interval in INTERVALS.values() for edge in interval):
            assert decision == {label for label, (start, end) in INTERVALS.items() if start < middle_s < end}


def test_exports_keep_gaps_and_overlaps(http: httpx.Client, film: Path) -> None:
    job = wait_for_job(http, submit_job(http, film, model="colours")["id"])

    def export(name: str) -> httpx.Response:
        return http.get(f"/v1/jobs/{job['id']}/timeline", params={"format": name})

    rows = list(csv.DictReader(io.StringIO(export("csv").text)))
    check_tracks([{**row, "start_s": float(row["start_s"]), "end_s": float(row["end_s"])} for row in rows])
    starts = [float(row["start_s"]) for row in rows]
    assert starts == sorted(starts)
    assert export("vtt").text.count(" --> ") == len(rows)
    check_tracks(export("json").json()["segments"])
    assert export("svg").text.count("%, ") == len(rows)
    assert export("png").content.startswith(b"\x89PNG")


def test_timeline_without_passing_labels_is_empty(http: httpx.Client, film: Path) -> None:
    job = wait_for_job(http, submit_job(http, film, model="colours", labels="green")["id"])
    assert (job["timeline"]["segments"], job["timeline"]["decision"]) == ([], "none")
    assert {prediction["label"] for window in job["timeline"]["windows"] for prediction in window["predictions"]} == {
        "green"
    }
    for name, start in (("csv", "start_s,"), ("vtt", "WEBVTT"), ("svg", "<svg")):
        assert http.get(f"/v1/jobs/{job['id']}/timeline", params={"format": name}).text.startswith(start)
    assert http.get(f"/v1/jobs/{job['id']}/timeline", params={"format": "png"}).content.startswith(b"\x89PNG")


def test_softmax_timeline_has_gaps_below_min_score(http: httpx.Client, film: Path) -> None:
    whole = wait_for_job(http, submit_job(http, film)["id"])["timeline"]
    assert (whole["segments"][0]["start_s"], whole["segments"][-1]["end_s"]) == (0.0, whole["duration_s"])
    strict = wait_for_job(http, submit_job(http, film, min_score=1)["id"])
    assert strict["parameters"]["min_score"] == 1.0
    assert all(segment["score"] >= 1.0 for segment in strict["timeline"]["segments"])
    assert whole["decision"] == list(dict.fromkeys(whole["decision"])) and whole["decision"] != "none"


@pytest.mark.parametrize("labels", [(), ("red",), ("red", "blue"), ("red", "green", "blue")], ids=str)
def test_answer_has_every_right_label(ask: Ask, labels: tuple[str, ...]) -> None:
    body = ask(*labels).json()
    assert len(body["predictions"]) == 3
    assert body["decision"] == "none" if not labels else set(body["decision"]) == set(labels)
    for prediction in body["predictions"]:
        assert (prediction["score"] > 0.99) is (prediction["label"] in labels)


def test_thresholds_of_the_version_decide_and_min_score_replaces_them(stack: Stack, ask: Ask) -> None:
    assert ask("red", "blue", model="strict").json()["decision"] == ["red"]
    assert set(ask("red", "blue", model="strict", min_score=0.5).json()["decision"]) == {"red", "blue"}
    assert ask("red", model="strict", min_score=1).json()["decision"] == "none"
    by_name = {model["name"]: model for model in listed(stack)}
    assert (by_name["strict"]["scores"], by_name["strict"]["thresholds"]) == ("sigmoid", [0.5, 0.5, 0.999999])
    assert (by_name["camera_motion"]["scores"], by_name["camera_motion"]["thresholds"]) == ("softmax", None)


def test_query_form_and_json_select_labels_alike(stack: Stack) -> None:
    picture, url = colour_picture("red", "blue"), f"{stack.url}/v1/classify"
    fields = {"model": "colour_pictures", "labels": "red,green", "exclude": "green", "min_score": "0.5"}
    encoded = {**fields, "labels": ["red", "green"], "exclude": ["green"], "min_score": 0.5}
    answers = [
        httpx.post(url, params=fields, content=picture, timeout=60),
        httpx.post(url, data=fields, files={"file": ("a.png", picture)}, timeout=60),
        httpx.post(url, json={**encoded, "file": base64.b64encode(picture).decode()}, timeout=60),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert [prediction["label"] for prediction in answer.json()["predictions"]] == ["red"]
        assert answer.json()["decision"] == ["red"]


def test_softmax_scores_are_not_scaled_to_the_selected_labels(ask: Ask) -> None:
    scores = {row["label"]: row["score"] for row in ask(model="frame_quality", top_k=8).json()["predictions"]}
    some = ask(model="frame_quality", labels="noise,defocus").json()
    assert {row["label"]: row["score"] for row in some["predictions"]} == {
        label: scores[label] for label in ("noise", "defocus")
    }
    assert some["decision"] == [max(("noise", "defocus"), key=scores.__getitem__)]


@pytest.mark.parametrize("path", ["classify", "jobs"])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"labels": "rad"}, "did you mean 'red'?"),
        ({"exclude": "bleu"}, "did you mean 'blue'?"),
        ({"labels": "red", "exclude": "red"}, "leave no label"),
        ({"min_score": "2"}, "must be a number from 0 to 1"),
        ({"labels": "[red"}, "JSON list"),
    ],
)
def test_bad_selection_is_refused(
    http: httpx.Client, film: Path, path: str, params: dict[str, str], message: str
) -> None:
    answer = http.post(f"/v1/{path}", params={"model": "colours", **params}, content=film.read_bytes())
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
    assert message in answer.json()["error"]["message"]


def test_client_and_command_line_show_both_tracks(stack: Stack, film: Path, tmp_path: Path) -> None:
    (tmp_path / "both.png").write_bytes(colour_picture("red", "blue"))
    with Client(stack.url) as client:
        assert set(client.classify(tmp_path / "both.png", model="colour_pictures").decision) == {"red", "blue"}
        timeline = client.timeline(film, model="colours", exclude=["blue"]).timeline
    assert timeline is not None and (timeline.scores, list(timeline.tracks)) == ("sigmoid", ["red"])

    def run(*words: object) -> Result:
        result = CliRunner(env={"CLIPSTACK_URL": stack.url}).invoke(clipstack, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result

    lines = run("timeline", film, "--model", "colours").stdout.splitlines()
    assert ("red" in lines[1], "blue" in lines[2], lines[1].strip()[0], lines[2].strip()[-1]) == (True, True, "·", "·")
    assert "none: no label passes" in run("timeline", film, "--model", "colours", "--labels", "green").stdout
    classified = run("classify", tmp_path / "both.png", "--model", "colour_pictures", "--min-score", "1").stdout
    assert "none: no label passes its threshold" in classified
