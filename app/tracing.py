"""Traces: stages of requests and jobs as OpenTelemetry spans; off unless CLIPSTACK_OTEL_ENDPOINT is set.

While they are off, nothing of OpenTelemetry is imported and `span` returns the same empty context manager. The current
span is a context variable: a coroutine that is submitted to an event loop keeps its submitter's.

The SDK reads further settings from its own variables, for example OTEL_TRACES_SAMPLER.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

PATH = "/v1/traces"  # of OTLP over HTTP
EXPORT_S = 5.0  # longest export; spans that the collector does not take in time are dropped
MAX_QUEUED = 2048  # spans that wait for their export; further ones are dropped
HEADER = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
Attribute = str | int | float | bool

_OFF = nullcontext()
_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_passed_on: ContextVar[list[int] | None] = ContextVar("passed_on", default=None)  # calls that may still carry the span


class TracingUnavailable(Exception):
    """The packages of the extra `otel` are missing."""


def start(endpoint: str, program: str) -> None:
    """Send the spans of this process, a `program` of the service, to the OTLP collector at `endpoint`, if there is one.

    Call it after fork, because it starts a thread. Raises TracingUnavailable if the packages are missing.
    """
    if not endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise TracingUnavailable(f"CLIPSTACK_OTEL_ENDPOINT needs the extra otel: {error}") from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": f"clipstack-{program}"}), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH, timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=MAX_QUEUED))
    use(provider)


def use(provider: TracerProvider | None) -> None:
    """Record spans with `provider`, or none if it is None."""
    global _provider, _tracer
    _provider, _tracer = provider, provider.get_tracer("clipstack") if provider is not None else None


def stop() -> None:
    """Export the spans that wait, and record no more. Safe to call twice."""
    provider = _provider
    use(None)
    if provider is not None:
        provider.shutdown()


def is_on() -> bool:
    """Return whether spans are recorded."""
    return _tracer is not None


def span(
    name: str, *, parent: str = "", is_server: bool = False, attributes: dict[str, Attribute] | None = None
) -> AbstractContextManager[Any]:
    """Return a context manager that records its block as a span; `is_server` if the span answers a request.

    `parent` is a `traceparent` header, ignored if it is malformed; empty for the current span, or a new trace if there
    is none.
    """
    if _tracer is None:
        return _OFF
    from opentelemetry.trace import SpanKind

    kind = SpanKind.SERVER if is_server else SpanKind.INTERNAL
    return _tracer.start_as_current_span(name, _context(parent), kind, attributes, record_exception=False)


def record(name: str, seconds: float, began_s_ago: float) -> None:
    """Record a span of `seconds` that began `began_s_ago` seconds ago, below the current one."""
    if _tracer is None:
        return
    start_ns = time.time_ns() - int(began_s_ago * 1e9)
    _tracer.start_span(name, start_time=start_ns).end(start_ns + int(seconds * 1e9))


def set_attribute(name: str, value: Attribute) -> None:
    """Set an attribute of the current span."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attribute(name, value)


@contextmanager
def passing_on(calls: int) -> Iterator[None]:
    """Let at most `calls` calls of the block carry the current span: a long job would make too many spans elsewhere."""
    token = _passed_on.set([calls])
    try:
        yield
    finally:
        _passed_on.reset(token)


def headers() -> dict[str, str] | None:
    """Return the headers that pass the current span on to another service, None if there is nothing to pass on."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    if not get_current_span().is_recording():
        return None
    remaining = _passed_on.get()
    if remaining is not None:
        if not remaining[0]:
            return None
        remaining[0] -= 1
    return _carrier()


def traceparent() -> str:
    """Return the current span as a `traceparent` header, empty when none is recorded."""
    return _carrier().get("traceparent", "") if _tracer is not None else ""


def _carrier() -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def _context(parent: str) -> Any:
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent} if HEADER.fullmatch(parent) else {})
