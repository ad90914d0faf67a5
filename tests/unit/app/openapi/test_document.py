"""The description of the API matches the code: routes, errors and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from app import create_app, errors
from app.openapi import codes, document
from app.openapi.routes import NGINX_ERRORS, routes
from app.openapi.texts import MEANINGS
from app.settings import Settings
from tests.conftest import CHECKOUT

SETTINGS = Settings.from_environment({})
DOCUMENT = document(SETTINGS)
OPERATIONS = [operation for methods in DOCUMENT["paths"].values() for operation in methods.values()]
# HTML pages and their data, metrics for Prometheus, and routes for nginx only
NO_API = {"/", "/docs", "/login", "/logout", "/models", "/status", "/status.json", "/metrics"}


def addresses() -> set[tuple[str, str]]:
    """Return (address, method) of all routes of Flask except pages."""
    rules = create_app(SETTINGS).url_map.iter_rules()
    return {
        (re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        if rule.rule not in NO_API and not rule.rule.startswith("/static/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def subclasses(kind: type) -> Iterator[type]:
    yield kind
    for item in kind.__subclasses__():
        yield from subclasses(item)


def test_exactly_the_routes_are_described() -> None:
    documented = {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods.keys() - {"head", "options"}
    }
    assert documented == addresses()


def test_every_error_of_the_app_is_described_somewhere() -> None:
    own = {
        subclass
        for subclass in subclasses(errors.ClipstackError)
        if subclass.__module__ in ("app.errors", "app.uploads.errors")
    }
    documented = {
        (status, code) for route in routes(SETTINGS) for status, names in _codes(route).items() for code in names
    }
    assert {(subclass.status, subclass.code) for subclass in own} - documented == set()


def _codes(route) -> dict[int, set[str]]:
    return codes(SETTINGS, route.path, route.method)


def test_exactly_the_error_codes_have_a_meaning() -> None:
    documented = {code for route in routes(SETTINGS) for names in _codes(route).values() for code in names}
    assert documented == MEANINGS.keys()


def test_samples_send_a_key_where_one_is_required() -> None:
    settings = Settings.from_environment({"CLIPSTACK_KEYS": "required"})
    paths = document(settings, "https://clips.example")["paths"]
    curl, python, javascript = (sample["source"] for sample in paths["/v1/classify"]["post"]["x-codeSamples"])
    assert 'Bearer $CLIPSTACK_KEY" \\\n  "https://clips.example/v1/classify?top_k=3"' in curl
    assert "process.env.CLIPSTACK_KEY" in javascript and 'Client("https://clips.example")' in python
    (curl,) = (sample["source"] for sample in paths["/healthz"]["get"]["x-codeSamples"])
    assert curl == 'curl -sS \\\n  "https://clips.example/healthz"'


def test_nginx_s_own_errors_are_described() -> None:
    text = (CHECKOUT / "nginx" / "conf.d" / "errors.conf").read_text()
    table = text.partition("map $status $error_code {")[2].partition("}")[0]
    documented = {int(status): {code} for status, code in re.findall(r"^ +(\d{3})\s+([\w$]+);", table, re.MULTILINE)}
    for status, name in ((403, "$forbidden_code"), (503, "$busy_code")):
        assert documented[status] == {name}
        table = text.partition(f" {name} {{")[2].partition("}")[0]
        documented[status] = set(re.findall(r"^ +\S+ +(\w+);", table, re.MULTILINE))
    assert documented == {status: set(codes) for status, codes in NGINX_ERRORS.items()}


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
def test_statuses_of_busy_answers_carry_retry_after(path: str) -> None:
    assert "Retry-After" in DOCUMENT["paths"][path]["post"]["responses"]["503"]["headers"]


def test_limits_are_the_configured_ones() -> None:
    other = Settings.from_environment({"CLIPSTACK_MAX_CLIPS": "3"})
    parameters = document(other)["paths"]["/v1/classify"]["post"]["parameters"]
    assert {item["name"]: item["schema"].get("maximum") for item in parameters}["clips"] == 3


def test_the_document_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


def test_operations_have_unique_names_and_one_known_tag() -> None:
    names = [operation["operationId"] for operation in OPERATIONS]
    assert {"classify", "submit_job", "list_jobs", "get_job"} <= set(names) and len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert all(len(operation["tags"]) == 1 and operation["tags"][0] in tags for operation in OPERATIONS)


def fields(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Return every property below `schema`, with its path."""
    for name, value in schema.get("properties", {}).items():
        yield f"{path}.{name}", value
        yield from fields(value, f"{path}.{name}")
    for inner in [schema.get("items"), *schema.get("anyOf", ())]:
        if inner is not None:
            yield from fields(inner, path)


def has_example(schema: Any) -> bool:
    """Return whether there is an example of the value, or of all its parts."""
    inner = [schema.get("items"), *schema.get("anyOf", ())]
    nested = "$ref" in schema or any(part and ("properties" in part or "$ref" in part) for part in [schema, *inner])
    return "examples" in schema or nested


def test_every_field_has_a_description_and_an_example() -> None:
    schemas = dict(DOCUMENT["components"]["schemas"])
    for operation in OPERATIONS:
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            schemas[f"{operation['operationId']} {kind}"] = media["schema"]
    documented = [field for name, schema in schemas.items() for field in fields(schema, name)]
    assert [path for path, schema in documented if "description" not in schema] == []
    files = ("multipart/form-data.file", ".thumbnails")  # bytes; pictures in base64
    assert [path for path, schema in documented if not has_example(schema) and not path.endswith(files)] == []
    for operation in OPERATIONS:
        for parameter in operation.get("parameters", ()):
            assert parameter["description"] and parameter["examples"]["default"]["value"] is not None, parameter["name"]


def test_answers_may_get_further_fields_and_requests_may_not() -> None:
    answers = str(DOCUMENT["components"]["schemas"])
    assert "'additionalProperties': False" not in answers
    for path in ("/v1/classify", "/v1/jobs"):
        content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
        assert content["multipart/form-data"]["schema"]["additionalProperties"] is False
        assert content["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"
        assert content["application/octet-stream"]["schema"]["format"] == "binary"


def test_generated_clients_send_no_defaults_that_replace_fields_of_form() -> None:
    for operation in OPERATIONS:
        assert not [item["name"] for item in operation.get("parameters", ()) if "default" in item["schema"]]


def test_every_reference_resolves() -> None:
    names = re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(DOCUMENT))
    assert names and set(names) <= DOCUMENT["components"]["schemas"].keys()
