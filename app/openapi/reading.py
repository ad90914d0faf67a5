"""Plain-language rendering of the OpenAPI document: types, object properties and curl commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from app.openapi.schemas import Schema

Operation = dict[str, Any]
_NAMES = {"string": "text", "boolean": "true or false"}
_FORMATS = {"date-time": "time, ISO 8601"}
_OUTPUT_FILES = {"image/jpeg": "frame.jpg", "video/*": "film.mp4"}


class Kind(NamedTuple):
    """A value's type in words: text, optionally the name of a schema to link to, and more text."""

    before: str
    name: str = ""
    after: str = ""


class Row(NamedTuple):
    """A property of an object, by its path, for example `progress.percent` or `thumbnails[].url`."""

    path: str
    kind: Kind
    optional: bool


def kind(schema: Schema) -> Kind:
    """Return the type that `schema` describes, in words."""
    if "$ref" in schema:
        return Kind("", schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return _either(schema["anyOf"])
    if "enum" in schema:
        return Kind(" | ".join(map(str, schema["enum"])))
    if schema.get("type") == "array":
        before, name, after = kind(schema["items"])
        return Kind(f"list of {before}", name, after)
    if isinstance(schema.get("additionalProperties"), dict):
        before, name, after = kind(schema["additionalProperties"])
        return Kind(f"by name: {before}", name, after)
    if "contentEncoding" in schema:
        return Kind("text, base64")
    if "contentMediaType" in schema:
        return Kind("bytes")
    type_name: str = schema.get("type", "anything")
    return Kind((_FORMATS.get(schema.get("format", "")) or _NAMES.get(type_name, type_name)) + _bounds(schema))


def _either(choices: list[Schema]) -> Kind:
    """Return the type of an `anyOf` with two choices; the second is `null` or a reference to a schema."""
    (before, name, after), other = kind(choices[0]), kind(choices[1])
    return Kind(before, name, f"{after} or {other.before or other.name}")


def _bounds(schema: Schema) -> str:
    """Return the range or length limit of a value as a suffix, empty when there is none."""
    minimum, maximum = schema.get("minimum"), schema.get("maximum")
    if minimum is not None and maximum is not None:
        return f", {minimum} to {maximum}"
    if minimum is not None:
        return f", at least {minimum}"
    if "maxLength" in schema:
        return f", at most {schema['maxLength']} characters"
    return ""


def rows(schema: Schema, path: str = "") -> Iterator[Row]:
    """Yield every property of an object, including those of nested objects that have no schema name."""
    required = schema.get("required", ())
    for name, value in schema.get("properties", {}).items():
        full_path = f"{path}{name}"
        value_schema = value["anyOf"][0] if "anyOf" in value else value
        is_list = value_schema.get("type") == "array"
        item_schema = value_schema["items"] if is_list else value_schema
        is_nested = "properties" in item_schema
        value_kind = kind(value)
        yield Row(full_path, value_kind, name not in required)
        if is_nested:
            yield from rows(item_schema, f"{full_path}[]." if is_list else f"{full_path}.")


def command(path: str, method: str, operation: Operation, host: str, key: bool) -> str:
    """Return the curl command for an operation.

    The command uses the shell variable `JOB` for a job's id, and `CLIPSTACK_KEY` when `key` is set.
    """
    parts = ["curl -sS"]
    if key:
        parts.append('-H "Authorization: Bearer $CLIPSTACK_KEY"')
    contents = next(iter(operation["responses"].values()))["content"]
    if "requestBody" in operation:
        parts.append("-X POST -T clip.mp4")
    elif method != "get":
        parts.append(f"-X {method.upper()}")
    if "text/event-stream" in contents:
        parts.append("-N")
    parts += [f"-o {_OUTPUT_FILES[content]}" for content in list(contents)[:1] if content in _OUTPUT_FILES]
    address = re.sub(r"\{place\}", "0", path.replace("{identity}", "$JOB"))
    return " ".join([*parts, f'"{host.rstrip("/")}{address}"'])
