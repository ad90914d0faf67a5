"""Assembly of the OpenAPI document."""

from collections import defaultdict
from http import HTTPStatus
from typing import Any

from app.openapi import classify_schemas, job_schemas, webhook_routes
from app.openapi.route import JSON, Parameter, Route
from app.openapi.routes import COMMAS, COMMON_ERRORS, NGINX_ERRORS, body, routes
from app.openapi.samples import code_samples
from app.openapi.schemas import binary, ref
from app.openapi.texts import DETAILS, MEANINGS, TAGS, introduction
from app.settings import Settings

VERSION = "1"
_RETRYABLE = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
SCHEMAS = classify_schemas.SCHEMAS | job_schemas.SCHEMAS | webhook_routes.SCHEMAS
# Clients may send a key either way; CLIPSTACK_KEYS says whether they must
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `clipstack-keys create`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}


def document(settings: Settings, url: str = "http://127.0.0.1:8080") -> dict[str, Any]:
    """Return the whole API as an OpenAPI 3.1 document with the limits in `settings`; its samples use `url`."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in routes(settings):
        samples = {"x-codeSamples": code_samples(route, url, settings.asks_for_keys)}
        paths[route.path][route.method] = _operation(route) | samples
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clipstack",
            "version": VERSION,
            "summary": "Classifies videos and pictures.",
            "description": introduction(settings),
        },
        "servers": [{"url": "/", "description": "This service."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": dict(paths),
        "components": {"schemas": SCHEMAS, "securitySchemes": _KEYS},
        "security": [{"bearer": []}, {"header": []}, {}],
    }


def codes(settings: Settings, path: str, method: str) -> dict[int, set[str]]:
    """Return the error codes of each error status that this path and method can answer, nginx's included."""
    (route,) = [entry for entry in routes(settings) if (entry.path, entry.method) == (path, method)]
    return _codes(route)


def _codes(route: Route) -> dict[int, set[str]]:
    result: dict[int, set[str]] = defaultdict(set)
    for status, names in NGINX_ERRORS.items():
        result[status].update(names)
    for error in COMMON_ERRORS + route.errors:
        result[error.status].add(error.code)
    if route.fields is not None or route.body_type:
        result[HTTPStatus.SERVICE_UNAVAILABLE] |= {"overloaded", "storage_full"}  # nginx answers uploads with these too
    return dict(result)


def _operation(route: Route) -> dict[str, Any]:
    parameters = route.parameters + (route.fields or ())
    operation: dict[str, Any] = {
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
        "description": DETAILS[route.id],
        "responses": _responses(route),
    }
    if parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in parameters]
    if route.fields is not None:
        operation["requestBody"] = body(route)
    if route.body_type:
        operation["requestBody"] = {"required": True, "content": {route.body_type: {"schema": binary()}}}
    if route.public:
        operation["security"] = []
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema, required = parameter.documented, parameter.location == "path"
    # The viewer fills its request form with examples; x-disabled keeps it from sending optional ones unasked.
    example = {"value": schema.pop("examples")[0]} | ({} if required else {"x-disabled": True})
    style = COMMAS if schema.get("type") == "array" else {}
    return style | {
        "name": parameter.name,
        "in": parameter.location,
        "required": required,
        "description": schema.pop("description"),
        "examples": {"default": example},
        "schema": schema,
    }


def _responses(route: Route) -> dict[str, Any]:
    """Return the OpenAPI responses of `route` by status: first its successes, then its errors."""
    responses: dict[str, Any] = {}
    for status, content in route.responses.items():
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {kind: {"schema": schema} for kind, schema in content.items()},
            "headers": {
                name: {"description": schema["description"], "schema": schema} for name, schema in route.headers.items()
            },
        }
    for status, names in sorted(_codes(route).items()):
        responses[str(status)] = {
            "description": "\n".join(f"- `{name}`: {MEANINGS[name]}" for name in sorted(names)),
            "content": {JSON: {"schema": ref("Error")}},
            "headers": _RETRY_AFTER if status in _RETRYABLE else {},
        }
    return responses
