"""Metrics of several real processes: counters of dead ones stay, gauges go."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app import create_app
from app.files import is_locked
from app.jobs.stats import JobStats
from app.jobs.storage.store import JobStore
from app.metrics import multiprocess
from app.metrics.definitions import BUCKETS_S, FAMILIES, markdown
from app.metrics.exposition import Exposition
from app.metrics.history import MAX_POINTS, History, point
from app.metrics.recorder import MetricsRecorder
from app.settings import CHECKOUT, Settings
from tests.support.series import series_names

# Counts one request, holds two slots, prints its place, and lives until its input ends
WORKER = """
import sys
from pathlib import Path
from app.metrics.recorder import MetricsRecorder
meter = MetricsRecorder(sys.argv[2], Path(sys.argv[1]))
meter.count("clipstack_requests_total", "GET", "/", "200", "ok")
meter.observe("clipstack_stage_seconds", 0.03, "infer")
meter.set("clipstack_slots", 2, sys.argv[2], "used")
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path, program: str = "web") -> Iterator[subprocess.Popen[str]]:
    """A process that has counted one request; killed at the end."""
    command = [sys.executable, "-c", WORKER, str(folder), program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "counted\n"
        try:
            yield process
        finally:
            process.kill()


def stats(folder: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every series of the processes of `folder`."""
    settings = dataclasses.replace(Settings.from_environment({}), run_dir=folder, data_dir=folder)
    recorder = MetricsRecorder("web")
    recorder.folder = folder
    return series(Exposition(settings, recorder, lambda: {}).text().decode())


def series(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return metrics.get((name, frozenset(labels.items())))


REQUEST = {"method": "GET", "route": "/", "status": "200", "code": "ok"}


def test_killed_process_keeps_counters_and_loses_gauges(tmp_path: Path) -> None:
    with worker(tmp_path), worker(tmp_path) as killed, worker(tmp_path, "jobs"):
        metrics = stats(tmp_path)
        assert value(metrics, "clipstack_requests_total", **REQUEST) == 3
        assert value(metrics, "clipstack_processes", program="web") == 2
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        metrics = stats(tmp_path)  # although its death was not reported
        assert value(metrics, "clipstack_requests_total", **REQUEST) == 3
        assert value(metrics, "clipstack_stage_seconds_count", stage="infer") == 3
        assert value(metrics, "clipstack_stage_seconds_bucket", stage="infer", le="0.05") == 3
        assert value(metrics, "clipstack_stage_seconds_bucket", stage="infer", le="0.025") == 0
        assert value(metrics, "clipstack_processes", program="web") == 1
        assert value(metrics, "clipstack_slots", program="web", state="used") == 2
        assert value(metrics, "clipstack_slots", program="jobs", state="used") == 2


HEADED = struct.pack("i4xi", 64, 9) + b"[7]  " * 20


@pytest.mark.parametrize("content", [b"", b"\xff" * 3, bytes(4096), b"\xff" * 4096, HEADED])
def test_damaged_metrics_of_one_process_hide_no_others(tmp_path: Path, content: bytes) -> None:
    with worker(tmp_path):
        (tmp_path / "counter_web-9.db").write_bytes(content)
        (tmp_path / "histogram_web-9.db").mkdir()
        assert value(stats(tmp_path), "clipstack_requests_total", **REQUEST) == 1


def test_number_of_files_is_bounded_over_many_deaths(tmp_path: Path) -> None:
    with worker(tmp_path):
        pass
    multiprocess.remove_dead_gauges(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert not any(name.startswith("gauge") for name in left) and left
    for _ in range(3):
        with worker(tmp_path):
            pass
        multiprocess.remove_dead_gauges(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == left
    assert value(stats(tmp_path), "clipstack_requests_total", **REQUEST) == 4


def test_new_master_resets_only_its_own_metrics(tmp_path: Path) -> None:
    with worker(tmp_path) as orphan, worker(tmp_path, "jobs"):
        multiprocess.clear(tmp_path, "web")
        with worker(tmp_path):
            metrics = stats(tmp_path)
            assert value(metrics, "clipstack_processes", program="web") == 1
            assert value(metrics, "clipstack_processes", program="jobs") == 1
            assert value(metrics, "clipstack_requests_total", **REQUEST) == 2
        assert orphan.poll() is None


def test_place_of_a_dead_process_is_free(tmp_path: Path) -> None:
    with worker(tmp_path) as process:
        assert is_locked(tmp_path / "web-0.lock")
        process.kill()
        process.wait()
        assert not is_locked(tmp_path / "web-0.lock")
    assert not is_locked(tmp_path / "web-7.lock")


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """The API of one process, without a model server."""
    monkeypatch.delenv(multiprocess.VARIABLE, raising=False)  # an earlier test has set it for the whole process
    (tmp_path / "uploads").mkdir()
    (tmp_path / "watchdog").mkdir()
    settings = dataclasses.replace(
        Settings.from_environment({"CLIPSTACK_RUN_DIR": str(tmp_path)}), triton_address="127.0.0.1:1", decoders=1
    )
    app = create_app(settings)
    app.extensions["Pipeline"].start()
    try:
        yield app.test_client()
    finally:
        app.extensions["Pipeline"].stop()


def scraped(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return series(answer.get_data(as_text=True))


def test_requests_are_counted_by_route(client: FlaskClient) -> None:
    for number in range(20):
        client.get(f"/no/{number}")
        client.get(f"/v1/jobs/{number:024x}")
        client.open("/v1/models", method=f"BREW{number}")
    client.post("/v1/classify", data=b"GIF89a")
    counted = {dict(labels)["route"]: got for (name, labels), got in scraped(client).items() if name == COUNTED}
    assert counted == {"(none)": 20, "/v1/jobs/<identity>": 20, "/v1/classify": 1} | counted
    assert len(counted) == 3
    labels = {"method": "POST", "route": "/v1/classify", "status": "503", "code": "not_ready"}
    metrics = scraped(client)
    assert value(metrics, COUNTED, **labels) == 1
    assert value(metrics, "clipstack_request_seconds_count", route="/v1/classify", outcome="failed") == 1
    assert value(metrics, "clipstack_stage_seconds_count", stage="receive") == 1


COUNTED = "clipstack_requests_total"


def test_a_refused_page_is_counted_with_its_code(client: FlaskClient) -> None:
    client.post("/", data=b"GIF89a")
    labels = {"method": "POST", "route": "/", "status": "503", "code": "not_ready"}
    assert value(scraped(client), COUNTED, **labels) == 1


def test_only_metrics_of_the_table_are_exported(client: FlaskClient, tmp_path: Path) -> None:
    client.post("/v1/classify", data=b"GIF89a")
    (tmp_path / "watchdog" / "watchdog.prom").write_text("# TYPE clipstack_model_answers gauge\n")
    assert {name for name, _ in scraped(client)} <= series_names()
    for family in text_string_to_metric_families(client.get("/metrics").get_data(as_text=True)):
        known = FAMILIES.get(family.name) or FAMILIES[f"{family.name}_total"]
        assert family.type == known.kind


def test_watchdog_metrics_are_exported_while_it_runs(client: FlaskClient, tmp_path: Path) -> None:
    path = tmp_path / "watchdog" / "watchdog.prom"
    lines = ["# HELP clipstack_model_answers 1 when.", "# TYPE clipstack_model_answers gauge"]
    path.write_text("\n".join([*lines, 'clipstack_model_answers{model="camera_motion@1"} 1', ""]))
    metrics = scraped(client)
    assert value(metrics, "clipstack_model_answers", model="camera_motion@1") == 1
    assert 0 <= (value(metrics, "clipstack_watchdog_age_seconds") or 0) < 10
    os.utime(path, (time.time() - 100, time.time() - 100))
    metrics = scraped(client)
    assert value(metrics, "clipstack_model_answers", model="camera_motion@1") is None
    assert (value(metrics, "clipstack_watchdog_age_seconds") or 0) > 90
    path.write_text("this is { no such file")
    assert value(scraped(client), "clipstack_work_limit") is not None


def test_status_shows_parts_and_missing_triton(client: FlaskClient) -> None:
    metrics = scraped(client)
    assert value(metrics, "clipstack_slots", program="web", state="free") == 16
    assert value(metrics, "clipstack_slots", program="web", state="quarantined") == 0
    assert value(metrics, "clipstack_decoders", program="web", state="free") == 1
    assert value(metrics, "clipstack_at_work", lane="short") == 0
    assert value(metrics, "clipstack_triton_answers") == 0
    assert (value(metrics, "clipstack_disk_free_bytes", folder="uploads") or 0) > 0
    assert (value(metrics, "clipstack_memory_bytes", program="web") or 0) > 1 << 20


def test_status_without_history_shows_current_values(client: FlaskClient) -> None:
    (before,) = client.get("/status.json").get_json()["points"]
    client.post("/v1/classify", data=b"GIF89a")
    (after,) = client.get("/status.json").get_json()["points"]
    assert after["failed"] - before["failed"] == 1
    assert after["codes"]["not_ready"] - before["codes"].get("not_ready", 0) == 1


def test_jobs_are_counted_by_state_and_longest_wait(tmp_path: Path) -> None:
    folder = JobStore(tmp_path / "jobs")
    job_stats = JobStats(folder)
    assert job_stats.count().states["queued"] == 0  # nothing is there yet
    spec = {"created": "2026-01-01T00:00:00Z", "name": "", "bytes": 1, "model": "m", "margin": 0.5, "top_k": 1}
    for number, state in enumerate(["done", "running", ""]):
        job = folder.path / f"{number:024x}"
        job.mkdir(parents=True)
        (job / "job.json").write_text(json.dumps(spec | {"id": job.name, "window_s": None, "hop_s": None}))
        if state:
            (job / "state.json").write_text(json.dumps({"state": state}))
    hour_ago = time.time() - 3600
    os.utime(folder.path / f"{2:024x}" / "job.json", (hour_ago, hour_ago))
    os.utime(folder.path / f"{1:024x}" / "state.json", (hour_ago, hour_ago))
    count = job_stats.count()
    assert count.states == {"queued": 1, "running": 1, "done": 1, "failed": 0, "cancelled": 0}
    assert 3590 < count.oldest_waiting_s < 3700 and 3590 < count.longest_still_s < 3700
    folder.index.close()


def test_history_is_bounded_and_shared_by_processes(tmp_path: Path) -> None:
    first, second = History(tmp_path), History(tmp_path)
    assert first.is_due() and not second.is_due()
    for number in range(MAX_POINTS + 5):
        first.write({"time": number})
    assert not first.is_due()
    first.close()
    assert second.is_due()
    second.write({"time": -1})
    assert [point["time"] for point in second.points()] == [*range(6, MAX_POINTS + 5), -1]
    second.close()


def test_sample_has_all_fields_of_the_page() -> None:
    recorder = MetricsRecorder("web")
    recorder.count(COUNTED, "POST", "/v1/classify", "200", "ok", by=3)
    recorder.count(COUNTED, "POST", "/v1/classify", "503", "overloaded")
    recorder.count(COUNTED, "GET", "/healthz", "200", "ok", by=99)
    recorder.observe("clipstack_request_seconds", 0.03, "/v1/classify", "ok")
    recorder.set("clipstack_slots", 7, "web", "free")
    now: dict[str, Any] = point(recorder.registry.collect())
    assert (now["ok"], now["failed"], now["codes"]) == (3, 1, {"overloaded": 1})
    assert now["seconds"]["0.05"] == 1 and now["seconds"]["0.025"] == 0
    assert now["slots"] == {"web:free": 7}


def test_documentation_has_the_current_table() -> None:
    assert markdown() in (CHECKOUT / "docs" / "monitoring.md").read_text()


def test_buckets_increase_and_include_the_stage_limits() -> None:
    assert list(BUCKETS_S) == sorted(BUCKETS_S)
    settings = Settings.from_environment({})
    assert {settings.decode_timeout_s, settings.infer_timeout_s, settings.deadline_s} <= set(BUCKETS_S)
