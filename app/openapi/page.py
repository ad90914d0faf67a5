"""The page at /docs: the description of the API for people, made here, without a script or another host."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Blueprint, g, render_template, request

from app.openapi.document import codes, document
from app.openapi.error_meanings import MEANINGS
from app.openapi.reading import command, kind, rows
from app.settings import Settings
from app.uploads.parser import MAX_JSON_BYTES
from app.web import pages
from app.web.classify import settings

Codes = set[tuple[int, str]]
RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

blueprint = Blueprint("reference", __name__)


@blueprint.get("/docs")
def page() -> str:
    told = settings()
    return render_template(
        "docs.html", static=pages.static_url, host=request.host_url, key=g.key, **contents(told, request.host_url)
    )


def contents(told: Settings, host: str) -> dict[str, Any]:
    """What the page shows: operations, schemas and errors, those of every address apart from each one's own."""
    described = document(told)
    found = {
        (path, method): {(status, code) for status, some in codes(told, path, method).items() for code in some}
        for path, methods in described["paths"].items()
        for method in methods
    }
    common = set.intersection(*found.values())
    return {
        "operations": [
            _operation(path, method, described["paths"][path][method], found[path, method] - common, host)
            for path, method in found
        ],
        "schemas": {name: list(rows(schema)) for name, schema in described["components"]["schemas"].items()},
        "errors": _errors(set.union(*found.values()), common),
        "max_upload_mb": told.max_upload_mb,
        "max_json_mb": min(told.max_upload_mb, MAX_JSON_BYTES >> 20),
    }


def _operation(path: str, method: str, operation: dict[str, Any], own: Codes, host: str) -> dict[str, Any]:
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": operation["summary"],
        "parameters": [each | {"kind": kind(each["schema"])} for each in operation.get("parameters", ())],
        "takes_file": "requestBody" in operation,
        "answers": [
            (status, content, kind(it["schema"]) if "schema" in it else None)
            for status, answer in operation["responses"].items()
            if int(status) < 400 or "application/json" not in answer["content"]
            for content, it in answer["content"].items()
        ],
        "headers": {name: kind(it["schema"]) for name, it in _good(operation)["headers"].items()},
        "errors": _by_status(own),
        "curl": [command(path, method, operation, host, key=False), command(path, method, operation, host, key=True)],
    }


def _good(operation: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = next(iter(operation["responses"].values()))
    return answer


def _by_status(found: Codes) -> list[tuple[int, list[str]]]:
    return [
        (status, sorted(code for other, code in found if other == status)) for status in sorted({s for s, _ in found})
    ]


def _errors(found: Codes, common: Codes) -> list[dict[str, Any]]:
    return [
        {
            "status": status,
            "code": code,
            "meaning": MEANINGS[code],
            "anywhere": (status, code) in common,
            "again": status in RETRIED,
        }
        for status, code in sorted(found)
    ]
