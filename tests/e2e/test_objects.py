"""`objects` through the real stack: photographs get their word without anybody naming a model."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from deploy.stack.stack import Stack
from tests.support.movements import film_movement
from triton_repo.zoo.training.camera_motion.scenes import bundled


def photograph(name: str, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(bundled(name)).save(file, kind)
    return file.getvalue()


def classify(stack: Stack, content: bytes, **params: str) -> dict:
    response = httpx.post(f"{stack.url}/v1/classify", params=params, content=content, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_cup_of_coffee_is_an_espresso(stack: Stack, kind: str) -> None:
    result = classify(stack, photograph("coffee", kind))
    best = result["predictions"][0]
    assert (result["model"], best["label"]) == ("objects", "espresso")
    assert best["score"] > 0.8


def test_a_video_goes_to_the_default_model_and_to_objects_by_name(stack: Stack, tmp_path: Path) -> None:
    content = film_movement(tmp_path / "pan.mp4", "pan_left").read_bytes()
    assert classify(stack, content)["model"] == "camera_motion"
    result = classify(stack, content, model="objects", clips="3")
    assert (result["model"], [len(clip["frames"]) for clip in result["clips"]]) == ("objects", [1, 1, 1])


def test_models_say_what_they_answer_and_for_which_files(stack: Stack) -> None:
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


def test_the_command_line_lists_titles_and_defaults(stack: Stack) -> None:
    clipstack = Path(sys.executable).with_name("clipstack")
    result = subprocess.run([clipstack, "models", "--url", stack.url], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "objects  default for pictures" in result.stdout
    assert "Objects: The main thing in a picture" in result.stdout
    assert "espresso, tabby, mountain bike and 997 more" in result.stdout
