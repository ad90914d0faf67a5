"""Messages of confined processes: known records and our own errors, as JSON of bounded size.

A file may have taken over the process, so the service trusts none of its messages. Unpickling would run its code, and
even a restricted unpickler can be made to do unbounded work: tuples nested a million deep, keys that take an hour to
hash. JSON has only lists, numbers and strings. Each record is then checked field by field against its type hints.

    a record      {"Media": ["video", "mp4", ...]}    its fields in order
    an error      {"error": ["app.errors", "Undecodable", ["damaged"], "traceback"]}
    a sequence    [...]                               decoded as a tuple

Messages to a confined process are pickled as usual. Decoders on a GPU send the same messages: frames stay there. All
are framed as multiprocessing does it: the length in four bytes, then the content.
"""

import asyncio
import builtins
import importlib
import json
import pickle
import socket
import struct
import traceback
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd, ForkingPickler, register
from typing import Any, NoReturn, get_type_hints

from app import errors
from app.type_matching import matches

MAX_MESSAGE_BYTES = 1 << 20  # of one message; the largest of ours, frames and times of 100 clips, has a quarter of that
MAX_TEXT = 16 << 10  # characters of one string
READ_BYTES = 1 << 16
_LARGEST = 1 << 63
_LENGTH = struct.Struct("!i")

_RECORDS = {
    name: module
    for module, names in {
        "app.decoding.worker": ("DecoderReady",),
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
    """Error for a message that is not allowed."""


class RemoteTraceback(Exception):
    """Traceback of an error in a confined process, as its cause."""


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
    if isinstance(value, int | float):
        return value
    type_ = type(value).__name__
    if isinstance(value, tuple) and hasattr(value, "_fields") and type_ in _RECORDS:
        return {type_: [_to_json(item) for item in value]}
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if is_dataclass(value) and type_ in _RECORDS:
        return {type_: [_to_json(getattr(value, field.name)) for field in fields(value)]}
    if isinstance(value, BaseException):
        return _error_to_json(value)
    raise TypeError(f"a {type_}")


def _error_to_json(error: BaseException) -> dict[str, Any]:
    """Return the error's class, arguments and, if it is not one of ours, traceback."""
    arguments = [argument if isinstance(argument, int) else str(argument)[:MAX_TEXT] for argument in error.args[:5]]
    type_ = type(error)
    lines = [] if type_.__module__ == errors.__name__ else traceback.format_exception(error)
    return {_ERROR: [type_.__module__, type_.__name__, arguments, "".join(lines)[-MAX_TEXT:]]}


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
    return type_, tuple(get_type_hints(type_).values())


def _error(module: str, name: str, arguments: Any, lines: str) -> Exception:
    """Return one of our errors that a decoder may raise, a built-in exception, or RuntimeError in place of others."""
    if not (isinstance(module, str) and isinstance(name, str) and isinstance(lines, str)):
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
    if lines:
        error.__cause__ = RemoteTraceback(lines[:MAX_TEXT])
    return error


class Channel:
    """The service's end of the connection to a confined process; not for two tasks at once.

    It sends pickles, and receives allowed messages of at most MAX_MESSAGE_BYTES. A process that stops in the middle of
    a message blocks only the task that waits for it.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket, self._received = end, bytearray()

    def send(self, message: object) -> None:
        """Send a message. Raises OSError if the process has ended or does not read."""
        content = ForkingPickler.dumps(message)
        self._socket.sendall(_LENGTH.pack(len(content)) + content)

    async def receive(self) -> Any:
        """Return the next message; an error that the process sent is returned, not raised.

        Raises:
            EOFError, OSError: The process has closed its end.
            PicklingError: The message is not allowed.
        """
        while (message := self._message()) is None:
            received = await asyncio.get_running_loop().sock_recv(self._socket, READ_BYTES)
            if not received:
                raise EOFError
            self._received += received
        return decode(message)

    def _message(self) -> bytes | None:
        """Remove and return the first message if it is complete."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if not 0 <= length <= MAX_MESSAGE_BYTES:
            raise InvalidMessage(f"a confined process sent a message of {length} bytes")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        message = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return message

    def is_quiet(self) -> bool:
        """Return whether the process has closed nothing and sent nothing that was not received."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self._received
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class JsonConnection(Connection):
    """Confined process's end: sends JSON and receives pickles."""

    def send(self, obj: Any) -> None:
        """Send a message; raise PicklingError if it is not allowed."""
        self.send_bytes(encode(obj))


class _HandedOver(Connection):
    """Service's copy of that end, which it only hands over."""


def _reduce(connection: Connection) -> Any:
    return _rebuild, (DupFd(connection.fileno()),)


def _rebuild(descriptor: Any) -> JsonConnection:
    return JsonConnection(descriptor.detach())


register(_HandedOver, _reduce)


def open_channel() -> tuple[Channel, Connection]:
    """Return the service's end, and the one to pass to a process of the fork server, where it is a JsonConnection."""
    ours, theirs = socket.socketpair()
    return Channel(ours), _HandedOver(theirs.detach())
