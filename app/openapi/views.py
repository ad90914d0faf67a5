"""The view that serves the OpenAPI document."""

from flask import Blueprint, Response, jsonify

from app.openapi.document import document
from app.web.classify import settings

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/v1/openapi.json")
def description() -> Response:
    """Return the OpenAPI document."""
    return jsonify(document(settings()))
