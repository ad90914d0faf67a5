"""`objects` through the real stack: the default model of photographs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.support.job_requests import wait_for_job
from tests.support.movements import film_movement
from tests.support.photographs import film_of_photographs, photograph_file

CLIPSTACK = Path(sys.executable).with_name("clipstack")


def classify(stack: Stack, content: bytes, **params: str) -> dict:
    response = httpx.post(f"{stack.url}/v1/classify", params=params, content=content, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_cup_of_coffee_is_an_espresso(stack: Stack, kind: str) -> None:
    result = classify(stack, photograph_file("coffee", kind))
    best = result["predictions"][0]
    assert (result["model"], best["label"]) == ("objects", "espresso")
    assert best["score"] > 0.8


def test_video_goes_to_default_model_and_to_objects_by_name(stack: Stack, tmp_path: Path) -> None:
    content = film_movement(tmp_path / "pan.mp4", "pan_left").read_bytes()
    assert classify(stack, content)["model"] == "camera_motion"
    result = classify(stack, content, model="objects", clips="3")
    assert (result["model"], [len(clip["frames"]) for clip in result["clips"]]) == ("objects", [1, 1, 1])


def test_models_list_their_labels_and_file_kinds(stack: Stack) -> None:
    models = {model["name"]: model for model in httpx.get(f"{stack.url}/v1/models", timeout=30).json()["models"]}
    objects = models["objects"]
    assert (objects["title"], objects["examples"]) == ("Objects", ["espresso", "tabby", "mountain bike"])
    assert set(objects["examples"]) <= set(objects["labels"])
    assert "ImageNet" in objects["description"]
    assert {name: model["default_for"] for name, model in models.items()} == {
        "camera_motion": ["video"],
        "frame_quality": [],
        "objects": ["image"],
    }


def test_command_line_selects_the_model_by_file_kind(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(photograph_file("coffee"))
    film_movement(tmp_path / "pan.mp4", "pan_left")
    command = [CLIPSTACK, "classify", "cup.jpg", "pan.mp4", "--url", stack.url, "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    best = {answer["file"]: (answer["model"], answer["predictions"][0]["label"]) for answer in answers}
    assert best == {"cup.jpg": ("objects", "espresso"), "pan.mp4": ("camera_motion", "pan_left")}


def test_film_of_three_objects_gets_three_segments(stack: Stack, tmp_path: Path) -> None:
    film = film_of_photographs(tmp_path / "things.mp4", ("coffee", "camera", "stereo_motorcycle"))
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        job = http.post("/v1/jobs", params={"model": "objects"}, content=film.read_bytes()).json()
        timeline = wait_for_job(http, job["id"])["timeline"]
    assert (timeline["window_s"], timeline["hop_s"]) == (0.0, 0.5)
    segments = [(segment["label"], round(segment["start_s"])) for segment in timeline["segments"]]
    assert segments == [("espresso", 0), ("tripod", 3), ("moped", 6)]
    assert min(segment["score"] for segment in timeline["segments"]) > 0.5


def test_the_command_line_lists_titles_and_defaults(stack: Stack) -> None:
    result = subprocess.run([CLIPSTACK, "models", "--url", stack.url], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "objects  default for pictures" in result.stdout
    assert "Objects: The main thing in a picture" in result.stdout
    assert "espresso, tabby, mountain bike and 997 more" in result.stdout
