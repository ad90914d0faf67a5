"""Check of untrusted values against type hints."""

import math
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_field_types = cache(get_type_hints)


def matches(value: Any, hint: Any) -> bool:
    """Return whether a value has the type `hint`: a class, Any, TypedDict, Literal, Union, list, dict or tuple.

    An integer is also a float, a boolean is neither, and NaN and infinity are no floats.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (types.UnionType, Union):
        return any(matches(value, choice) for choice in arguments)
    if origin is list:
        return isinstance(value, list) and all(matches(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(matches(item, arguments[1]) for item in value.values())
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[1:] == (...,):
            return all(matches(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(matches, value, arguments))
    if is_typeddict(hint):
        hints = _field_types(hint)
        needed = hint.__required_keys__
        return (
            isinstance(value, dict)
            and needed <= value.keys()
            and all(matches(value[name], hints[name]) for name in hints.keys() & value.keys())
        )
    if hint in (None, types.NoneType):
        return value is None
    if hint in (int, float):
        return type(value) is int or (hint is float and type(value) is float and math.isfinite(value))
    return isinstance(value, hint)
