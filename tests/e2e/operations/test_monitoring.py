"""The real stack as Prometheus sees it: all metrics exist, dead processes have no gauges, an alert fires."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.grpc import InferenceServerClient

from app.metrics.definitions import FAMILIES
from deploy.stack.ports import free_ports
from deploy.stack.run_dir import programs
from deploy.stack.stack import Stack
from tests.support.films import panning, write_video
from tests.support.series import series_names
from tests.support.stacks import CHECKOUT, until

MONITORING = CHECKOUT / "deploy" / "monitoring"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = write_video(tmp_path_factory.mktemp("clip") / "pan.mp4", panning(45, 160, 120, step=2, seed=3))
    return path.read_bytes()


def ask(stack: Stack, path: str, content: bytes | None = None) -> httpx.Response:
    method = "GET" if content is None else "POST"
    return httpx.request(method, stack.url + path, content=content, timeout=30)


def series(stack: Stack) -> dict[str, float]:
    """Return the sum of every series by its name and label values."""
    text = ask(stack, "/metrics").text
    return {
        " ".join([sample.name, *(sample.labels[label] for label in sorted(sample.labels))]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def lines(stack: Stack, log: str) -> list[dict[str, Any]]:
    """Return the lines of a log that are JSON."""
    rows = (stack.run_dir / "logs" / log).read_text().splitlines()
    return [json.loads(line) for line in rows if line.startswith("{")]


def workers(stack: Stack) -> list[int]:
    master = int((stack.run_dir / "web" / "web.pid").read_text())
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def test_exactly_the_metrics_of_the_table_are_exported(stack: Stack, clip: bytes) -> None:
    until(lambda: ask(stack, "/v1/classify", clip).status_code == 200, 30)
    until(lambda: (stack.run_dir / "watchdog" / "watchdog.prom").exists(), 20)

    def missing() -> set[str]:
        text = ask(stack, "/metrics").text
        return set(FAMILIES) - set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))

    until(lambda: not missing(), 10)
    assert {key.split()[0] for key in series(stack)} <= series_names()


def test_requests_are_counted(stack: Stack, clip: bytes) -> None:
    until(lambda: ask(stack, "/readyz").status_code == 200, 30)
    # A worker writes its counters every two seconds: wait for its warm-up clip and one of each earlier upload
    sent = stack.settings.web_workers + series(stack).get("clipstack_requests_total ok POST /v1/classify 200", 0)
    until(lambda: series(stack).get("clipstack_clips_total web system_shared_memory", 0) >= sent, 10)
    before = series(stack)
    for _ in range(4):
        answer = ask(stack, "/v1/classify?clips=2", clip)
        assert answer.status_code == 200, answer.text
    assert ask(stack, "/v1/classify", b"no video" * 99).status_code == 415

    def grown(key: str) -> float:
        return series(stack)[key] - before.get(key, 0)

    assert grown("clipstack_requests_total ok POST /v1/classify 200") == 4
    assert grown("clipstack_requests_total unsupported_media POST /v1/classify 415") == 1
    assert grown("clipstack_stage_seconds_count infer") == 4
    assert grown("clipstack_answers_total off camera_motion") == 4
    until(lambda: grown("clipstack_clips_total web system_shared_memory") == 8, 10)
    until(lambda: grown("clipstack_videos_decoded_total cpu web") == 4, 10)


def test_killed_worker_keeps_counters_and_loses_gauges(stack: Stack, clip: bytes) -> None:
    until(lambda: series(stack).get("clipstack_processes web") == 2, 20)
    # A worker is counted before its slots are
    slots = stack.settings.web_workers * stack.settings.slots
    until(lambda: series(stack).get("clipstack_slots web free") == slots, 20)
    answered = series(stack).get("clipstack_requests_total ok POST /v1/classify 200", 0)
    files = {path.name for path in (stack.run_dir / "web" / "metrics").iterdir()}
    for _ in range(2):
        killed = workers(stack)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda killed=killed: len(workers(stack)) == 2 and not set(workers(stack)) & set(killed), 20)  # type: ignore[misc]
        until(lambda: ask(stack, "/readyz").status_code == 200, 20)
        assert ask(stack, "/v1/classify", clip).status_code == 200
        until(lambda: series(stack)["clipstack_processes web"] == 2, 20)
    until(lambda: series(stack).get("clipstack_slots web free") == slots, 20)
    assert series(stack)["clipstack_requests_total ok POST /v1/classify 200"] == answered + 2
    assert {path.name for path in (stack.run_dir / "web" / "metrics").iterdir()} <= files


def test_request_id_is_the_same_in_all_logs(stack: Stack, clip: bytes) -> None:
    with InferenceServerClient(stack.settings.triton_target) as triton:
        triton.update_log_settings({"log_verbose_level": 1})
        answer = ask(stack, "/v1/classify", clip)
        triton.update_log_settings({"log_verbose_level": 0})
    number = answer.headers["X-Request-Id"]
    assert answer.json()["request_id"] == number

    def logged(log: str) -> list[dict[str, Any]]:
        return [line for line in lines(stack, log) if line.get("request_id") == number]

    def answered() -> list[dict[str, Any]]:
        return [line for line in logged("web.log") if "route" in line]  # other lines about it are no second request

    until(lambda: answered() and logged("nginx-access.log"), 10)
    (line,) = answered()
    assert (line["route"], line["status"], line["model"]) == ("/v1/classify", 200, "camera_motion")
    assert line["stages_ms"]["infer"] > 0
    assert len(logged("nginx-access.log")) == 1
    until(lambda: number in (stack.run_dir / "logs" / "triton.log").read_text(errors="replace"), 10)


def test_client_text_in_logs_is_escaped_and_truncated(stack: Stack) -> None:
    path = "/%0a%7b%22level%22:%22forged%22%7d%1b[2J/" + "a" * 5000
    number = ask(stack, path).headers["X-Request-Id"]

    def logged(log: str) -> list[dict[str, Any]]:
        return [line for line in lines(stack, log) if line.get("request_id") == number]

    for log in ("web.log", "nginx-access.log"):
        until(lambda log=log: logged(log), 10)  # type: ignore[misc]
        (line,) = logged(log)
        assert 20 < len(line["path"]) <= 310
    assert not any(line.get("level") == "forged" for line in lines(stack, "web.log"))


def test_only_supervisor_writes_and_rotates_logs(stack: Stack) -> None:
    started = [CHECKOUT / "supervisor" / path for path in programs(stack.settings).split()]
    configured = {
        log for path in started for log in re.findall(r"s/logs/([\w-]+\.log)$", path.read_text(), re.MULTILINE)
    }
    assert {path.name for path in (stack.run_dir / "logs").iterdir()} - {"supervisord.log"} == configured
    for path in (CHECKOUT / "supervisor" / "programs").glob("*.conf"):
        text = path.read_text()
        assert text.count("_logfile=") == text.count("_logfile_maxbytes=") == text.count("_logfile_backups=") > 0
    held = [
        os.readlink(link)
        for pid in stack.processes()
        for link in Path(f"/proc/{pid}/fd").glob("*")
        if link.is_symlink()
    ]
    supervisor = int((stack.run_dir / "supervisord.pid").read_text())
    own = [os.readlink(link) for link in Path(f"/proc/{supervisor}/fd").glob("*") if link.is_symlink()]
    assert sum("/logs/" in place for place in held) == sum("/logs/" in place for place in own) > 0


@pytest.mark.parametrize("path", ["/metrics", "/status", "/status.json", "//metrics", "/x/../metrics", "/%6detrics"])
def test_metrics_are_refused_to_other_addresses(stack: Stack, path: str) -> None:
    # From an address of this machine that is not in CLIPSTACK_MONITORS of this stack
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(transport=transport) as stranger:
        answer = stranger.get(httpx.URL(stack.url, raw_path=path.encode()))
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert stranger.get(stack.url + "/healthz").status_code == 200


@contextmanager
def prometheus(stack: Stack, folder: Path) -> Iterator[str]:
    """A real Prometheus with the rules of deploy/monitoring at short intervals; yields the URL of its API."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed (Debian's package of that name; deploy/setup test)")
    config = (MONITORING / "prometheus.yml").read_text()
    for usual, own in (
        ("127.0.0.1:8080", stack.url.removeprefix("http://")),
        ("_interval: 15s", "_interval: 1s"),
        ("scrape_timeout: 10s", "scrape_timeout: 1s"),
    ):
        assert usual in config
        config = config.replace(usual, own)
    (folder / "prometheus.yml").write_text(config)
    rules = (MONITORING / "rules.yml").read_text()
    (folder / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules))
    (port,) = free_ports(1)
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([*command, listen, "--log.level=warn"], stdout=log, stderr=log, cwd=folder)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(30)


