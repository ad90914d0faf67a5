"""Request headers that reach the app."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from flask import Flask, request

from app.web.headers import OF_CLIENTS, OF_NGINX, KnownHeaders

APP = Path(__file__).resolve().parents[4] / "app"


def seen(**sent: str) -> set[str]:
    """Return the names of the headers that a view sees."""
    app = Flask("test")
    app.wsgi_app = KnownHeaders(app.wsgi_app)  # type: ignore[method-assign]
    app.add_url_rule("/", view_func=lambda: "\n".join(name for name, _ in request.headers))
    return set(app.test_client().get("/", environ_overrides=sent).text.split("\n"))


@pytest.mark.parametrize("name", ["HTTP_X_INTERNAL_USER", "HTTP_PROXY", "HTTP_SCRIPT_NAME", "HTTP_X_ORIGINAL_URL"])
def test_an_unknown_header_does_not_reach_the_app(name: str) -> None:
    assert seen(**{name: "1"}) == seen()


def test_a_known_header_reaches_the_app() -> None:
    assert seen(HTTP_X_FILE_NAME="a") - seen() == {"X-File-Name"}


def test_every_header_that_the_app_reads_is_known() -> None:
    read = {
        node.args[0].value
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "request.headers.get"
        and isinstance(node.args[0], ast.Constant)
    }
    assert {"X-Upload-Path", "Idempotency-Key"} <= read
    assert read <= OF_NGINX | OF_CLIENTS
