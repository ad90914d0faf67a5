"""A collector of traces on a free port: takes OTLP over HTTP, in Protocol Buffers or, from Triton, in JSON."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Span:
    """A received span; ids are hexadecimal, `parent` is empty for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, str]


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of_trace(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: Collector

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            content = gzip.decompress(content)
        assert self.path == "/v1/traces"
        if self.headers["Content-Type"] == "application/json":
            request, ids = json.loads(content), str.lower
        else:
            request, ids = MessageToDict(ExportTraceServiceRequest.FromString(content)), _hexadecimal
        self.server.spans += _spans(request, ids)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _spans(request: dict[str, Any], ids: Callable[[str], str]) -> Iterator[Span]:
    for resource in request["resourceSpans"]:
        service = _attributes(resource["resource"])["service.name"]
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            identity = (ids(span.get(name, "")) for name in ("traceId", "spanId", "parentSpanId"))
            times = (int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))
            yield Span(service, span["name"], *identity, *times, _attributes(span))


def _attributes(record: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"].get("stringValue", "") for item in record.get("attributes", ())}


def _hexadecimal(text: str) -> str:
    """Return an id in OTLP's JSON format; Protocol Buffers' JSON has it in base64."""
    return base64.b64decode(text).hex()


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
