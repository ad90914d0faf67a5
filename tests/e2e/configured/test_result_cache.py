"""The result cache: equal bytes, model version and parameters are classified once."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.inference.channel import connect
from deploy.stack.stack import Stack
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.movements import film_movement
from tests.support.stacks import until

FOLLOWED_S = 5.0
OWN = ("request_id", "timing_ms", "cache")


def classify(
    http: httpx.Client, content: bytes, headers: dict[str, str] | None = None, **params: Any
) -> tuple[str, Any]:
    """Return the cache header, and the answer without the fields of a single request."""
    answer = http.post(
        "/v1/classify", content=content, params=params, headers={"X-File-Name": "a.mp4"} | (headers or {})
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert answer.headers["X-Clipstack-Cache"] == body["cache"]
    return body["cache"], {name: value for name, value in body.items() if name not in OWN}


def test_second_upload_is_a_cache_hit(http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left", seed=1).read_bytes()
    first, second = classify(http, film), classify(http, film)
    assert (first[0], second[0]) == ("miss", "hit")
    assert first[1] == second[1]
    assert classify(http, film, {"X-File-Name": "b.mp4"})[1]["media"]["name"] == "b.mp4"


@pytest.mark.parametrize(
    "changed",
    [
        {"top_k": 2},
        {"clips": 2},
        {"thumbnails": "true"},
        {"model": "frame_quality"},
        {"min_score": 0.5},
        {"labels": "pan_left,static"},
        {"exclude": "static"},
    ],
)
def test_other_parameters_miss_the_cache(http: httpx.Client, tmp_path: Path, changed: dict[str, Any]) -> None:
    film = film_movement(tmp_path / "film.mp4", "tilt_down", seed=sum(map(ord, str(changed)))).read_bytes()
    assert [classify(http, film)[0], classify(http, film, **changed)[0], classify(http, film)[0]] == [
        "miss",
        "miss",
        "hit",
    ]
    assert classify(http, film + b"\0")[0] == "miss"


def test_thresholds_change_segments_and_not_windows(http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_right", seed=11)
    first, strict, again = (
        wait_for_job(http, submit_job(http, film, **params)["id"]) for params in ({}, {"min_score": 1}, {})
    )
    assert [job["cache"] for job in (first, strict, again)] == ["miss", "hit", "hit"]
    assert first["timeline"]["segments"] == again["timeline"]["segments"] != strict["timeline"]["segments"]
    assert [window["predictions"] for window in first["timeline"]["windows"]] == [
        window["predictions"] for window in strict["timeline"]["windows"]
    ]
    assert all(window["decision"] != "none" for window in again["timeline"]["windows"])


def test_no_cache_header_bypasses_the_cache(http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "zoom_out", seed=2).read_bytes()
    no_cache = {"Cache-Control": "no-cache"}
    assert [classify(http, film)[0], classify(http, film, no_cache)[0], classify(http, film)[0]] == [
        "miss",
        "off",
        "hit",
    ]


def test_concurrent_equal_uploads_are_classified_once(http: httpx.Client, tmp_path: Path) -> None:
    films = [film_movement(tmp_path / f"{seed}.mp4", "roll_cw", seed=seed).read_bytes() for seed in (3, 4)]
    with ThreadPoolExecutor(8) as pool:
        counts = Counter(counts for counts, _ in pool.map(lambda place: classify(http, films[place % 2]), range(16)))
    assert counts == {"miss": 2, "hit": 14}


def test_unreadable_answer_is_not_cached(http: httpx.Client) -> None:
    for _ in range(2):
        answer = http.post("/v1/classify", content=b"GIF89a" + bytes(100))
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "undecodable")


def test_cache_stays_within_its_limit(stack: Stack, http: httpx.Client) -> None:
    # Each of these results has a thumbnail of some 50 kB
    rng = np.random.default_rng(0)
    kept = stack.settings.data_dir / "results"
    for _ in range(40):
        noise = Image.fromarray(rng.integers(0, 255, (240, 320, 3), np.uint8))
        path = kept.parent / "noise.png"
        noise.save(path)
        assert classify(http, path.read_bytes(), model="frame_quality", thumbnails="true")[0] == "miss"
        path.unlink()
    sizes = [path.stat().st_size for path in kept.glob("[0-9a-f][0-9a-f]/*")]
    assert len(sizes) > 5
    assert sum(sizes) < 2 << 20, "each of two web workers may be a fifth of the bound behind"


def test_second_job_reuses_the_first_result(http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "tilt_up", seconds=2, seed=5)
    first = wait_for_job(http, submit_job(http, film)["id"])
    second = wait_for_job(http, submit_job(http, film)["id"])
    assert (first["cache"], second["cache"]) == ("miss", "hit")
    assert http.get(f"/v1/jobs/{second['id']}").headers["X-Clipstack-Cache"] == "hit"
    for part in ("segments", "windows", "cuts_s"):
        assert second["timeline"][part] == first["timeline"][part]
    http.delete(f"/v1/jobs/{first['id']}")
    assert http.get(second["timeline"]["thumbnails"][0]["url"]).status_code == 200


def test_changed_configuration_misses_the_cache(stack: Stack, http: httpx.Client, tmp_path: Path) -> None:
    film = film_movement(tmp_path / "film.mp4", "pan_left", seed=77).read_bytes()
    config = stack.model_dir / "camera_motion" / "config.pbtxt"
    text = config.read_text()
    changed = re.sub(r'(key: "stride"\s+value:? \{ string_value: )"\d+"', r'\1"2"', text)
    assert changed != text
    first = answered_by_all(http, film)[-1]
    with connect(stack.settings.triton_target, stack.settings.triton_key) as triton:
        try:
            config.write_text(changed)
            triton.load_model("camera_motion")
            second = until(lambda: changed_answer(http, film, first), FOLLOWED_S)
        finally:
            config.write_text(text)
            triton.load_model("camera_motion")
    assert second["clips"][0]["frames"] != first["clips"][0]["frames"]
    assert until(lambda: changed_answer(http, film, second), FOLLOWED_S) == first


def answered_by_all(http: httpx.Client, film: bytes) -> list[Any]:
    """Return the answers of eight requests, which reach both workers."""
    return [classify(http, film)[1] for _ in range(8)]


def changed_answer(http: httpx.Client, film: bytes, before: Any) -> Any:
    """Return the answer of all workers; None while one of them still gives that of `before`."""
    answers = answered_by_all(http, film)
    return None if before in answers else answers[-1]
