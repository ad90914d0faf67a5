"""The description of the API says what the code does: the same addresses, the same errors, the same limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app import create_app, errors
from app.openapi import codes, document
from app.openapi.routes import NGINX_ERRORS, routes
from app.settings import Settings
from tests.conftest import CHECKOUT

SETTINGS = Settings.from_environment({})
DOCUMENT = document(SETTINGS)
# Pages for people and their numbers, what Prometheus reads, and what nginx alone asks
NO_API = {"/", "/docs", "/login", "/logout", "/status", "/status.json", "/metrics"}


def addresses() -> set[tuple[str, str]]:
    """(address, method) of everything that Flask answers and that is no page."""
    rules = create_app(SETTINGS).url_map.iter_rules()
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in rules
        if rule.rule not in NO_API and not rule.rule.startswith("/static/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def subclasses(kind: type) -> Iterator[type]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


def test_every_address_of_the_app_is_described_and_no_other() -> None:
    told = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == addresses()


def test_every_error_of_the_app_is_described_somewhere() -> None:
    own = {each for each in subclasses(errors.ClipstackError) if each.__module__ == "app.errors"}
    told = {(status, code) for route in routes(SETTINGS) for status, names in _codes(route).items() for code in names}
    assert {(each.status, each.code) for each in own} - told == set()


def _codes(route) -> dict[int, set[str]]:
    return codes(SETTINGS, route.path, route.method)


def test_nginx_s_own_errors_are_described() -> None:
    text = (CHECKOUT / "nginx" / "conf.d" / "errors.conf").read_text()
    table = text.partition("map $status $error_code {")[2].partition("}")[0]
    told = {int(status): {code} for status, code in re.findall(r"^ +(\d{3})\s+([\w$]+);", table, re.MULTILINE)}
    for status, name in ((403, "$forbidden_code"), (503, "$busy_code")):
        assert told[status] == {name}
        table = text.partition(f" {name} {{")[2].partition("}")[0]
        told[status] = set(re.findall(r"^ +\S+ +(\w+);", table, re.MULTILINE))
    assert told == {status: set(codes) for status, codes in NGINX_ERRORS.items()}


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/jobs"])
def test_statuses_of_busy_answers_carry_retry_after(path: str) -> None:
    assert "Retry-After" in DOCUMENT["paths"][path]["post"]["responses"]["503"]["headers"]


def test_limits_are_those_in_force() -> None:
    other = Settings.from_environment({"CLIPSTACK_MAX_CLIPS": "3"})
    asked = document(other)["paths"]["/v1/classify"]["post"]["parameters"]
    assert {each["name"]: each["schema"].get("maximum") for each in asked}["clips"] == 3


def test_every_reference_leads_somewhere() -> None:
    names = re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(DOCUMENT))
    assert names and set(names) <= DOCUMENT["components"]["schemas"].keys()
