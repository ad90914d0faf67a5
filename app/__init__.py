"""Clipstack's web application: `create_app` wires the parts, each of which knows nothing of the others' making."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:  # those who only read the settings, Triton's container for one, do without Flask
    from flask import Flask


def create_app(settings: Settings) -> Flask:
    """A Flask app that answers once `start(app)` was called, after fork."""
    from flask import Flask

    from app import pages, views
    from app.jobs import views as job_views
    from app.jobs.desk import Desk
    from app.pipeline import Pipeline

    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["CLIPSTACK"] = settings
    app.extensions["clipstack"] = Pipeline(settings)
    app.extensions["clipstack.jobs"] = Desk(settings)
    app.extensions["clipstack.watchers"] = job_views.Watchers(settings.max_watchers)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(job_views.blueprint)
    app.register_blueprint(pages.blueprint)
    return app


def start(app: Flask, gpu: int | None = None) -> None:
    """Starts what does not survive a fork: event loop, decoders, connections; `gpu` as Pipeline.start takes it."""
    app.extensions["clipstack"].start(gpu)
    app.extensions["clipstack.jobs"].start()


def stop(app: Flask) -> None:
    """Ends what `start` began; safe to call twice."""
    app.extensions["clipstack.jobs"].stop()
    app.extensions["clipstack"].stop()
