"""Request hooks that record each request's metrics and its log line."""

import logging
import time

from flask import Flask, Response, g, request

from app.admission import deadline
from app.metrics.history import outcome
from app.metrics.service import MetricsService
from app.parts import part
from app.pipeline.timings import StageTimings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # clients may send any other: labelled `other`
NO_ROUTE = "(none)"  # label of unknown paths: clients choose them, without bound
POLLED_PATHS = ("/healthz", "/readyz", "/metrics", "/status.json")  # polled every few seconds by machines

log = logging.getLogger("app.requests")


def record_requests(app: Flask) -> None:
    """Register hooks that run before and after all others of `app`."""

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started + deadline.waited_s(request.headers)
        recorder = part(MetricsService).recorder
        route = request.url_rule.rule if request.url_rule else NO_ROUTE
        method = request.method if request.method in METHODS else "other"
        code = g.get("error_code", "ok" if response.status_code < 400 else "error")
        recorder.count("clipstack_requests_total", method, route, str(response.status_code), code)
        recorder.observe("clipstack_request_seconds", seconds, route, outcome(response.status_code))
        stages: StageTimings | None = g.get("stages")
        spent_ms = stages.milliseconds() if stages else {}
        for stage, ms in spent_ms.items():
            if stage != "total":
                recorder.observe("clipstack_stage_seconds", ms / 1e3, stage)
        answered: list[tuple[str, str]] = g.get("answered", [])
        for answer in answered:
            recorder.count("clipstack_answers_total", *answer)
        model, cache = answered[0] if answered else ("", "")
        stats = {"method": method, "route": route, "path": request.path, "status": response.status_code, "code": code}
        stats |= {"ms": round(seconds * 1e3, 2), "stages_ms": spent_ms, "model": model, "cache": cache}
        level = logging.DEBUG if route in POLLED_PATHS and response.status_code < 400 else logging.INFO
        log.log(level, "%s %s %d", method, request.path, response.status_code, extra={"facts": stats})
        return response
