"""What a confined process may say: facts and our own errors. Python's pickles could otherwise run any code here.

Decoders that have a GPU say nothing else: frames stay there, and reasons come as words in `Decoded`.
"""

import io
import os
import pickle
import socket
from dataclasses import fields, is_dataclass
from multiprocessing.connection import Connection, reduce_connection  # type: ignore[attr-defined]
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import register
from typing import Any, ClassVar, cast

from pebble.common.types import RemoteException, ResultStatus

MOST_BYTES = 16 << 20

_PEBBLE = {
    "pebble.pool.process": {"Acknowledgement", "NoMessage", "TaskProblem", "TaskResult"},
    "pebble.common.types": {"Result", "ResultStatus"},
}
_OURS = {
    "app.confinement.layers": {"Layer"},
    "app.media": {"Decoded", "Media"},
    "app.timeline.stream": {"Done"},
    "app.timeline.sweep": {"Begin", "Cut", "Reached", "Window"},
    "app.timeline.windows": {"Grid", "Windows"},
}
_KNOWN = {**_PEBBLE, **_OURS}
_STATUSES = ("SUCCESS", "FAILURE", "ERROR")


def _attribute(owner: Any, name: str) -> Any:
    """In the place of `getattr`, by which pebble's results name their status."""
    if owner is not ResultStatus or name not in _STATUSES:
        raise pickle.PicklingError(f"a decoder asked for {name}, which is no fact")
    return getattr(owner, name)


def _told(error: Any, traceback: str) -> Exception:
    """In the place of pebble's, which gives what happened to whatever it is told of."""
    if not isinstance(error, Exception):
        raise pickle.PicklingError(f"a decoder failed by a {type(error).__name__}, which is no fact")
    return cast(Exception, RemoteException.rebuild_exception(error, traceback))  # type: ignore[no-untyped-call]


def _fill(facts: Any) -> None:
    """In the place of what gives an object its state: a record gets its own fields and no others, an error none.

    Classes and functions that a pickle may name, and what they share, would otherwise be changed for the whole service.
    """
    state, made = facts.stack.pop(), facts.stack[-1]
    if isinstance(made, Exception):
        return  # its class and its words say all
    kind = type(made)
    if kind.__name__ not in _KNOWN.get(kind.__module__, ()) or not is_dataclass(made):
        raise pickle.PicklingError(f"a decoder changed a {kind.__name__}, which is no fact")
    names = [field.name for field in fields(made)]
    told = dict(zip(names, state, strict=True)) if isinstance(state, list) and len(state) == len(names) else state
    if not isinstance(told, dict) or told.keys() != set(names):
        raise pickle.PicklingError(f"a decoder told other things of a {kind.__name__}, which are no facts")
    for name in names:
        object.__setattr__(made, name, told[name])


class _Facts(pickle._Unpickler):
    """The one in Python: that in C asks nobody before it gives an object its state."""

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: _fill}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _attribute
        if (module, name) == ("pebble.common.types", "RemoteException.rebuild_exception"):
            return _told
        if name in _KNOWN.get(module, ()):
            return super().find_class(module, name)
        if module in ("app.errors", "builtins") and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, Exception):
                return found
        raise pickle.PicklingError(f"a decoder said {module}.{name}, which is no fact")


class Listener(Connection):
    """The service's end: takes nothing but facts, and nothing longer than MOST_BYTES."""

    def recv(self) -> Any:
        return _Facts(io.BytesIO(self.recv_bytes(MOST_BYTES))).load()


register(Listener, reduce_connection)  # handed to a confined process it is a plain one


class Forkserver(ForkServerContext):
    """A forkserver whose pipes are listened to with care; of a two-way one the first end is the service's."""

    def Pipe(self, duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - multiprocessing's name
        if duplex:
            ours, theirs = socket.socketpair()
            return Listener(ours.detach()), Connection(theirs.detach())
        reader, writer = os.pipe()
        return Listener(reader, writable=False), Connection(writer, readable=False)
