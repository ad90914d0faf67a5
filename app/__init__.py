"""Clipstack's web application: `create_app` builds the parts and wires them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:  # Triton's container reads the settings and has no Flask
    from flask import Flask


def create_app(settings: Settings) -> Flask:
    """Return a Flask app; it answers requests once `start(app)` has run, after fork."""
    from flask import Flask

    from app.auth import guard
    from app.auth.authenticator import Authenticator
    from app.feedback.store import FeedbackStore
    from app.jobs.search import MomentSearch
    from app.jobs.service import JobService
    from app.metrics.middleware import record_requests
    from app.metrics.service import MetricsService
    from app.nodes.idempotency import IdempotencyKeys
    from app.nodes.peers import Peers
    from app.nodes.shared_state import SharedState
    from app.openapi import parameter_names
    from app.openapi import views as openapi_views
    from app.pipeline.cache import ResultCache
    from app.pipeline.readiness import WorkerRegistry
    from app.pipeline.worker import Pipeline
    from app.uploads.resumable import open_store
    from app.uploads.transfer import TransferLimiter
    from app.web import classify, error_handlers, feedback, known_params, search, webhooks
    from app.web import jobs as job_views
    from app.web.headers import KnownHeaders
    from app.web.job_events import EventStreamLimiter
    from app.web.site import login, pages, status
    from app.web.sources import uploads
    from app.web.sources.remote import RemoteFiles
    from app.web.traced_requests import trace_requests

    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    workers = WorkerRegistry(settings.run_dir / "web" / "crew")
    pipeline = Pipeline(settings, workers)
    monitor = MetricsService(settings, "web", pipeline.facts)
    shared_state = None
    if settings.redis_url:
        shared_state = SharedState(settings.redis_url, lambda: monitor.recorder.count("clipstack_redis_failures_total"))
    jobs = JobService(settings)
    parts = (
        *(settings, workers, pipeline, monitor, jobs),
        Peers(settings.node, settings.other_nodes),
        IdempotencyKeys(settings.node, settings.other_nodes, shared_state, settings.job_days),
        ResultCache(settings.data_dir / "results", settings.results_mb << 20),
        MomentSearch(jobs.folder, settings.search_mb << 20),
        RemoteFiles(settings),
        FeedbackStore.from_settings(settings),
        open_store(settings),
        TransferLimiter(settings.max_transfers),
        EventStreamLimiter(settings.max_watchers),
        Authenticator(settings, pipeline.admission.backlog_s, shared_state),
    )
    app.extensions |= {type(each).__name__: each for each in parts}
    app.extensions[known_params.EXTENSION] = parameter_names(settings)
    record_requests(app)
    trace_requests(app)
    # The guard stands before known_params, which thus looks only at requests with a key
    for module in (classify, error_handlers, feedback, guard, known_params, login, job_views, webhooks, search):
        app.register_blueprint(module.blueprint)
    for module in (openapi_views, pages, uploads, status):
        app.register_blueprint(module.blueprint)
    app.wsgi_app = KnownHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app


def start(app: Flask, gpu: int | None = None) -> None:
    """Start what does not survive a fork: event loop, decoder processes, connections; `gpu` as for `Pipeline.start`."""
    from app import tracing  # Triton's container does not have this module

    tracing.start(app.extensions["Settings"].otel_endpoint, "web")
    app.extensions["Pipeline"].start(gpu)
    app.extensions["JobService"].start()
    app.extensions["MetricsService"].start()


def stop(app: Flask) -> None:
    """Stop what `start` started. Safe to call twice."""
    from app import tracing

    app.extensions["MetricsService"].stop()
    app.extensions["FeedbackStore"].close()
    app.extensions["JobService"].stop()
    app.extensions["Peers"].close()
    app.extensions["Pipeline"].stop()
    tracing.stop()
