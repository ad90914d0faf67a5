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
    from app.web import classify, error_handlers, known_params, nodes, search, webhooks
    from app.web import feedback as feedback_views
    from app.web import jobs as job_views
    from app.web.headers import KnownHeaders
    from app.web.job_events import EventStreamLimiter
    from app.web.site import login, pages
    from app.web.site import status as metrics_views
    from app.web.sources import remote, uploads
    from app.web.traced_requests import trace_requests

    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["CLIPSTACK"] = settings
    workers = app.extensions["clipstack.workers"] = WorkerRegistry(settings.run_dir / "web" / "crew")
    pipeline = app.extensions["clipstack"] = Pipeline(settings, workers)
    monitor = app.extensions["clipstack.monitor"] = MetricsService(settings, "web", pipeline.facts)
    shared_state = None
    if settings.redis_url:
        shared_state = SharedState(settings.redis_url, lambda: monitor.recorder.count("clipstack_redis_failures_total"))
    app.extensions[nodes.PEERS] = Peers(settings.node, settings.other_nodes)
    app.extensions[nodes.IDEMPOTENCY] = IdempotencyKeys(
        settings.node, settings.other_nodes, shared_state, settings.job_days
    )
    app.extensions["clipstack.results"] = ResultCache(settings.data_dir / "results", settings.results_mb << 20)
    jobs = app.extensions["clipstack.jobs"] = JobService(settings)
    app.extensions["clipstack.search"] = MomentSearch(jobs.folder, settings.search_mb << 20)
    app.extensions[remote.EXTENSION] = remote.RemoteFiles(settings)
    app.extensions["clipstack.feedback"] = FeedbackStore.from_settings(settings)
    app.extensions["clipstack.uploads"] = open_store(settings)
    app.extensions["clipstack.transfers"] = TransferLimiter(settings.max_transfers)
    app.extensions["clipstack.watchers"] = EventStreamLimiter(settings.max_watchers)
    app.extensions["clipstack.access"] = Authenticator(settings, pipeline.backlog_s, shared_state)
    app.extensions[known_params.EXTENSION] = parameter_names(settings)
    record_requests(app)
    trace_requests(app)
    app.register_blueprint(classify.blueprint)
    app.register_blueprint(error_handlers.blueprint)
    app.register_blueprint(feedback_views.blueprint)
    app.register_blueprint(guard.blueprint)
    app.register_blueprint(known_params.blueprint)  # after the guard: only for requests with a key
    app.register_blueprint(login.blueprint)
    app.register_blueprint(job_views.blueprint)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(search.blueprint)
    app.register_blueprint(openapi_views.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(uploads.blueprint)
    app.register_blueprint(metrics_views.blueprint)
    app.wsgi_app = KnownHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app


def start(app: Flask, gpu: int | None = None) -> None:
    """Start what does not survive a fork: the event loop, decoder processes and connections.

    Args:
        app: An app that `create_app` returned.
        gpu: As for `Pipeline.start`.
    """
    from app import tracing  # Triton's container does not have this module

    tracing.start(app.config["CLIPSTACK"].otel_endpoint, "web")
    app.extensions["clipstack"].start(gpu)
    app.extensions["clipstack.jobs"].start()
    app.extensions["clipstack.monitor"].start()


def stop(app: Flask) -> None:
    """Stop what `start` started. Safe to call twice."""
    from app import tracing

    app.extensions["clipstack.monitor"].stop()
    app.extensions["clipstack.feedback"].close()
    app.extensions["clipstack.jobs"].stop()
    app.extensions["clipstack.peers"].close()
    app.extensions["clipstack"].stop()
    tracing.stop()
