"""Several pictures in one form, each with its own answer or error."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from clipstack_client import Client, RequestRefused, Result
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((480, 320)).save(file, "JPEG")
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(64)]


def send(stack: Stack, *contents: bytes, **params: Any) -> httpx.Response:
    files = [("file", (f"{number}.jpg", content)) for number, content in enumerate(contents)]
    return httpx.post(f"{stack.url}/v1/classify", files=files, params=params, timeout=60)


def same(answer: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether both answers agree; scores differ a little, because bf16 rounds differently in a larger batch."""
    scores, others = ({entry["label"]: entry["score"] for entry in one["predictions"]} for one in (answer, other))
    assert all(scores[label] == pytest.approx(others[label], abs=0.005) for label in scores.keys() & others.keys())
    best, *_ = scores
    return [answer["model"], best, answer["media"]] == [other["model"], next(iter(others)), other["media"]]


def test_each_picture_has_the_answer_of_a_single_upload(stack: Stack) -> None:
    alone = [httpx.post(f"{stack.url}/v1/classify", content=content, timeout=60).json() for content in PICTURES[:3]]
    results = send(stack, *PICTURES[:3]).json()["results"]
    assert [result["name"] for result in results] == ["0.jpg", "1.jpg", "2.jpg"]
    for number, (result, answer) in enumerate(zip(results, alone, strict=True)):
        answer["media"]["name"] = f"{number}.jpg"
        assert same(result["answer"], answer)


def test_each_bad_picture_has_its_own_error(stack: Stack, tmp_path: Any) -> None:
    film = write_video(tmp_path / "film.mp4", panning(30, 320, 240)).read_bytes()
    answer = send(stack, PICTURES[0], b"no picture", b"", PICTURES[1][:3000], film, PICTURES[2])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [200, 415, 400, 422, 422, 200]
    codes = [result["error"]["code"] for result in results if "error" in result]
    assert codes == ["unsupported_media", "empty_file", "undecodable", "wrong_media_kind"]


def test_64_pictures_are_answered_and_65_refused(stack: Stack) -> None:
    results = send(stack, *PICTURES, top_k=1).json()["results"]
    assert [result["status"] for result in results] == [200] * 64
    refused = send(stack, *PICTURES, PICTURES[0])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_files")


def test_wrong_parameter_refuses_whole_form(stack: Stack) -> None:
    answer = send(stack, *PICTURES[:2], top_k="many")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


def test_form_with_one_picture_has_a_single_answer(stack: Stack) -> None:
    answer = send(stack, PICTURES[0])
    assert "results" not in answer.json() and answer.json()["predictions"]


def test_job_accepts_a_single_file(stack: Stack) -> None:
    files = [("file", ("a.mp4", b"x")), ("file", ("b.mp4", b"x"))]
    answer = httpx.post(f"{stack.url}/v1/jobs", files=files)
    assert answer.json()["error"]["code"] == "too_many_files"


def test_client_sends_70_pictures_in_two_forms(stack: Stack) -> None:
    with Client(stack.url) as client:
        results = client.classify_many([*PICTURES, b"no picture", *PICTURES[:4], b"", PICTURES[0]], top_k=1)
        assert len(results) == 71
        bad = [number for number, result in enumerate(results) if not isinstance(result, Result)]
        assert bad == [64, 69]
        (only,) = client.classify_many([b"no picture"])
        assert isinstance(only, RequestRefused) and only.code == "unsupported_media"
        unknown = client.classify_many(PICTURES[:2], model="no_such")
        assert [getattr(result, "code", None) for result in unknown] == ["model_not_found"] * 2
