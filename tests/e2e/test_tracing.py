"""Traces of the whole stack at a real collector: stages of requests and jobs, and Triton's own spans below them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from deploy.stack.stack import Stack
from tests.e2e.otlp_collector import Collector, Span, collecting
from tests.support.films import panning, write_video
from tests.support.job_requests import submit_job, wait_for_job
from tests.support.stacks import CHECKOUT, running_stack, until

PARENT = "00f067aa0ba902b7"
STAGES = {"receive", "queue", "probe", "decode", "infer", "answer"}
PATIENCE_S = 30.0  # spans are exported every 5 s


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(collector: Collector) -> Iterator[Stack]:
    with running_stack(wait=False, models=("camera_motion",), otel_endpoint=collector.url) as stack:
        yield stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        yield http


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    frames = panning(90, 160, 120, step=1, seed=9)
    return write_video(tmp_path_factory.mktemp("films") / "film.mp4", frames).read_bytes()


def of_service(spans: list[Span], service: str) -> dict[str, Span]:
    return {span.name: span for span in spans if span.service == service}


def test_request_and_its_inference_are_one_trace(http: httpx.Client, collector: Collector, film: bytes) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = http.post("/v1/classify", content=film, headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    assert answer.status_code == 200, answer.text

    def arrived() -> bool:
        services = {span.service for span in collector.of_trace(trace)}
        return services == {"clipstack-web", "clipstack-triton"}

    until(arrived, PATIENCE_S)
    web = of_service(collector.of_trace(trace), "clipstack-web")
    request = web["POST /v1/classify"]
    assert request.parent == PARENT
    assert request.attributes["clipstack.request_id"] == answer.json()["request_id"]
    assert set(web) == STAGES | {"POST /v1/classify"}
    for stage in STAGES:
        assert web[stage].parent == request.id
        assert request.start_ns <= web[stage].start_ns <= web[stage].end_ns <= request.end_ns + 50_000_000
    triton = [span for span in collector.of_trace(trace) if span.service == "clipstack-triton"]
    assert web["infer"].id in {span.parent for span in triton}


def test_job_is_part_of_the_trace_of_its_request(http: httpx.Client, collector: Collector, film: bytes) -> None:
    trace = "5bf92f3577b34da6a3ce929d0e0e4737"
    http.headers["traceparent"] = f"00-{trace}-{PARENT}-01"
    job = submit_job(http, film)
    del http.headers["traceparent"]
    assert wait_for_job(http, job["id"])["state"] == "done"
    until(lambda: {"job", "POST /v1/jobs"} <= {span.name for span in collector.of_trace(trace)}, PATIENCE_S)
    jobs, web = (of_service(collector.of_trace(trace), f"clipstack-{name}") for name in ("jobs", "web"))
    assert jobs["job"].parent == web["POST /v1/jobs"].id
    assert jobs["job"].attributes["clipstack.job"] == job["id"]
    assert jobs["probe"].parent == jobs["scan"].parent == jobs["job"].id
    until(lambda: of_service(collector.of_trace(trace), "clipstack-triton"), PATIENCE_S)
    triton = [span for span in collector.of_trace(trace) if span.service == "clipstack-triton"]
    assert jobs["scan"].id in {span.parent for span in triton}


def test_requests_without_header_begin_a_trace(http: httpx.Client, collector: Collector, film: bytes) -> None:
    answer = http.post("/v1/classify", content=film)

    def request() -> list[Span]:
        identity = answer.json()["request_id"]
        return [span for span in collector.spans if span.attributes.get("clipstack.request_id") == identity]

    (span,) = until(request, PATIENCE_S)
    assert span.parent == ""


def test_nothing_is_imported_while_traces_are_off() -> None:
    code = (
        "import sys; from app import create_app, tracing; from app.settings import Settings\n"
        "import app.job_worker\n"
        "app = create_app(Settings.from_environment({})); app.test_client().get('/healthz')\n"
        "with tracing.span('a'): tracing.headers()\n"
        # other packages import some of the API where it is installed
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_web_starts_without_the_slow_imports_of_jobs_and_shared_limits() -> None:
    code = "import sys; import app.wsgi; print({'huey', 'redis'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
