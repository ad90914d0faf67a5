"""Clipstack's web application: `create_app` wires the parts, each of which knows nothing of the others' making."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import Settings

if TYPE_CHECKING:  # those who only read the settings, Triton's container for one, do without Flask
    from flask import Flask


def create_app(settings: Settings) -> Flask:
    """A Flask app that answers once `app.extensions["clipstack"].start()` was called, after fork."""
    from flask import Flask

    from app import pages, views
    from app.pipeline import Pipeline

    app = Flask(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["CLIPSTACK"] = settings
    app.extensions["clipstack"] = Pipeline(settings)
    app.register_blueprint(views.blueprint)
    app.register_blueprint(pages.blueprint)
    return app
