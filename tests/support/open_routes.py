"""All routes of the application, from its own URL map, so that no new route is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

# Endpoints without a key: API description, health, static files and login; nginx restricts the metrics by address
OPEN = {"reference.page", "reference.description", "api.alive", "api.ready", "static", "login.form", "login.login"}
OPEN |= {"metrics.metrics", "metrics.status", "metrics.page"}
VALUES = {"identity": "0" * 24, "entry": "1" * 24, "place": 0, "filename": "page.css"}


def requests_of(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Return method, address and endpoint of every rule, with a value for each variable."""
    urls = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        values = {name: VALUES[name] for name in rule.arguments}
        for method in sorted(rule.methods or ()):
            yield method, urls.build(rule.endpoint, values, method=method), rule.endpoint
