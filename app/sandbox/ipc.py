"""Messages of confined processes: known records and our own errors, as JSON of bounded size.

A file may have taken over the process, so the service trusts none of its messages. Unpickling would run its code, and
even a restricted unpickler can be made to do unbounded work: tuples nested a million deep, keys that take an hour to
hash. JSON has only lists, numbers and strings. Each record is then checked field by field against its type hints.

    a record      {"Media": ["video", "mp4", ...]}    its fields in order
    an error      {"error": ["app.errors", "Undecodable", ["damaged"], "traceback"]}
    a sequence    [...]                               decoded as a tuple

Messages to a confined process are pickled as usual. Decoders on a GPU send the same messages: frames stay there.
"""

import builtins
import importlib
import json
import os
import pickle
import socket
import time
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from multiprocessing.connection import Connection, reduce_connection  # type: ignore[attr-defined]
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import DupFd, register
from typing import Any, NoReturn, get_type_hints

from pebble.common.types import RemoteException, ResultStatus

from app import errors
from app.type_matching import matches

MAX_MESSAGE_BYTES = 1 << 20  # of one message; the largest of ours, frames and times of 100 clips, has a quarter of that
MAX_TEXT = 16 << 10  # characters of one string
RECEIVE_TIMEOUT_S = 2.0  # from the first to the last byte of a message
_LARGEST = 1 << 63

_RECORDS = {
    name: module
    for module, names in {
        "pebble.pool.process": ("Acknowledgement", "NoMessage", "TaskProblem", "TaskResult"),
        "pebble.common.types": ("Result",),
        "app.sandbox.layers": ("Layer",),
        "app.media.types": ("DecodeResult", "DecodedFile", "Media"),
        "app.timeline.process": ("ScanFinished",),
        "app.timeline.scan": ("ScanStarted", "Cut", "ScanProgress", "Window"),
        "app.timeline.windows": ("Grid", "Windows"),
    }.items()
    for name in names
}
_ERRORS = ("UnsupportedMedia", "Undecodable", "NoVideoStream", "LimitExceeded", "DecodeTimeout", "NotReady")
_ERROR = "error"


class InvalidMessage(pickle.PicklingError):
    """Error for a message that is not allowed; pebble treats a PicklingError as a broken pool."""


