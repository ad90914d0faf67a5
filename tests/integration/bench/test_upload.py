"""`bench upload`: its results, the choices of `--shrink auto`, and docs/upload.md."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.upload.measure import compare
from bench.upload.page import PAGE, PICTURE, RESULTS, answers, by_rate, table
from bench.upload.relay import relay
from bench.upload.worker import Measurement, run
from clipstack_client import AsyncClient
from clipstack_client.reduction.probe import Facts
from clipstack_client.reduction.strategy import DECODED_MPX_S, choose
from tests.support.client_service import MP4, RecordedService, recorded_service

RESULT: dict[str, Any] = json.loads(RESULTS.read_text())
MEASURED = [
    pytest.param(file, mbit, runs, id=f"{Path(file['name']).stem}-{mbit:g}")
    for file in RESULT["files"]
    for mbit, runs in by_rate(file)
]


def chosen(media: dict[str, Any], mbit: float) -> str:
    return choose(Facts(**media, rotation=0, mirrored=False), 1, mbit * 1e6 / 8)


@pytest.mark.parametrize(("file", "mbit", "runs"), MEASURED)
def test_auto_is_about_as_fast_as_the_fastest_way(file: dict[str, Any], mbit: float, runs: dict[str, Any]) -> None:
    seconds = {way: runs[way]["median_s"] for way in ("none", "shrink", "frames")}
    # Measured twice, by its name and by auto; the shorter time has less noise
    taken_s = min(seconds[chosen(file["media"], mbit)], runs["auto"]["median_s"])
    assert taken_s <= 1.5 * min(seconds.values()) + 0.1


@pytest.mark.parametrize(("file", "mbit", "runs"), MEASURED)
def test_auto_was_measured_as_it_chooses_today(file: dict[str, Any], mbit: float, runs: dict[str, Any]) -> None:
    assert runs["auto"]["sent"] == chosen(file["media"], mbit)


def test_same_label_in_every_run() -> None:
    assert all(run["same_label"] for file in RESULT["files"] for run in file["runs"])


def test_slowest_codec_represents_the_others() -> None:
    media = {**RESULT["files"][0]["media"], "bytes": 3_000_000}
    slowest = min(DECODED_MPX_S, key=lambda codec: DECODED_MPX_S[codec])
    for mbit in (1, 10, 100):
        assert chosen({**media, "codec": "theora"}, mbit) == chosen({**media, "codec": slowest}, mbit)


def test_page_shows_the_measurements() -> None:
    page = PAGE.read_text()
    assert table(RESULT) in page
    assert answers(RESULT) in page
    assert PICTURE.name in page
    assert RESULT["made"][:10] in page
    assert all(file["name"] in PICTURE.read_text() for file in RESULT["files"])


def test_answers_are_compared_by_label() -> None:
    whole = {"scores": {"pan": 0.9, "zoom": 0.1}, "seconds": [3.0, 1.0, 2.0], "media": {}, "model": "m"}
    less = {**whole, "scores": {"pan": 0.4, "zoom": 0.6}}
    assert compare(whole, whole)["median_s"] == 2.0
    result = compare(less, whole)
    assert (result["label"], result["same_label"], result["largest_difference"]) == ("zoom", False, 0.5)


def test_relay_lets_bytes_through_at_its_rate_and_no_faster() -> None:
    with recorded_service() as service:
        body, address = MP4 + bytes(300_000), urlsplit(service.url)

        async def sent(bytes_s: float | None) -> float:
            place = (str(address.hostname), int(address.port or 0))
            async with relay("127.0.0.1", place, bytes_s) as port, AsyncClient(f"http://127.0.0.1:{port}") as client:
                started = time.monotonic()
                await client.classify(body)
                return time.monotonic() - started

        assert asyncio.run(sent(1e6)) > 0.25
        asyncio.run(sent(None))
        assert [request.body for request in service.received] == [body] * 2


def host(service: RecordedService) -> str:
    return service.url.removeprefix("http://")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.mp4"
    path.write_bytes(MP4)
    return str(path)


def test_requests_bypass_the_cache_and_ask_for_all_labels(clip: str) -> None:
    with recorded_service() as service:
        result = asyncio.run(
            run(Measurement(service.url, host(service), clip, "none", times=2, budget_s=60.0, model="camera_motion"))
        )
        requests = [request for request in service.received if request.method == "POST"]
    assert (len(result["seconds"]), result["sent"], result["bytes"]) == (2, "none", len(MP4))
    assert {request.headers["cache-control"] for request in requests} == {"no-cache"}
    assert {tuple(request.query.items()) for request in requests} == {(("model", "camera_motion"), ("top_k", "10"))}


@pytest.mark.parametrize("answer", ["hit", "miss"])
def test_cached_answer_does_not_count(clip: str, answer: str) -> None:
    with recorded_service() as service:
        service.cache = answer
        measurement = run(Measurement(service.url, host(service), clip, "none", times=1, budget_s=1.0))
        if answer == "hit":
            with pytest.raises(SystemExit, match="from its cache"):
                asyncio.run(measurement)
        else:
            assert asyncio.run(measurement)["seconds"]


@pytest.mark.parametrize("way", ["shrink", "frames"])
@pytest.mark.parametrize("model", ["camera_motion", "frame_quality"])
def test_page_shows_how_answers_change(model: str, way: str) -> None:
    body = json.loads(RESULTS.with_name(f"upload_{model}.json").read_text())
    runs = [run for file in body["files"] for run in file["runs"] if run["way"] == way and run["sent"] != "none"]
    changes = sorted(run["largest_difference"] for run in runs)
    same = sum(run["same_label"] for run in runs)
    row = f"| `{model}` | `--{way}` | {len(runs)} | {same} | {changes[-1]:.4f} | {changes[len(changes) // 2]:.4f} |"
    assert body["model"] == model
    assert row in PAGE.read_text()
