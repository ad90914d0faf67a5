"""Classification through the real stack: labels, and errors."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.stack import paths
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.leaks import SHARED_MEMORY, files
from tests.support.movements import film_movement
from tests.support.stack_state import regions
from triton_repo.zoo.training.camera_motion.paths import LABELS


def post(stack: Stack, path: Path, **params: Any) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/classify", params=params, content=path.read_bytes(), timeout=60)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {label: film_movement(folder / f"{label}.mp4", label) for label in LABELS}


def test_movements_are_classified_through_shared_memory(stack: Stack, films: dict[str, Path]) -> None:
    answers = {label: post(stack, path).json() for label, path in films.items()}
    named = {label: answer["predictions"][0]["label"] for label, answer in answers.items()}
    assert sum(label == name for label, name in named.items()) >= 9, named
    for answer in answers.values():
        assert answer["transport"] == "system_shared_memory"
        assert sum(p["score"] for p in answer["predictions"]) > 0.5


def test_answer_names_clips_and_frames(stack: Stack, films: dict[str, Path]) -> None:
    answer = post(stack, films["pan_left"], clips=2, top_k=3, thumbnails="true").json()
    assert (answer["model"], answer["model_version"]) == ("camera_motion", "1")
    assert len(answer["predictions"]) == 3
    media = answer["media"]
    assert (media["width"], media["height"], media["codec"], media["container"]) == (320, 240, "h264", "mp4")
    assert (media["frames"], media["fps"], media["truncated"]) == (60, 30.0, False)
    assert media["bytes"] == films["pan_left"].stat().st_size
    first, second = answer["clips"]
    assert first["frames"] == list(range(first["frames"][0], first["frames"][0] + 29, 4))
    assert first["start_s"] < second["start_s"]
    assert not first["padded"]
    assert set(answer["timing_ms"]) == {"receive", "queue", "probe", "decode", "infer", "answer", "total"}
    assert len(answer["thumbnails"]) == 8
    assert base64.b64decode(answer["thumbnails"][0].removeprefix("data:image/jpeg;base64,"))[:2] == b"\xff\xd8"
    assert len(answer["request_id"]) == 32


def test_clips_start_at_key_frames_on_request(stack: Stack, films: dict[str, Path]) -> None:
    exact, near, moved = (post(stack, films["pan_left"], sampling=way).json() for way in ("exact", "auto", "keyframe"))
    assert exact["clips"][0]["frames"] == list(range(15, 44, 4))
    assert near["clips"] == exact["clips"], "its only key frame is half a second away"
    assert moved["clips"][0]["frames"] == list(range(0, 29, 4)), "its only key frame is the first one"
    assert {answer["predictions"][0]["label"] for answer in (exact, near, moved)} == {"pan_left"}
    refused = post(stack, films["pan_left"], sampling="anywhere")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_parameter")
    assert "exact or auto or keyframe" in refused.json()["error"]["message"]


def test_misspelled_parameter_is_refused_in_query_form_and_json(stack: Stack, films: dict[str, Path]) -> None:
    url, film = f"{stack.url}/v1/classify", films["pan_left"].read_bytes()
    encoded = base64.b64encode(film).decode()
    for answer in (
        httpx.post(url, content=film, params={"topk": 1}, timeout=60),
        httpx.post(url, files={"file": film}, data={"topk": "1"}, timeout=60),
        httpx.post(url, json={"file": encoded, "name": "a.mp4", "topk": 1}, timeout=60),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "invalid_parameter")
        assert "unknown parameter 'topk': did you mean top_k?" in error["message"]


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_movement_is_classified_at_any_frame_rate(stack: Stack, tmp_path: Path, fps: int) -> None:
    path = film_movement(tmp_path / "a.mp4", "zoom_in", fps=fps)
    answer = post(stack, path).json()
    assert answer["predictions"][0]["label"] == "zoom_in"
    (clip,) = answer["clips"]
    assert clip["end_s"] - clip["start_s"] == pytest.approx(28 / 30, abs=1.01 / fps)


def test_raw_form_and_json_give_the_same_answer(stack: Stack, films: dict[str, Path]) -> None:
    path, url = films["tilt_up"], f"{stack.url}/v1/classify"
    raw = httpx.post(url, content=path.read_bytes(), headers={"X-File-Name": "tilt.mp4"}, timeout=60)
    form = httpx.post(url, files={"file": ("tilt.mp4", path.read_bytes())}, data={"top_k": "5"}, timeout=60)
    encoded = base64.b64encode(path.read_bytes()).decode()
    in_json = httpx.post(url, json={"file": encoded, "name": "tilt.mp4"}, timeout=60)
    answers = [response.json() for response in (raw, form, in_json)]
    assert answers[0]["predictions"][0]["label"] == "tilt_up"
    for answer in answers:
        assert answer["predictions"] == answers[0]["predictions"]
        assert answer["media"] == answers[0]["media"]
        assert answer["transport"] == "system_shared_memory"


def test_short_video_is_padded_with_a_warning(stack: Stack, tmp_path: Path) -> None:
    answer = post(stack, write_video(tmp_path / "short.mp4", panning(5), 30)).json()
    assert answer["clips"][0]["padded"]
    assert answer["clips"][0]["frames"][-1] == 4
    assert any("repeated" in warning for warning in answer["warnings"])


def test_real_clips_are_answered(stack: Stack, real_videos: Path) -> None:
    for name, codec in [("arm_wrestling.mp4", "h264"), ("flipping_a_pancake.mkv", "h264"), ("av1.mkv", "av1")]:
        answer = post(stack, real_videos / name).json()
        assert answer["media"]["codec"] == codec, answer
        assert answer["predictions"][0]["label"] in LABELS


def test_models_are_listed_with_their_labels(stack: Stack) -> None:
    models = {m["name"]: m for m in httpx.get(f"{stack.url}/v1/models", timeout=30).json()["models"]}
    motion = models["camera_motion"]
    assert motion["labels"] == list(LABELS)
    assert (motion["kind"], motion["frames"], motion["stride"], motion["fps"]) == ("video", 8, 4, 30.0)
    assert motion["default"]


def shared_memory(stack: Stack) -> set[str]:
    """Return the files in /dev/shm that belong to the stack."""
    of_triton = {path.name for path in SHARED_MEMORY.glob(f"{paths.triton_regions(stack.run_dir)}*")}
    return regions(stack) | of_triton


def test_200_requests_leave_no_files_or_slots(stack: Stack, films: dict[str, Path]) -> None:
    path = films["pan_right"]
    post(stack, path)
    uploads, processes, memory = stack.run_dir / "uploads", stack.processes(), shared_memory(stack)
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: post(stack, path), range(200)))
    assert [r.status_code for r in responses if r.status_code != 200] == []
    assert {r.json()["predictions"][0]["label"] for r in responses} == {"pan_right"}
    assert {r.json()["transport"] for r in responses} == {"system_shared_memory"}
    assert files(uploads) == set()
    assert shared_memory(stack) <= memory
    assert len(stack.processes()) == len(processes)


def test_a_picture_is_not_for_a_video_model(stack: Stack, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "teal").save(path)
    response = post(stack, path, model="camera_motion")
    assert (response.status_code, response.json()["error"]["code"]) == (422, "wrong_media_kind")
    assert "image model" in response.json()["error"]["message"]
