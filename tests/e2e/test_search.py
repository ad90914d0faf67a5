"""Embeddings and the search for similar moments, through the real stack."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from deploy.stack.stack import Stack
from tests.support.films import write_video
from tests.support.job_requests import wait_for_job
from tests.support.movements import film_movement
from tests.support.photographs import photograph_file
from triton_repo.zoo.training.camera_motion.scenes import HELD_OUT_PHOTOGRAPHS, TRAINING_PHOTOGRAPHS, photograph

CLIPSTACK = Path(sys.executable).with_name("clipstack")
SCENES = (*TRAINING_PHOTOGRAPHS, *HELD_OUT_PHOTOGRAPHS)[:19]
FILMS, FPS, SIDE = 11, 4, 288  # 209 windows of 19 scenes


def view(scene: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Return another picture of the scene: another part of it, in another light."""
    picture = Image.fromarray(scene)
    side = int(min(picture.size) * rng.uniform(0.6, 0.95))
    left, top = (int(rng.integers(0, edge - side + 1)) for edge in picture.size)
    cut = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(cut).enhance(rng.uniform(0.7, 1.3))


def write_film(path: Path, seed: int) -> Path:
    """Write a film that shows each scene for a second, around the time of its window."""
    rng = np.random.default_rng(seed)
    views = [np.asarray(view(photograph(name), rng)) for name in SCENES]
    frames = [views[min((number + FPS // 2) // FPS, len(views) - 1)] for number in range(FPS * len(views))]
    return write_video(path, frames, fps=FPS)


def submit(stack: Stack, path: Path, **params: str) -> str:
    response = httpx.post(f"{stack.url}/v1/jobs", params=params, content=path.read_bytes(), timeout=60)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def ended(stack: Stack, job_id: str) -> dict:
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        return wait_for_job(http, job_id)


def search(stack: Stack, content: bytes = b"", **params: object) -> httpx.Response:
    return httpx.post(f"{stack.url}/v1/search", params=params, content=content, timeout=60)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def jobs(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Jobs of films of the same scenes, in the order of the films."""
    folder = tmp_path_factory.mktemp("films")
    films = [write_film(folder / f"{number}.mp4", number) for number in range(FILMS)]
    ids = [submit(stack, film, model="objects", embedding="true", hop_s="1") for film in films]
    for job_id in ids:
        assert ended(stack, job_id)["state"] == "done"
    return ids


def test_five_nearest_windows_show_the_same_scene(stack: Stack, jobs: list[str]) -> None:
    same = []
    for job_id in jobs:
        for window in range(len(SCENES)):
            answer = search(stack, job=job_id, window=window, limit=5).json()
            assert answer["searched"] == {"jobs": FILMS, "windows": FILMS * len(SCENES)}
            assert len(answer["matches"]) == 5
            same += [match["window"] == window for match in answer["matches"]]
    assert len(same) == FILMS * len(SCENES) * 5
    print(f"of the five nearest windows {np.mean(same):.1%} show the same scene")
    assert np.mean(same) >= 0.9


def test_a_picture_finds_the_moments_that_show_it(stack: Stack, jobs: list[str]) -> None:
    answer = search(stack, photograph_file("coffee"), limit=4)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["model"], len(result["matches"])) == ("objects", 4)
    for match in result["matches"]:
        assert (match["window"], match["label"]) == (SCENES.index("coffee"), "espresso")
        assert match["start_s"] == match["window"]
        assert match["similarity"] > 0.6
        assert match["job"] in jobs
        picture = httpx.get(f"{stack.url}{match['thumbnail']}", timeout=30)
        assert Image.open(io.BytesIO(picture.content)).format == "JPEG"


def test_search_by_json_form_and_client_agree(stack: Stack, jobs: list[str], tmp_path: Path) -> None:
    by_query = search(stack, job=jobs[0], window=3).json()["matches"]
    body = {"job": jobs[0], "window": 3}
    assert httpx.post(f"{stack.url}/v1/search", json=body, timeout=60).json()["matches"] == by_query
    picture = photograph_file("coffee")
    by_form = httpx.post(f"{stack.url}/v1/search", files={"file": picture}, data={"limit": "2"}, timeout=60).json()
    (tmp_path / "cup.jpg").write_bytes(picture)
    command = [CLIPSTACK, "search", "cup.jpg", "--limit", "2", "--url", stack.url]
    result = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(result.stdout)["matches"] == by_form["matches"]
    table = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "espresso" in table.stdout
    assert by_form["matches"][0]["job"] in table.stdout


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "send a file, or name a kept job"),
        ({"window": 1000}, "no window of this number"),
        ({"window": "x"}, "must be a whole number"),
        ({"window": 1, "limit": 0}, "must be a whole number from 1 to 100"),
        ({"window": 1, "model": "objects"}, "model and clips are for files"),
        ({"job": "0" * 24, "window": 1}, "there is no such job"),
    ],
)
def test_errors_of_searches_are_helpful(stack: Stack, jobs: list[str], params: dict, words: str) -> None:
    named = {"job": jobs[0]} | params if params else {}
    answer = httpx.post(f"{stack.url}/v1/search", json=named or {"limit": 3}, timeout=60)
    assert answer.status_code in (400, 404)
    assert words in answer.json()["error"]["message"]


def test_removed_job_is_not_found(stack: Stack, jobs: list[str], tmp_path: Path) -> None:
    extra = submit(stack, write_film(tmp_path / "extra.mp4", 99), model="objects", embedding="true", hop_s="1")
    record = ended(stack, extra)
    assert record["parameters"]["embedding"] is True
    picture = photograph_file("coffee")
    assert extra in {match["job"] for match in search(stack, picture, limit=100).json()["matches"]}
    assert httpx.delete(f"{stack.url}/v1/jobs/{extra}", timeout=30).json()["state"] == "removed"
    answer = search(stack, picture, limit=100).json()
    assert extra not in {match["job"] for match in answer["matches"]}
    assert answer["searched"]["jobs"] == FILMS


def test_copy_is_marked_as_near_duplicate(stack: Stack, jobs: list[str], tmp_path: Path) -> None:
    frames = [np.asarray(view(photograph(name), np.random.default_rng(0))) for name in ("coffee", "rocket", "cat")]
    first = write_video(tmp_path / "first.mp4", [frame for frame in frames for _ in range(8)], fps=FPS)
    again = write_video(tmp_path / "again.mp4", [frame[:-16, 8:-8] for frame in frames for _ in range(8)], fps=FPS)
    ids = [submit(stack, film, model="objects", embedding="true") for film in (first,)]
    assert ended(stack, ids[0])["near_duplicates"] == []
    ids.append(submit(stack, again, model="objects", embedding="true"))
    assert ended(stack, ids[1])["near_duplicates"] == [ids[0]]
    for job_id in ids:
        httpx.delete(f"{stack.url}/v1/jobs/{job_id}", timeout=30)


def test_job_without_embeddings_cannot_be_searched_by(stack: Stack, tmp_path: Path) -> None:
    job_id = submit(stack, film_movement(tmp_path / "pan.mp4", "pan_left"))
    assert ended(stack, job_id)["parameters"]["embedding"] is False
    answer = search(stack, job=job_id, window=0)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")
    assert "submit the video again with embedding=true" in answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["objects", "camera_motion", "frame_quality"])
def test_embedding_is_returned_only_on_request(stack: Stack, tmp_path: Path, model: str) -> None:
    content = film_movement(tmp_path / "pan.mp4", "pan_left").read_bytes()
    url, params = f"{stack.url}/v1/classify", {"model": model, "clips": "3"}
    plain = httpx.post(url, params=params, content=content, timeout=60).json()
    assert "embedding" not in plain
    answer = httpx.post(url, params=params | {"embedding": "true"}, content=content, timeout=60).json()
    models = {entry["name"]: entry for entry in httpx.get(f"{stack.url}/v1/models", timeout=30).json()["models"]}
    assert len(answer["embedding"]) == models[model]["embedding_size"] > 0
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-3)
    for one, other in zip(plain["predictions"], answer["predictions"], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=2e-3)


def test_the_command_line_writes_embeddings_as_json(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(photograph_file("coffee"))
    command = [CLIPSTACK, "classify", "cup.jpg", "--embedding", "--url", stack.url]
    result = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert len(json.loads(result.stdout)["embedding"]) == 1280
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "--embedding needs JSON lines" in refused.stderr
