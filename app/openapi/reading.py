"""The description in the words of a person: what a schema says, an address as a command, errors by what they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from app.openapi.schemas import Schema

Operation = dict[str, Any]
_NAMES = {"string": "text", "boolean": "true or false"}
_FORMATS = {"date-time": "time, ISO 8601"}
_SAVED = {"image/jpeg": "frame.jpg", "video/*": "film.mp4"}


class Kind(NamedTuple):
    """What a value is: words, the name of a schema of the document or nothing, and further words."""

    before: str
    name: str = ""
    after: str = ""


class Row(NamedTuple):
    """A property of an object, by its path: `progress.percent`, `thumbnails[].url`."""

    path: str
    kind: Kind
    optional: bool


def kind(schema: Schema) -> Kind:
    """What a schema says of a value."""
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
    plain: str = schema.get("type", "anything")
    return Kind((_FORMATS.get(schema.get("format", "")) or _NAMES.get(plain, plain)) + _bounds(schema))


def _either(choices: list[Schema]) -> Kind:
    """One of two: the second is `null`, or the name of another schema."""
    (before, name, after), other = kind(choices[0]), kind(choices[1])
    return Kind(before, name, f"{after} or {other.before or other.name}")


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least} to {most}"
    if least is not None:
        return f", at least {least}"
    if "maxLength" in schema:
        return f", at most {schema['maxLength']} characters"
    return ""


def rows(schema: Schema, path: str = "") -> Iterator[Row]:
    """All properties of an object, those of the objects without a name in it too."""
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        here = f"{path}{name}"
        inner = each["anyOf"][0] if "anyOf" in each else each
        listed = inner.get("type") == "array"
        inside = inner["items"] if listed else inner
        nested = "properties" in inside
        told = kind(each)
        yield Row(here, told, name not in required)
        if nested:
            yield from rows(inside, f"{here}[]." if listed else f"{here}.")


def command(path: str, method: str, operation: Operation, host: str, key: bool) -> str:
    """The operation as curl asks for it, for a shell that has `JOB`, and `CLIPSTACK_KEY` where one is asked for."""
    words = ["curl -sS"]
    if key:
        words.append('-H "Authorization: Bearer $CLIPSTACK_KEY"')
    contents = next(iter(operation["responses"].values()))["content"]
    if "requestBody" in operation:
        words.append("-X POST -T clip.mp4")
    elif method != "get":
        words.append(f"-X {method.upper()}")
    if "text/event-stream" in contents:
        words.append("-N")
    words += [f"-o {_SAVED[content]}" for content in list(contents)[:1] if content in _SAVED]
    address = re.sub(r"\{place\}", "0", path.replace("{identity}", "$JOB"))
    return " ".join([*words, f'"{host.rstrip("/")}{address}"'])
