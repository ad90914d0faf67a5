"""Parser of the service's JSON; it raises KeyError, TypeError, ValueError or AttributeError for invalid data."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache, partial
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from .jobs import Job, Timeline
from .models import Media, Model, Result, SearchResult

T = TypeVar("T")

# Fields without a default that some services, or records of some files, lack
ABSENT: dict[Any, dict[str, Any]] = {
    Job: {"name": "", "tries": 1},
    Media: {"rotation": 0, "name": "", "truncated": False},
    Model: {"default": False},
    Result: {"warnings": ()},
    Timeline: {"windows": ()},
}


def parse(kind: type[T], data: Mapping[str, Any], **values: Any) -> T:
    """Return a dataclass from a JSON object, whose values are converted to the types of the fields.

    A field without a value gets its default, or None if its type allows that. A field `answer` is the object itself.
    `values` are used as they are.
    """
    for name, convert, absent in _fields(cast(Any, kind)):
        if name in values:
            continue
        if name == "answer":
            values[name] = data
        elif name == "decision":
            values[name] = _decision(data)
        elif data.get(name) is not None or absent is MISSING:
            values[name] = convert(data[name])
        else:
            values[name] = absent
    return kind(**values)


@lru_cache(maxsize=64)
def _fields(kind: Any) -> list[tuple[str, Callable[[Any], Any], Any]]:
    """Return name, converter and default of each field; MISSING is the default of a field that must have a value."""
    result = []
    hints, known = get_type_hints(kind), ABSENT.get(kind, {})
    for field in fields(kind):
        absent = known.get(field.name, field.default)
        if absent is MISSING and NoneType in get_args(hints[field.name]):
            absent = None
        result.append((field.name, _converter(hints[field.name]), absent))
    return result


def _converter(hint: Any) -> Callable[[Any], Any]:
    """Return a function that converts a JSON value to a type."""
    arguments = get_args(hint)
    if NoneType in arguments:
        return _converter(arguments[0])
    if get_origin(hint) is tuple:
        item = _converter(arguments[0])
        return lambda values: tuple(map(item, values))
    if get_origin(hint) is Mapping:
        item = _converter(arguments[1])
        return lambda values: {str(name): item(value) for name, value in values.items()}
    return partial(parse, cast(Any, hint)) if is_dataclass(hint) else hint


def _decision(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the field `decision`; older services, which lack it, decide for the best label."""
    decision = data.get("decision", [prediction["label"] for prediction in data["predictions"][:1]])
    return () if decision == "none" else tuple(str(label) for label in decision)


def parse_result(data: Mapping[str, Any], cache: str | None = None) -> Result:
    """Parse an answer of `/v1/classify`."""
    thumbnails = (base64.b64decode(uri.partition(",")[2], validate=True) for uri in data.get("thumbnails", ()))
    return parse(Result, data, cache=cache, thumbnails=tuple(thumbnails))


def parse_search(data: Mapping[str, Any]) -> SearchResult:
    """Parse an answer of `/v1/search`."""
    return parse(SearchResult, {**data, **data["searched"]}, answer=data)


def parse_model(data: Mapping[str, Any]) -> Model:
    """Parse one entry of `/v1/models`."""
    return parse(Model, data, title=str(data.get("title") or data["name"]))


def parse_job(data: Mapping[str, Any]) -> Job:
    """Parse a record."""
    error, result = data.get("error"), data.get("result")
    return parse(
        Job,
        data,
        error=None if error is None else (str(error["code"]), str(error["message"])),
        result=None if result is None else (str(result["label"]), float(result["share"])),
        timing_s={str(stage): float(s) for stage, s in (data.get("timing_s") or {}).items() if s is not None},
        sent=None,
    )
