"""The parts of the web app: `create_app` keeps them in `app.extensions` by the names of their classes."""

from typing import TypeVar

from flask import current_app

Part = TypeVar("Part")


def part(kind: type[Part]) -> Part:
    """Return this worker's part of the class `kind`."""
    result: Part = current_app.extensions[kind.__name__]
    return result