def encode(value: Any) -> bytes:
    """Return a confined process's message; raise PicklingError for values that are not allowed."""
    try:
        return json.dumps(_to_json(value), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage(f"a value of this type cannot be sent: {error}") from None


def decode(message: bytes) -> Any:
    """Return the value of a confined process's message; raise PicklingError if it is not allowed."""
    try:
        return _from_json(json.loads(message, parse_constant=_reject_constant))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidMessage(f"a confined process sent an invalid message: {type(error).__name__}") from None


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _to_json(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, ResultStatus):
        return int(value)
    if isinstance(value, int | float):
        return value
    type_ = type(value).__name__
    if isinstance(value, tuple) and hasattr(value, "_fields") and type_ in _RECORDS:
        return {type_: [_to_json(item) for item in value]}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if is_dataclass(value) and type_ in _RECORDS:
        return {type_: [_to_json(getattr(value, field.name)) for field in fields(value)]}
    if isinstance(value, RemoteException):
        return _error_to_json(value.exception, str(value.traceback))
    if isinstance(value, BaseException):
        return _error_to_json(value, "")
    raise TypeError(f"a {type_}")


def _error_to_json(error: BaseException, traceback: str) -> dict[str, Any]:
    arguments = [argument if isinstance(argument, int) else str(argument)[:MAX_TEXT] for argument in error.args[:5]]
    type_ = type(error)
    return {_ERROR: [type_.__module__, type_.__name__, arguments, traceback[-MAX_TEXT:]]}


def _from_json(value: Any) -> Any:
    """Return the value that JSON parts stand for; raise TypeError or ValueError."""
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    if not isinstance(value, dict):
        if not _is_scalar(value):
            raise ValueError("a number or text beyond the limits")
        return value
    ((name, parts),) = value.items()
    if not isinstance(parts, list):
        raise ValueError("the fields are not a list")
    if name == _ERROR:
        return _error(*parts)
    type_, hints = _hints(name)
    values = [_from_json(item) for item in parts]
    if len(values) != len(hints) or not all(map(matches, values, hints)):
        raise ValueError(f"not the fields of {type_.__name__}")
    if type_.__name__ == "Result":
        values[0] = ResultStatus(values[0])
        if (values[0] != ResultStatus.SUCCESS) != isinstance(values[1], Exception):
            raise ValueError("a result whose status and value disagree")
    return type_(*values)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None or isinstance(value, bool) or abs(value) < _LARGEST


@cache
def _hints(name: str) -> tuple[type[Any], tuple[Any, ...]]:
    """Return the record class of that name and the types of its fields in order; raise ValueError if unknown."""
    if name not in _RECORDS:
        raise ValueError(f"unknown record {name[:40]!r}")
    type_ = getattr(importlib.import_module(_RECORDS[name]), name)
    hints = get_type_hints(type_)
    if name == "TaskResult":
        hints["result"] = _hints("Result")[0]  # pebble requires a Result: any other value ends its threads
    if name == "Result":
        hints["status"] = int  # as sent; `_from_json` converts it
    return type_, tuple(hints.values())


def _error(module: str, name: str, arguments: Any, traceback: str) -> Exception:
    """Return one of our errors that a decoder may raise, a built-in exception, or RuntimeError in place of others."""
    if not (isinstance(module, str) and isinstance(name, str) and isinstance(traceback, str)):
        raise ValueError("an error needs a module, a name and a traceback")
    arguments = [word for word in arguments if isinstance(word, int | str) and _is_scalar(word)]
    error: Exception = RuntimeError(f"{name}: {arguments[-1] if arguments else ''}"[:MAX_TEXT])
    if module == errors.__name__ and name in _ERRORS:
        error = getattr(errors, name)(str(arguments[0]) if arguments else "")
    elif module == builtins.__name__ and not name.startswith("Stop"):  # those end generators and coroutines
        type_ = getattr(builtins, name, None)
        if isinstance(type_, type) and issubclass(type_, Exception):
            with suppress(TypeError, ValueError):
                error = type_(*arguments)
    if traceback:
        RemoteException.rebuild_exception(error, traceback[:MAX_TEXT])  # type: ignore[no-untyped-call]
    return error


class SafeConnection(Connection):
    """Service's end: accepts allowed messages, of at most MAX_MESSAGE_BYTES, that arrive within RECEIVE_TIMEOUT_S."""

    _deadline: float | None = None

    def recv(self) -> Any:
        """Return the next message; raise PicklingError if it is not allowed or stops in the middle."""
        self.poll(None)
        self._deadline = time.monotonic() + RECEIVE_TIMEOUT_S
        try:
            return decode(self.recv_bytes(MAX_MESSAGE_BYTES))
        finally:
            self._deadline = None

    def _recv(self, size: int, read: Any = os.read) -> Any:
        """Read like the base class, up to the deadline: a sender may stop in the middle of a message on purpose."""

        def read_in_time(handle: int, remaining: int) -> bytes:
            if self._deadline is not None and not self.poll(max(0.0, self._deadline - time.monotonic())):
                raise InvalidMessage("a confined process stopped in the middle of a message")
            return bytes(read(handle, remaining))

        return super()._recv(size, read_in_time)  # type: ignore[misc]


class JsonConnection(Connection):
    """Confined process's end: sends JSON and receives pickles."""

    def send(self, obj: Any) -> None:
        """Send a message; raise PicklingError if it is not allowed."""
        self.send_bytes(encode(obj))


class _HandedOver(Connection):
    """Service's copy of that end, which it only hands over."""


def _reduce(connection: Connection) -> Any:
    return _rebuild, (DupFd(connection.fileno()), connection.readable, connection.writable)


def _rebuild(descriptor: Any, readable: bool, writable: bool) -> JsonConnection:
    return JsonConnection(descriptor.detach(), readable, writable)


register(SafeConnection, reduce_connection)  # in a confined process it becomes a plain Connection
register(_HandedOver, _reduce)


class Forkserver(ForkServerContext):
    """Forkserver context whose pipes are safe to read; the first end of a two-way pipe is the service's."""

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - multiprocessing's name
        """Return two connected ends, the service's first, or the reader and the writer of a one-way pipe."""
        if duplex:
            ours, theirs = socket.socketpair()
            return SafeConnection(ours.detach()), _HandedOver(theirs.detach())
        reader, writer = os.pipe()
        return SafeConnection(reader, writable=False), _HandedOver(writer, readable=False)
