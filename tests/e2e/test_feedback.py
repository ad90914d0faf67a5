"""Feedback over HTTP: kept with the file for its owner, replaced, listed, exported and imported."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from clipstack_client.cli import main
from deploy.stack.stack import Stack
from tests.support.api_keys import new_key, with_key
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.movements import film_movement
from tests.support.stacks import until

numbers = itertools.count()


@pytest.fixture
def key(feedback_stack: Stack) -> str:
    return new_key(feedback_stack, f"person {next(numbers)}")


@pytest.fixture
def http(feedback_stack: Stack, key: str) -> Iterator[httpx.Client]:
    """A client with a key of its own; its feedback is removed afterwards."""
    with with_key(feedback_stack, key) as client:
        yield client
        for entry in listed(client):
            assert client.delete(f"/v1/feedback/{entry['id']}").status_code == 200


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film_movement(tmp_path_factory.mktemp("film") / "film.mp4", "pan_left")


@pytest.fixture(scope="module")
def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(file, "PNG")
    return file.getvalue()


def listed(http: httpx.Client, **wanted: str) -> list[dict[str, Any]]:
    answer = http.get("/v1/feedback", params=wanted)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["feedback"]
    return entries


def give(http: httpx.Client, content: bytes = b"", **params: Any) -> dict[str, Any]:
    answer = http.post("/v1/feedback", params=params, content=content)
    assert answer.status_code == 200, answer.text
    entry: dict[str, Any] = answer.json()
    return entry


def test_correction_of_a_segment_outlives_its_job(http: httpx.Client, film: Path) -> None:
    job = submit_job(http, film)["id"]
    (segment, *_) = wait_for_job(http, job)["timeline"]["segments"]
    span = {"start_s": segment["start_s"], "end_s": segment["end_s"]}
    confirmed = give(http, job=job, labels=segment["label"], **span)
    assert (confirmed["state"], confirmed["predicted"]) == ("confirmed", [segment["label"]])
    corrected = give(http, job=job, labels='["a, b"]', **span)
    assert (corrected["id"], corrected["state"], corrected["labels"]) == (confirmed["id"], "corrected", ["a, b"])
    assert corrected["score"] == segment["score"]
    assert corrected["file"]["name"] == "film.mp4"
    assert corrected["file"]["duration_s"] == pytest.approx(2.0, abs=0.1)
    assert http.delete(f"/v1/jobs/{job}").json()["state"] == "removed"
    assert [entry["labels"] for entry in listed(http, job=job, state="corrected")] == [["a, b"]]
    source = http.get(corrected["links"]["source"], headers={"Range": "bytes=4-7"})
    assert (source.status_code, source.content) == (206, film.read_bytes()[4:8])
    assert source.headers["Content-Type"] == "video/mp4"


def test_feedback_belongs_to_the_content_of_a_file(http: httpx.Client, picture: bytes) -> None:
    form = http.post(
        "/v1/feedback",
        files={"file": ("x.png", picture)},
        data={"labels": "sharp", "model": "frame_quality", "predicted": "blurred"},
    )
    assert form.status_code == 200, form.text
    raw = give(http, picture, labels="blurred", model="frame_quality")
    assert (form.json()["state"], raw["state"]) == ("corrected", "confirmed")
    assert [entry["id"] for entry in listed(http, model="frame_quality")] == [raw["id"]] == [form.json()["id"]]
    assert raw["file"]["sha256"] == hashlib.sha256(picture).hexdigest()
    assert http.get(raw["links"]["source"]).content == picture


def test_feedback_of_another_key_is_not_found(
    feedback_stack: Stack, http: httpx.Client, film: Path, picture: bytes
) -> None:
    entry = give(http, picture, labels="sharp")
    job = submit_job(http, film)["id"]
    with with_key(feedback_stack, new_key(feedback_stack, f"other {next(numbers)}")) as other:
        assert listed(other) == []
        for method, path in (("DELETE", ""), ("GET", "/source")):
            answer = other.request(method, f"/v1/feedback/{entry['id']}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "feedback_not_found")
        answer = other.post("/v1/feedback", params={"job": job, "labels": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
    assert httpx.get(f"{feedback_stack.url}/v1/feedback").status_code == 401
    assert entry["id"] in [item["id"] for item in listed(http)]


def test_unsure_answers_wait_and_are_answered(http: httpx.Client, film: Path) -> None:
    answer = http.post("/v1/classify", content=film.read_bytes(), headers={"X-File-Name": "a.mp4"}).json()
    (entry,) = listed(http, state="unsure")
    assert (entry["labels"], entry["predicted"]) == ([], [answer["predictions"][0]["label"]])
    assert entry["score"] == answer["predictions"][0]["score"]
    given = give(http, film.read_bytes(), labels=entry["predicted"][0])
    assert (given["id"], given["state"]) == (entry["id"], "confirmed")
    assert listed(http, state="unsure") == []
    job = submit_job(http, film)["id"]
    wait_for_job(http, job)
    (unsure,) = until(lambda: listed(http, state="unsure", job=job), 10)
    assert unsure["start_s"] == 0


def test_unsure_queue_ends_at_its_limit(http: httpx.Client) -> None:
    for shade in range(5):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), (shade * 40, 9, 9)).save(file, "PNG")
        assert http.post("/v1/classify", content=file.getvalue()).status_code == 200
    assert len(listed(http, state="unsure")) == 3, "half of six places for one key"


def test_pages_follow_each_other(http: httpx.Client, picture: bytes) -> None:
    ids = {give(http, picture, labels="sharp", model=f"m{number}")["id"] for number in range(3)}
    first = http.get("/v1/feedback?limit=2").json()
    second = http.get("/v1/feedback", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert {entry["id"] for entry in first["feedback"] + second["feedback"]} == ids
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ("labels=x&job=" + "0" * 24, b"", 404, "job_not_found"),
        ("labels=x&job=" + "0" * 24, b"x", 400, "bad_request"),
        ("labels=x", b"", 400, "empty_file"),
        ("labels=x", b"no media", 415, "unsupported_media"),
        ("", b"\x89PNG\r\n\x1a\n", 400, "invalid_parameter"),
        ("labels=" + "x" * 101, b"\x89PNG\r\n\x1a\n", 400, "invalid_parameter"),
        ("labels=x&start_s=1", b"\x89PNG\r\n\x1a\n", 400, "invalid_parameter"),
        ("labels=x&start_s=1&end_s=2", b"\x89PNG\r\n\x1a\n", 400, "invalid_parameter"),
        ("label=x", b"\x89PNG\r\n\x1a\n", 400, "invalid_parameter"),
    ],
)
def test_wrong_feedback_is_refused(http: httpx.Client, query: str, content: bytes, status: int, code: str) -> None:
    answer = http.post(f"/v1/feedback?{query}", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    assert listed(http) == []


@pytest.mark.parametrize("query", ["cursor=x", "state=right", "limit=501"])
def test_wrong_lists_are_refused(http: httpx.Client, query: str) -> None:
    answer = http.get(f"/v1/feedback?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


def test_command_line_exports_removes_and_imports(
    feedback_stack: Stack, key: str, http: httpx.Client, film: Path, picture: bytes, tmp_path: Path
) -> None:
    def clipstack(*words: str | Path) -> Result:
        environment = {"CLIPSTACK_URL": feedback_stack.url, "CLIPSTACK_KEY": key}
        result = CliRunner(env=environment).invoke(main, ["feedback", *map(str, words)])
        assert result.exit_code == 0, result.output
        return result

    def said() -> set[tuple[object, ...]]:
        return {
            (entry["file"]["sha256"], entry["model"], entry["start_s"], entry["end_s"], *entry["labels"])
            for entry in listed(http)
        }

    (tmp_path / "x.png").write_bytes(picture)
    clipstack("give", tmp_path / "x.png", "sharp", "odd, label", "--model", "frame_quality")
    clipstack("give", film, "pan_left", "--model", "camera_motion", "--start", "0.333", "--end", "1.5")
    give(http, film.read_bytes(), labels="pan_right", model="camera_motion", start_s=1.5, end_s=1.9)
    before = said()
    assert len(before) == 3
    assert "odd, label" in clipstack("list").output
    for file_format in ("label-studio", "fiftyone"):
        folder = tmp_path / file_format
        clipstack("export", folder, "--format", file_format)
        assert {path.read_bytes() for path in (folder / "media").iterdir()} == {picture, film.read_bytes()}
        clipstack("remove", *(entry["id"] for entry in listed(http)))
        assert said() == set()
        assert "3 of 3" in clipstack("import", folder, "--format", file_format).output
        if file_format == "label-studio":
            assert said() == before
        else:  # classifications of pictures have no place for a model
            assert {entry[3:] for entry in said()} == {entry[3:] for entry in before}
