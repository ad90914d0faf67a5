"""Answers of decoder processes: plain data at a bounded cost; anything else is refused."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import resource
import struct
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from app.decoding.worker import DecoderReady
from app.errors import NotReady, Undecodable
from app.media.types import DecodeResult, Media
from app.sandbox import Layer
from app.sandbox.ipc import MAX_MESSAGE_BYTES, Channel, JsonConnection, decode, encode, open_channel
from app.timeline.process import ScanFinished
from app.timeline.scan import Cut, ScanProgress, ScanStarted, Window
from app.timeline.windows import Grid, Windows

DECODED = DecodeResult(((0, 5), (7, 9)), ((0.0, 0.5), (1.5, 2.0)), (False, True), False, 1)
MEDIA = Media("video", "mp4", "h264", 160, 120, 90, 1.0, None, 30)
FACTS = [
    None, True, 7, -1.5, "word", (1, ("a", None)), (4711, "why"), DECODED, MEDIA,
    (Layer("files", True, "Landlock 7"), Layer("user", False, "")),
    ScanStarted(Windows(Grid(8, 0.1, 0.25), 12), 3.0, 90, False), Window(3, (1, 2, 3), True), Cut(1.5), ScanProgress(2.0),
    ScanFinished(0.1),
    DecoderReady((Layer("files", True, "Landlock 7"),), "", ""),
]  # fmt: skip
BOMBS = {
    "a deep list": b"[" * (MAX_MESSAGE_BYTES - 1),
    "a deep list that ends": b"[" * 400_000 + b"]" * 400_000,
    "deep records": b'{"Layer":[' * 90_000 + b"]}" * 90_000,
    "a long number": b"9" * (MAX_MESSAGE_BYTES - 1),
    "a number of 4000 digits": b"9" * 4000,
    "a large exponent": b"1e999999",
    "no number": b"NaN",
    "infinity": b"[-Infinity]",
    "a long word": json.dumps("x" * 100_000).encode(),
    "many keys": json.dumps({str(number): 0 for number in range(50_000)}).encode(),
    "two records in one": b'{"Layer":["a",true,"b"],"ScanFinished":[1]}',
    "a pickle": pickle.dumps(DECODED),
    "no text": b"\xff\xfe\x00",
    "nothing": b"",
}
FALSE = {
    "an unknown record": {"Popen": [["id"]]},
    "a record of another module": {"Source": ["/etc/passwd", 0, 10]},
    "too few fields": {"ScanFinished": []},
    "too many fields": {"ScanFinished": [1.0, 2.0]},
    "no list of fields": {"ScanFinished": "1"},
    "a word for a number": {"ScanFinished": ["1"]},
    "a truth for a number": {"ScanFinished": [True]},
    "a word that is not one of a few": {"Media": ["program", *json.loads(encode(MEDIA))["Media"][1:]]},
    "a number for a word": {"Layer": ["files", True, 7]},
    "a tuple of too many": {"Window": [1, [[1]], True]},
    "a record in place of another": {"DecoderReady": [[{"ScanFinished": [1.0]}], "", ""]},
    "an error of numbers": {"error": [1, 2, [], ""]},
    "an error of too little": {"error": ["builtins", "ValueError"]},
}


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_plain_data_is_unchanged(fact: object) -> None:
    assert decode(encode(fact)) == fact
    assert type(decode(encode(fact))) is type(fact)


@pytest.mark.parametrize("message", BOMBS.values(), ids=BOMBS)
def test_hostile_messages_have_bounded_cost(message: bytes) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(pickle.PicklingError):
        decode(message)
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_most_expensive_valid_message_is_cheap() -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    decode(b"[" + b"[]," * (MAX_MESSAGE_BYTES // 3 - 2) + b"0]")
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("message", FALSE.values(), ids=FALSE)
def test_record_fields_and_types_are_checked(message: object) -> None:
    with pytest.raises(pickle.PicklingError):
        decode(json.dumps(message).encode())


@pytest.mark.parametrize("thing", [os.system, set(), {"a": 1}, b"bytes", float("nan"), Undecodable], ids=str)
def test_decoder_sends_only_plain_data(thing: object) -> None:
    with pytest.raises(pickle.PicklingError):
        encode(thing)


def test_error_has_status_code_and_message_of_its_class() -> None:
    error = Undecodable("damaged")
    error.status, error.message = 200, "all is well"
    result = decode(encode(error))
    assert (type(result), result.status, result.message) == (Undecodable, 422, "damaged")
    assert (type(decode(encode(NotReady("later")))), type(decode(encode(KeyError("a"))))) == (NotReady, KeyError)
    assert decode(encode(PermissionError(1, "no"))).errno == 1


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("app.errors", "Unauthorized"), ("app.errors", "ClipstackError"), ("app.errors", "__builtins__"),
        ("builtins", "StopIteration"), ("builtins", "SystemExit"), ("builtins", "eval"), ("builtins", "ExceptionGroup"),
        ("builtins", "UnicodeDecodeError"), ("os", "error"), ("concurrent.futures.process", "BrokenProcessPool"),
    ],
)  # fmt: skip
def test_decoder_can_raise_only_listed_errors(module: str, name: str) -> None:
    result = decode(json.dumps({"error": [module, name, ["word", [1], 2], "line 1"]}).encode())
    assert type(result) is RuntimeError
    assert str(result.__cause__) == "line 1"


def test_unexpected_error_has_its_traceback() -> None:
    try:
        raise ValueError("surprise")
    except ValueError as error:
        result = decode(encode(error))
    assert (type(result), str(result)) == (ValueError, "surprise")
    assert "test_unexpected_error_has_its_traceback" in str(result.__cause__)
    assert decode(encode(Undecodable("damaged"))).__cause__ is None


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Connection]]:
    ours, theirs = open_channel()
    with theirs:
        yield ours, theirs
    ours.close()


@pytest.mark.parametrize("sent", [b"\0", struct.pack("!i", 100) + b"half"])
def test_truncated_message_blocks_only_its_receiver(ends: tuple[Channel, Connection], sent: bytes) -> None:
    ours, theirs = ends

    async def receive() -> None:
        os.write(theirs.fileno(), sent)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ours.receive()
        assert not ours.is_quiet()

    asyncio.run(receive())


@pytest.mark.parametrize("header", [struct.pack("!i", MAX_MESSAGE_BYTES + 1), struct.pack("!iQ", -1, 1 << 40)])
def test_too_long_message_is_refused_by_its_header(ends: tuple[Channel, Connection], header: bytes) -> None:
    ours, theirs = ends
    os.write(theirs.fileno(), header)
    with pytest.raises(pickle.PicklingError):
        asyncio.run(ours.receive())


def test_large_and_small_messages_arrive_one_by_one(ends: tuple[Channel, Connection]) -> None:
    ours, theirs = ends
    text = tuple("x" * 1000 for _ in range(50))  # less than a socket holds
    assert ours.is_quiet()
    with JsonConnection(os.dup(theirs.fileno())) as sender:
        for message in (text, None, 7):
            sender.send(message)

    async def receive() -> list[object]:
        return [await ours.receive() for _ in range(3)]

    assert asyncio.run(receive()) == [text, None, 7]
    assert ours.is_quiet()
    ours.send({"a": text})
    assert theirs.recv() == {"a": text}


def test_closed_end_is_noticed(ends: tuple[Channel, Connection]) -> None:
    ours, theirs = ends
    theirs.close()
    assert not ours.is_quiet()
    with pytest.raises(EOFError):
        asyncio.run(ours.receive())
