"""Validation of request parameters from the query, the form or the JSON body."""

import math
from collections.abc import Mapping, Sequence

from app.errors import InvalidParameter

MAX_TOP_K = 1000
MAX_DIGITS = 10  # of an integer
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


def flag(params: Mapping[str, str], name: str) -> bool:
    """Return the boolean parameter `name`, False when it is absent; raises InvalidParameter."""
    text = params.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(f"{name}={text[:40]!r}: must be true or false")
    return text in _TRUE