def test_alert_fires_when_triton_is_stopped_and_ends_with_it(stack: Stack, clip: bytes, tmp_path: Path) -> None:
    with prometheus(stack, tmp_path) as api:

        def get(path: str, **query: str) -> Any:
            try:
                return httpx.get(f"{api}/{path}", params=query, timeout=5).json()["data"]
            except (httpx.HTTPError, ValueError):
                return {"activeTargets": [], "alerts": [], "result": []}

        def healthy() -> set[str]:
            return {target["scrapePool"] for target in get("targets")["activeTargets"] if target["health"] == "up"}

        def firing() -> set[str]:
            return {alert["labels"]["alertname"] for alert in get("alerts")["alerts"] if alert["state"] == "firing"}

        until(lambda: healthy() == {"clipstack", "triton"}, 30)
        assert ask(stack, "/v1/classify", clip).status_code == 200
        # Triton's metrics that the dashboard queries
        named = set(re.findall(r"\bnv_\w+", (MONITORING / "dashboard.json").read_text()))
        until(lambda: named <= set(get("label/__name__/values")), 15)
        until(lambda: not firing() & {"ClipstackDown", "ClipstackTritonDown", "ClipstackModelNotReady"}, 15)
        stack.supervisorctl("stop", "triton")
        try:
            until(lambda: "ClipstackTritonDown" in firing(), 30)
            assert "ClipstackDown" not in firing()
        finally:
            stack.supervisorctl("start", "triton")
        until(lambda: "ClipstackTritonDown" not in firing(), 30)
