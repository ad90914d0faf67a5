"""Files and results in an object store, through the whole service and a real S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.demo import film
from deploy.stack.stack import Stack
from tests.support.s3_server import S3Server, s3_server
from tests.support.stacks import running_stack, until


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("films") / "clip.mp4"
    film(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def s3(clip: bytes) -> Iterator[S3Server]:
    with s3_server() as server:
        server.make_bucket("films")
        server.make_bucket("other")
        for path in ("films/in/a clip.mp4", "films/secret/clip.mp4", "other/clip.mp4"):
            server.put(path, clip)
        server.put("films/in/large.mp4", bytes(3 << 20))
        server.put("films/in/empty.mp4", b"")
        yield server


@pytest.fixture(scope="module")
def s3_stack(s3: S3Server) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        rules = "s3://films/in,s3://films/results!write,s3://missing"
        settings = {"fetch": rules, "max_upload_mb": "2", "fetch_timeout_s": "10"}
        with running_stack(wait=False, models=["camera_motion"], **settings) as stack:
            yield stack


@pytest.fixture
def http(s3_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=s3_stack.url, timeout=60) as http:
        yield http


def finished(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text

    def ended() -> dict[str, Any] | None:
        record: dict[str, Any] = http.get(f"/v1/jobs/{answer.json()['id']}").json()
        return record if record["state"] in ("done", "failed") else None

    return until(ended, 90)


@pytest.mark.parametrize("field", ["s3", "url"])
def test_object_gives_the_answer_of_its_file(http: httpx.Client, clip: bytes, field: str) -> None:
    sent = http.post("/v1/classify", content=clip).json()
    body = http.post("/v1/classify", json={field: "s3://films/in/a clip.mp4"}).json()
    assert body["predictions"] == sent["predictions"]
    assert (body["media"]["name"], body["media"]["bytes"]) == ("a clip.mp4", len(clip))


REFUSALS = {
    "s3://films/in/none.mp4": (422, "source_status"),
    "s3://missing/clip.mp4": (422, "source_status"),
    "s3://films/in/large.mp4": (413, "source_too_large"),
    "s3://films/in/empty.mp4": (400, "empty_file"),
    "s3://films/secret/clip.mp4": (403, "host_not_allowed"),
    "s3://films/in/../secret/clip.mp4": (400, "invalid_url"),
    "s3://other/clip.mp4": (403, "host_not_allowed"),
}


@pytest.mark.parametrize(("url", "error"), REFUSALS.items())
def test_refusals(http: httpx.Client, s3_stack: Stack, url: str, error: tuple[int, str]) -> None:
    answer = http.post("/v1/classify", json={"s3": url})
    assert (answer.status_code, answer.json()["error"]["code"]) == error
    assert "127.0.0.1" not in answer.text
    until(lambda: not any((s3_stack.run_dir / "uploads").iterdir()), 5)  # nginx removes its own after the answer


def test_record_of_job_is_written_to_its_folder(http: httpx.Client, s3: S3Server, clip: bytes) -> None:
    request = {"s3": "s3://films/in/a clip.mp4", "results": "s3://films/results/today/", "hop_s": 1.0}
    record = finished(http, http.post("/v1/jobs", json=request))
    assert (record["state"], record["bytes"]) == ("done", len(clip))
    assert record["results"] == f"s3://films/results/today/{record['id']}.json"
    written, content_type = s3.get("films", f"results/today/{record['id']}.json")
    assert content_type == "application/json"
    content = json.loads(written)
    assert content["state"] == "done" and content["timeline"] == record["timeline"]
    assert {name: content[name] for name in ("id", "name", "media", "model")} == {
        name: record[name] for name in ("id", "name", "media", "model")
    }


def test_results_of_an_uploaded_video_are_written_too(http: httpx.Client, s3: S3Server, clip: bytes) -> None:
    params = {"results": "s3://films/results", "hop_s": "1"}
    record = finished(http, http.post("/v1/jobs", params=params, content=clip))
    assert (record["state"], record["url"]) == ("done", None)
    assert json.loads(s3.get("films", f"results/{record['id']}.json")[0])["id"] == record["id"]


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ("s3://films/in", (403, "host_not_allowed")),
        ("s3://other", (403, "host_not_allowed")),
        ("https://films.example/results", (400, "invalid_url")),
        ("results", (400, "invalid_url")),
    ],
)
def test_results_go_only_where_rules_say_write(http: httpx.Client, results: str, error: tuple[int, str]) -> None:
    answer = http.post("/v1/jobs", json={"s3": "s3://films/in/a clip.mp4", "results": results})
    assert (answer.status_code, answer.json()["error"]["code"]) == error


def test_unreachable_store_is_unavailable(http: httpx.Client, s3: S3Server) -> None:
    assert os.environ["AWS_ENDPOINT_URL"] == s3.url
    s3.stop()
    answer = http.post("/v1/classify", json={"s3": "s3://films/in/a clip.mp4"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "source_unreachable")
