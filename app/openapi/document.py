"""Puts the document together."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from app.openapi.routes import ANYWHERE, EDGE, JSON, Parameter, Route, body, routes
from app.openapi.schemas import SCHEMAS, ref
from app.settings import Settings

VERSION = "1"
_COME_BACK = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
# Either way, where keys are asked for at all
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `clipstack-keys create`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}


def document(settings: Settings) -> dict[str, Any]:
    """The whole API with the limits of these settings, as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes(settings):
        paths[route.path][route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clipstack",
            "version": VERSION,
            "description": "Says what is in a video or a picture. Every error is JSON with a code.",
        },
        "servers": [{"url": "/"}],
        "paths": dict(paths),
        "components": {"schemas": SCHEMAS, "securitySchemes": _KEYS},
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def codes(settings: Settings, path: str, method: str) -> dict[int, set[str]]:
    """The codes of every error status that this address may answer, nginx's own included."""
    (route,) = [each for each in routes(settings) if (each.path, each.method) == (path, method)]
    return _codes(route)


def _codes(route: Route) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for status, names in EDGE.items():
        found[status].update(names)
    for error in ANYWHERE + route.errors:
        found[error.status].add(error.code)
    if route.fields is not None:
        found[HTTPStatus.SERVICE_UNAVAILABLE] |= {"overloaded", "storage_full"}  # of nginx too, where files are taken
    return dict(found)


def _operation(route: Route) -> dict[str, Any]:
    parameters = route.parameters + (route.fields or ())
    told: dict[str, Any] = {
        "summary": route.help,
        "operationId": route.method + "".join(filter(str.isalnum, route.path.title())),
        "responses": _responses(route),
    }
    if parameters:
        told["parameters"] = [_parameter(each) for each in parameters]
    if route.fields is not None:
        told["requestBody"] = body(route.fields)
    return told


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.help,
        "schema": parameter.schema,
    }


def _responses(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for status, content in route.answers.items():
        told[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
            "headers": {name: {"schema": schema} for name, schema in route.headers.items()},
        }
    known = {error.status: "client closed its connection" for error in route.errors if error.status == 499}
    for status, each in sorted(_codes(route).items()):
        told[str(status)] = {
            "description": f"{known.get(status) or HTTPStatus(status).phrase}: {', '.join(sorted(each))}",
            "content": {JSON: {"schema": ref("Error")}},
            "headers": _RETRY_AFTER if status in _COME_BACK else {},
        }
    return told
