"""Validation of request parameters from the query, the form or the JSON body."""

import json
import math
import re
from collections.abc import Mapping, Sequence

from werkzeug.datastructures import MultiDict

from app.errors import InvalidParameter
from app.inference.decision import Selection

MAX_TOP_K = 1000
MAX_DIGITS = 10  # of an integer
MAX_LISTED_LABELS = 1000
LISTS = ("labels", "exclude", "predicted")  # parameters that the query may repeat
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def whole_number(params: Mapping[str, str], name: str, default: int, maximum: int, minimum: int = 1) -> int:
    """Return the integer parameter `name`, from `minimum` to `maximum`; raises InvalidParameter."""
    text = params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and minimum <= int(text) <= maximum):
        raise InvalidParameter(f"{name}={text[:40]!r}: must be a whole number from {minimum} to {maximum}")
    return int(text)


def number(params: Mapping[str, str], name: str, default: float | None, minimum: float, maximum: float) -> float | None:
    """Return the parameter `name` as a number from `minimum` to `maximum`; raises InvalidParameter."""
    text = params.get(name, "")
    if not text:
        return default
    try:
        value = float(text) if text.isascii() and len(text) < 32 else math.nan
    except ValueError:
        value = math.nan
    if not minimum <= value <= maximum:
        raise InvalidParameter(f"{name}={text[:40]!r}: must be a number from {minimum:g} to {maximum:g}")
    return value


def choice(params: Mapping[str, str], name: str, default: str, values: Sequence[str]) -> str:
    """Return the parameter `name`, which must be one of `values`; raises InvalidParameter."""
    text = params.get(name, "") or default
    if text not in values:
        raise InvalidParameter(f"{name}={text[:40]!r}: must be {' or '.join(values)}")
    return text


def cursor(params: Mapping[str, str], pattern: re.Pattern[str]) -> re.Match[str] | None:
    """Return the match of the parameter `cursor` of a list, None when it is absent; raises InvalidParameter."""
    text = params.get("cursor", "")
    match = pattern.fullmatch(text)
    if text and match is None:
        raise InvalidParameter("cursor: send `next_cursor` of the page before, unchanged")
    return match


def flag(params: Mapping[str, str], name: str) -> bool:
    """Return the boolean parameter `name`, False when it is absent; raises InvalidParameter."""
    text = params.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(f"{name}={text[:40]!r}: must be true or false")
    return text in _TRUE


def merged(fields: Mapping[str, str], query: MultiDict[str, str]) -> dict[str, str]:
    """Return the parameters of the form or the JSON body and of the query, which wins; repeated lists are joined."""
    lists = {name: ",".join(query.getlist(name)) for name in LISTS if name in query}
    return {**fields, **query.to_dict(), **lists}


def selection(params: Mapping[str, str]) -> Selection:
    """Return the parameters `min_score`, `labels` and `exclude`; raises InvalidParameter."""
    return Selection(
        number(params, "min_score", None, 0.0, 1.0), label_list(params, "labels"), label_list(params, "exclude")
    )


def label_list(params: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the labels in the parameter `name`, sorted: with commas between them, or a JSON list of strings.

    Labels that contain a comma need the JSON list. Raises InvalidParameter.
    """
    text = params.get(name, "").strip()
    labels = _json_list(name, text) if text.startswith("[") else [label.strip() for label in text.split(",")]
    unique = tuple(sorted({label for label in labels if label}))
    if len(unique) > MAX_LISTED_LABELS:
        raise InvalidParameter(f"{name} has {len(unique)} labels: at most {MAX_LISTED_LABELS} are allowed")
    return unique


def _json_list(name: str, text: str) -> list[str]:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidParameter(f'{name}={text[:40]!r}: must be labels with commas, or a JSON list like ["a", "b"]')
    return labels
