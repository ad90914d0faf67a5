"""Validation of request parameters from the query, the form or the JSON body."""

import math
from collections.abc import Mapping, Sequence

from app.errors import InvalidParameter

MAX_TOP_K = 1000
MAX_DIGITS = 10  # of an integer
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def whole_number(told: Mapping[str, str], name: str, default: int, largest: int, smallest: int = 1) -> int:
    """Return the integer parameter `name`, from `smallest` to `largest`; raises InvalidParameter."""
    text = told.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and smallest <= int(text) <= largest):
        raise InvalidParameter(f"{name} must be a whole number from {smallest} to {largest}")
    return int(text)


def number(told: Mapping[str, str], name: str, default: float | None, smallest: float, largest: float) -> float | None:
    """Return the parameter `name` as a number from `smallest` to `largest`; raises InvalidParameter."""
    text = told.get(name, "")
    if not text:
        return default
    try:
        value = float(text) if text.isascii() and len(text) < 32 else math.nan
    except ValueError:
        value = math.nan
    if not smallest <= value <= largest:
        raise InvalidParameter(f"{name} must be a number from {smallest:g} to {largest:g}")
    return value


def choice(told: Mapping[str, str], name: str, default: str, words: Sequence[str]) -> str:
    """Return the parameter `name`, which must be one of `words`; raises InvalidParameter."""
    text = told.get(name, "") or default
    if text not in words:
        raise InvalidParameter(f"{name} must be {' or '.join(words)}")
    return text


def flag(told: Mapping[str, str], name: str) -> bool:
    """Return the boolean parameter `name`, False when it is absent; raises InvalidParameter."""
    text = told.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        raise InvalidParameter(f"{name} must be true or false")
    return text in _TRUE
