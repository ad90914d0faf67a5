"""What the service takes of a decoder's answer: facts, and nothing that would change the service itself."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from pebble.common.types import RemoteException, ResultStatus
from pebble.pool.process import TaskProblem, TaskResult

from app.confinement import Layer, forkserver
from app.errors import Undecodable
from app.media import Decoded

DECODED = Decoded(((0,),), ((0.0,),), (False,), False, 1, True, "")
STATES = ({"changed": 1}, ({}, {"changed": 1}), ({"changed": 1}, {"changed": 1}), {"__class__": 1}, [1], None)


def said(*parts: bytes) -> Any:
    """What the service takes of a message of a decoder."""
    ours, theirs = forkserver().Pipe()
    with ours, theirs:
        theirs.send_bytes(b"".join((pickle.PROTO, b"\4", *parts, pickle.STOP)))
        return ours.recv()


def named(thing: Any) -> bytes:
    """A class or a function, by its name."""
    words = (thing.__module__.encode(), thing.__qualname__.encode())
    return b"".join(pickle.SHORT_BINUNICODE + bytes([len(word)]) + word for word in words) + pickle.STACK_GLOBAL


def part(thing: object) -> bytes:
    """A whole object, without the frames of newer pickles, which parts of one cannot have."""
    told = io.BytesIO()
    pickler = pickle._Pickler(told, 4)
    pickler.framer.start_framing = lambda: None  # type: ignore[attr-defined]
    pickler.dump(thing)
    return told.getvalue()[2:-1]


TARGETS = {
    "a record": (Decoded, named(Decoded)),
    "an error": (Undecodable, named(Undecodable)),
    "a tuple": (Layer, named(Layer)),
    "pebble's record": (TaskResult, named(TaskResult)),
    "pebble's function": (RemoteException.rebuild_exception, named(RemoteException.rebuild_exception)),
    "pebble's constant": (ResultStatus.SUCCESS, part(ResultStatus.SUCCESS)),
}


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize(("target", "name"), TARGETS.values(), ids=TARGETS)
def test_nothing_that_a_decoder_may_name_is_changed_by_it(target: Any, name: bytes, state: object) -> None:
    before = dict(vars(target))
    with pytest.raises(pickle.PicklingError, match="no fact"):
        said(name, part(state), pickle.BUILD)
    assert dict(vars(target)) == before


@pytest.mark.parametrize("target", [Decoded, Undecodable, ResultStatus.SUCCESS, 7], ids=str)
def test_nothing_but_an_error_is_told_what_happened(target: Any) -> None:
    name = part(target) if isinstance(target, int) else named(target)
    happened = (name, part("traceback"), pickle.TUPLE2, pickle.REDUCE)
    with pytest.raises(pickle.PicklingError, match="no fact"):
        said(named(RemoteException.rebuild_exception), *happened)
    assert not hasattr(target, "traceback")


def test_an_error_of_the_pool_comes_with_what_happened() -> None:
    told = said(part(TaskProblem(7, RemoteException(Undecodable("damaged"), "line 1"))))
    assert (told.task, told.error.message, str(told.error.__cause__)) == (7, "damaged", "line 1")


@pytest.mark.parametrize("state", [*STATES, {"on_gpu": True}, [*range(20)]], ids=str)
def test_a_record_gets_its_own_fields_and_no_others(state: object) -> None:
    assert said(part(DECODED)) == DECODED
    with pytest.raises(pickle.PicklingError, match="no facts"):
        said(named(Decoded), pickle.EMPTY_TUPLE, pickle.NEWOBJ, part(state), pickle.BUILD)


def test_records_of_the_pool_come_as_they_are() -> None:
    assert said(part(TaskResult(7, DECODED))) == TaskResult(7, DECODED)
    assert said(part(Layer("files", True, "Landlock 7"))) == Layer("files", True, "Landlock 7")


def test_an_error_is_what_its_class_and_its_words_make_it() -> None:
    error = Undecodable("damaged")
    error.status, error.message = 200, "all is well"
    told = said(part(error))
    assert (type(told), told.status, told.message) == (Undecodable, 422, "damaged")
