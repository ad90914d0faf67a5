"""The views /docs, a viewer of the API, and /v1/openapi.json, the document that it shows. Neither needs a key."""

from flask import Blueprint, Response, jsonify, render_template, request

from app.auth import guard
from app.openapi.document import document
from app.parts import part
from app.settings import Settings
from app.web.site import pages

blueprint = Blueprint("reference", __name__)


@blueprint.get("/v1/openapi.json")
@guard.public
def description() -> Response:
    """Return the OpenAPI document."""
    return jsonify(document(part(Settings), request.host_url.rstrip("/")))


@blueprint.get("/docs")
@guard.public
def page() -> str:
    """Render the page of the viewer."""
    return render_template("docs.html", static=pages.static_url)
