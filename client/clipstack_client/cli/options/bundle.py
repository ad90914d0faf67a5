"""Bundle several options into one argument of a command."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


def bundle(name: str, kind: Callable[..., object], *options: Callable[[AnyCommand], AnyCommand]) -> Callable[..., Any]:
    """Return a decorator that adds options to a command and passes their values as one argument, a `kind`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def call(**arguments: Any) -> Any:
            values = {option: arguments.pop(option) for option in names}
            return command(**arguments, **{name: kind(**values)})

        before = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            call = option(call)
        names = [parameter.name for parameter in call.__click_params__[before:]]  # type: ignore[attr-defined]
        return call

    return decorate
