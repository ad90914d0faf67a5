"""Request hooks that record each request as a span, below the span in its `traceparent` header."""

from contextlib import ExitStack

from flask import Flask, Response, g, request

from app import tracing
from app.metrics.middleware import POLLED_PATHS


def trace_requests(app: Flask) -> None:
    """Register the hooks; static files, unknown paths and what machines poll have no span."""

    @app.before_request
    def begin() -> None:
        rule = request.url_rule
        if not tracing.is_on() or rule is None or rule.rule in POLLED_PATHS or request.endpoint == "static":
            return
        attributes: dict[str, tracing.Attribute] = {"http.request.method": request.method, "http.route": rule.rule}
        parent = request.headers.get("Traceparent", "")
        g.trace = ExitStack()
        g.trace.enter_context(
            tracing.span(f"{request.method} {rule.rule}", parent=parent, is_server=True, attributes=attributes)
        )

    @app.after_request
    def describe(response: Response) -> Response:
        if "trace" in g:
            tracing.set_attribute("http.response.status_code", response.status_code)
            tracing.set_attribute("clipstack.request_id", g.get("request_id", ""))
            if "error_code" in g:
                tracing.set_attribute("error.type", g.error_code)
        return response

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        trace: ExitStack | None = g.pop("trace", None)
        if trace is not None:
            trace.close()
