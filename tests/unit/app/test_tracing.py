"""Spans of stages: names, parents, times and propagation; none while traces are off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import create_app, tracing
from app.pipeline.loop_thread import LoopThread
from app.pipeline.timings import StageTimings
from app.settings import InvalidSetting, Settings

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.stop()


def spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_of(span: ReadableSpan) -> str:
    return "" if span.parent is None else f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    return f"{span.get_span_context().span_id:016x}"


def test_stages_are_spans_below_the_request(exporter: InMemorySpanExporter) -> None:
    with tracing.span("request", parent=HEADER, is_server=True):
        timings = StageTimings()
        timings.end("receive")
        with timings.stage("decode"):
            pass
        timings.split("decode", "probe", 1e-6)
        with pytest.raises(ValueError), timings.stage("infer"):
            raise ValueError
    exported = spans(exporter)
    assert set(exported) == {"request", "receive", "decode", "probe", "infer"}
    assert parent_of(exported["request"]) == PARENT
    for name in ("receive", "decode", "probe", "infer"):
        assert parent_of(exported[name]) == id_of(exported["request"])
        assert f"{exported[name].get_span_context().trace_id:032x}" == TRACE
        assert 0 <= (exported[name].end_time or 0) - (exported[name].start_time or 0) < 1e9
    assert (exported["infer"].status.is_ok, exported["decode"].status.is_ok) == (False, True)


def test_current_span_is_passed_on(exporter: InMemorySpanExporter) -> None:
    assert tracing.headers() is None
    with tracing.span("request", parent=HEADER):
        headers = tracing.headers()
        assert headers == {"traceparent": tracing.traceparent()}
    assert tracing.traceparent() == ""
    assert headers == {"traceparent": f"00-{TRACE}-{id_of(spans(exporter)['request'])}-01"}


def test_coroutine_keeps_span_of_its_submitter(exporter: InMemorySpanExporter) -> None:
    loop = LoopThread()
    loop.start()

    async def infer() -> dict[str, str] | None:
        await asyncio.sleep(0)
        with tracing.span("infer"):
            return tracing.headers()

    try:
        with tracing.span("request", parent=HEADER):
            headers = loop.run(infer())
        assert loop.run(_headers()) is None
    finally:
        loop.stop()
    exported = spans(exporter)
    assert headers is not None and id_of(exported["infer"]) in headers["traceparent"]
    assert parent_of(exported["infer"]) == id_of(exported["request"])


async def _headers() -> dict[str, str] | None:
    return tracing.headers()


def test_long_block_passes_on_few_calls(exporter: InMemorySpanExporter) -> None:
    with tracing.span("job"), tracing.passing_on(2):
        assert [tracing.headers() is None for _ in range(4)] == [False, False, True, True]
    with tracing.span("request"):
        assert all(tracing.headers() for _ in range(4))


def test_span_that_is_not_sampled_is_not_passed_on(exporter: InMemorySpanExporter) -> None:
    with tracing.span("request", parent=f"00-{TRACE}-{PARENT}-00"):
        assert tracing.headers() is None
    assert spans(exporter) == {}


@pytest.mark.parametrize(
    "header", ["x", "00-0-0-01", HEADER.upper(), HEADER + "\n", "00-" + "0" * 32 + f"-{PARENT}-01"]
)
def test_malformed_header_begins_a_new_trace(exporter: InMemorySpanExporter, header: str) -> None:
    with tracing.span("request", parent=header):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.parent is None and f"{span.get_span_context().trace_id:032x}" != TRACE


def test_request_is_a_span_with_its_status(exporter: InMemorySpanExporter) -> None:
    app = create_app(Settings.from_environment({}))
    client = app.test_client()
    assert client.get("/v1/jobs?limit=0", headers={"traceparent": HEADER}).status_code == 400
    assert client.get("/healthz", headers={"traceparent": HEADER}).status_code == 200
    assert client.get("/none", headers={"traceparent": HEADER}).status_code == 404
    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /v1/jobs" and parent_of(span) == PARENT and span.attributes is not None
    assert span.attributes["http.response.status_code"] == 400
    assert span.attributes["error.type"] == "invalid_parameter" and span.attributes["clipstack.request_id"]


def test_no_spans_while_off() -> None:
    assert not tracing.is_on()
    assert tracing.span("a") is tracing.span("b")
    with tracing.span("a"):
        assert (tracing.headers(), tracing.traceparent()) == (None, "")
    tracing.start("", "web")
    assert not tracing.is_on()
    tracing.stop()


@pytest.mark.parametrize("text", ["collector:4318", "ftp://collector", "http://", "http://a b"])
def test_wrong_endpoint_is_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_OTEL_ENDPOINT"):
        Settings.from_environment({"CLIPSTACK_OTEL_ENDPOINT": text})
