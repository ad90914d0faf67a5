"""The views /docs, a viewer of the API, and /v1/openapi.json, the document that it shows. Neither needs a key."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template, request

from app.auth import guard
from app.openapi.document import document
from app.web.classify import settings
from app.web.site import pages

blueprint = Blueprint("reference", __name__)


@blueprint.get("/v1/openapi.json")
@guard.public
def description() -> Response:
    """Return the OpenAPI document."""
    return jsonify(document(settings(), request.host_url.rstrip("/")))


@blueprint.get("/docs")
@guard.public
def page() -> str:
    """Render the page of the viewer."""
    return render_template("docs.html", static=pages.static_url)
