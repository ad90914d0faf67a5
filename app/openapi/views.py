"""The views /docs, rendered on the server without scripts or third-party hosts, and /v1/openapi.json."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, g, jsonify, render_template, request

from app.openapi.document import codes, document
from app.openapi.reading import command, kind, rows
from app.openapi.texts import MEANINGS
from app.settings import Settings
from app.uploads.parser import MAX_JSON_BYTES
from app.web import pages
from app.web.classify import settings

Codes = set[tuple[int, str]]
RETRYABLE = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

blueprint = Blueprint("reference", __name__)


@blueprint.get("/v1/openapi.json")
def description() -> Response:
    """Return the OpenAPI document."""
    return jsonify(document(settings()))


@blueprint.get("/docs")
def page() -> str:
    """Render the API reference."""
    limits = settings()
    return render_template(
        "docs.html", static=pages.static_url, host=request.host_url, key=g.key, **contents(limits, request.host_url)
    )


def contents(limits: Settings, host: str) -> dict[str, Any]:
    """Return the template's data: operations, schemas, errors and limits.

    Errors that every operation can answer are listed once and left out of the single operations.
    """
    api = document(limits)
    errors = {
        (path, method): {(status, code) for status, names in codes(limits, path, method).items() for code in names}
        for path, methods in api["paths"].items()
        for method in methods
    }
    common = set.intersection(*errors.values())
    return {
        "operations": [
            _operation(path, method, api["paths"][path][method], errors[path, method] - common, host)
            for path, method in errors
        ],
        "schemas": {name: list(rows(schema)) for name, schema in api["components"]["schemas"].items()},
        "errors": _errors(set.union(*errors.values()), common),
        "max_upload_mb": limits.max_upload_mb,
        "max_json_mb": min(limits.max_upload_mb, MAX_JSON_BYTES >> 20),
    }


def _operation(path: str, method: str, operation: dict[str, Any], specific_errors: Codes, host: str) -> dict[str, Any]:
    """Return one operation for the template; `specific_errors` are the errors that not every operation can answer."""
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation["summary"],
        "parameters": [
            parameter | {"kind": kind(parameter["schema"])} for parameter in operation.get("parameters", ())
        ],
        "takes_file": "requestBody" in operation,
        "answers": [
            (status, content, kind(media["schema"]) if "schema" in media else None)
            for status, response in operation["responses"].items()
            if int(status) < 400 or "application/json" not in response["content"]
            for content, media in response["content"].items()
        ],
        "headers": {name: kind(media["schema"]) for name, media in _success(operation)["headers"].items()},
        "errors": _by_status(specific_errors),
        "curl": [command(path, method, operation, host, key=False), command(path, method, operation, host, key=True)],
    }


def _success(operation: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = next(iter(operation["responses"].values()))
    return response


def _by_status(pairs: Codes) -> list[tuple[int, list[str]]]:
    """Return the sorted codes of each status, in the order of the statuses."""
    return [
        (status, sorted(code for other, code in pairs if other == status)) for status in sorted({s for s, _ in pairs})
    ]


def _errors(pairs: Codes, common: Codes) -> list[dict[str, Any]]:
    """Return the rows of the error table; `anywhere` marks those in `common`, `again` those worth a retry."""
    return [
        {
            "status": status,
            "code": code,
            "meaning": MEANINGS[code],
            "anywhere": (status, code) in common,
            "again": status in RETRYABLE,
        }
        for status, code in sorted(pairs)
    ]
