"""The page at /docs says all that the description says, and needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest

from app import create_app
from app.openapi import codes, document
from app.openapi.reading import Kind, command, kind, rows
from app.openapi.texts import MEANINGS
from app.settings import Settings

SETTINGS = Settings.from_environment({"CLIPSTACK_MAX_CLIPS": "5", "CLIPSTACK_MAX_UPLOAD_MB": "77"})
DOCUMENT = document(SETTINGS)
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with create_app(SETTINGS).test_client() as client:
        answer = client.get("/docs")
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        yield answer.text


def section(page: str, path: str, method: str) -> str:
    name = DOCUMENT["paths"][path][method]["operationId"]
    found = re.search(rf'<section class="card" id="{name}".*?</section>', page, re.S)
    assert found, name
    return unescape(found[0]).replace("<wbr>", "")


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_address_with_its_parameters_answers_and_a_command(page: str, path: str, method: str) -> None:
    told, operation = section(page, path, method), DOCUMENT["paths"][path][method]
    assert path in told and method.upper() in told and "curl -sS " in told
    for parameter in operation.get("parameters", ()):
        assert f"<code>{parameter['name']}</code>" in told
        assert re.sub("`", "", parameter["description"]) in re.sub("</?code>", "", told)
    for status, answer in operation["responses"].items():
        for content in answer["content"]:
            assert int(status) >= 400 or f"<code>{content}</code>" in told


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_error_stands_with_its_address_or_among_those_of_all(page: str, path: str, method: str) -> None:
    told = section(page, path, method)
    table = page.partition('id="errors"')[2]
    for status, some in codes(SETTINGS, path, method).items():
        for code in some:
            row = re.search(rf'<tr id="{code}-{status}">.*?</tr>', table, re.S)
            assert row, code
            assert ("●" in row[0]) != (f"#{code}-{status}" in told), code


def test_every_code_has_a_meaning_and_no_other_has_one() -> None:
    told = {code for path, method in OPERATIONS for some in codes(SETTINGS, path, method).values() for code in some}
    assert told == MEANINGS.keys()


def test_limits_are_those_in_force(page: str) -> None:
    assert "integer, 1 to 5" in section(page, "/v1/classify", "post")
    assert "up to 77 MiB, JSON up to 16 MiB" in page


def test_every_link_leads_somewhere_on_the_page(page: str) -> None:
    links = set(re.findall(r'href="#([^"]+)"', page))
    places = re.findall(r'id="([^"]+)"', page)
    assert links and links <= set(places)
    assert len(places) == len(set(places))


def test_it_needs_no_script_and_no_other_host(page: str) -> None:
    assert "<script" not in page and " style=" not in page
    fetched = re.findall(r'<(?:link|img)[^>]*(?:href|src)="([^"]+)"', page)
    assert fetched and all(address.startswith("/static/") for address in fetched)


def test_what_a_schema_says_of_a_value() -> None:
    media = {"$ref": "#/components/schemas/Media"}
    said = {
        Kind("", "Media"): media,
        Kind("", "Media", " or null"): {"anyOf": [media, {"type": "null"}]},
        Kind("", "Job", " or Removed"): {"anyOf": [{"$ref": "#/x/Job"}, {"$ref": "#/x/Removed"}]},
        Kind("list of ", "Media"): {"type": "array", "items": media},
        Kind("by name: number, at least 0"): {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0},
        },
        Kind("number, 0 to 1"): {"type": "number", "minimum": 0, "maximum": 1},
        Kind("a | b"): {"type": "string", "enum": ["a", "b"]},
        Kind("true or false"): {"type": "boolean"},
    }
    assert [kind(schema) for schema in said.values()] == list(said)


def test_objects_without_a_name_are_told_by_paths() -> None:
    timeline = [row.path for row in rows(DOCUMENT["components"]["schemas"]["Timeline"])]
    assert {"thumbnails", "thumbnails[].time_s", "thumbnails[].url"} <= set(timeline)
    job = {row.path: row.optional for row in rows(DOCUMENT["components"]["schemas"]["Job"])}
    assert "progress.percent" in job and "error.code" in job and not any(job.values())


def test_commands_are_what_a_shell_takes() -> None:
    one = DOCUMENT["paths"]["/v1/jobs/{identity}"]
    assert command("/v1/jobs/{identity}", "delete", one["delete"], "http://h:1/", key=True) == (
        'curl -sS -H "Authorization: Bearer $CLIPSTACK_KEY" -X DELETE "http://h:1/v1/jobs/$JOB"'
    )
