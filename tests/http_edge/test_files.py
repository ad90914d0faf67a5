"""Rows 48 to 82: files that are no media, damaged, beyond a limit; and odd ones that must be answered."""

from __future__ import annotations

import base64
import gzip
import io
import socket
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deploy.stack.stack import Stack
from tests.conftest import FOOTAGE
from tests.http_edge import files
from tests.http_edge.connections import exchange
from tests.http_edge.requests import form, part, post, told
from tests.http_edge.response_checks import QUICK_S, Judge
from tests.http_edge.rows import INPUTS, Input
from tests.http_edge.stack_snapshot import State, tracebacks
from tests.nightly.faults.rows import Row
from tests.support.films import Frame, read_corners, read_number
from tests.support.stacks import until

TABLE = Input


class Listener:
    """A TCP and a UDP port of one number on loopback, and what came there."""

    def __init__(self, stream: socket.socket, datagrams: socket.socket) -> None:
        self._stream, self._datagrams = stream, datagrams
        self.port = int(stream.getsockname()[1])

    def came(self) -> int:
        count = 0
        for take in (self._stream.accept, lambda: self._datagrams.recv(9000)):
            try:
                while take():  # type: ignore[operator]
                    count += 1
            except BlockingIOError:
                continue
        return count


@contextmanager
def listening() -> Iterator[Listener]:
    with (
        socket.create_server(("127.0.0.1", 0)) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", stream.getsockname()[1]))
        stream.setblocking(False)
        datagrams.setblocking(False)
        yield Listener(stream, datagrams)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


NO_MEDIA: dict[int, files.Maker] = {
    48: lambda _: b"hello, this is no video\n",
    49: lambda _: np.random.default_rng(7).bytes(4096),
    50: lambda _: bytes(4096),
    51: lambda _: b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    52: lambda _: files.archive(),
    58: lambda _: gzip.compress(b"a film"),
    59: files.another_codec,
}
BROKEN: dict[int, files.Maker] = {
    60: files.without_index,
    61: files.cut,
    62: lambda folder: files.with_pictures(folder, lambda pictures: bytes(len(pictures))),
    63: lambda folder: files.with_pictures(folder, files.half),
    65: lambda folder: files.promising(folder, b"stsz", 12, 50_000_000),
    66: lambda folder: files.with_pictures(folder, files.noise),
    67: files.no_frames,
    68: files.encrypted,
    70: files.sound,
    71: files.huge,
    72: files.too_many_frames,
    74: lambda _: files.long_gif(10_000),
    76: files.endless,
}
PICTURES: dict[int, files.Maker] = {
    69: files.cut_picture,
    73: lambda _: files.large_picture(20_000, 20_000),
    75: lambda _: files.large_picture(1, 65_535),
}


@pytest.mark.parametrize("number", NO_MEDIA | BROKEN | PICTURES, ids=str)
def test_file(number: int, answered: Judge, tmp_path: Path) -> None:
    content, expected = (NO_MEDIA | BROKEN | PICTURES)[number](tmp_path), INPUTS[number][1]
    path = "/v1/classify" + ("?model=frame_quality" if number in PICTURES else "")
    answered(post(path, content), expected, what="raw")
    if number != 76:
        answered(form(part(content), path=path), expected, what="in a form")
    if number == 58:
        answered(post(path, content, "Content-Encoding: gzip"), expected, what="and said to be so")


def test_64_bomb(answered: Judge, row: Row, tmp_path: Path) -> None:
    answered(post("/v1/classify", files.promising(tmp_path, b"stts", 12, 0x7FFFFFFF)), INPUTS[64][1], what="our own")
    found = FOOTAGE.parent / "bad" / "stts_bomb.mp4"
    if found.exists():
        answered(post("/v1/classify", found.read_bytes()), INPUTS[64][1], what="one that aborted decord")
    else:
        row.tell("the one that aborted decord is not here")


def pointing(port: int) -> dict[int, bytes]:
    """By row: a file that names other files or addresses."""
    web = [f"http://127.0.0.1:{port}/{number}.ts" for number in range(2000)]
    return {
        53: files.playlist(web[0]),
        54: files.playlist("file:///etc/passwd", "/etc/passwd", "../web/web.sock"),
        55: files.playlist(*web),
        56: files.concat(web[0], "/etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd"),
        57: files.session(port),
    }


@pytest.mark.parametrize("number", range(53, 58), ids=str)
def test_pointing(number: int, answered: Judge, listener: Listener, row: Row) -> None:
    content, expected = pointing(listener.port)[number], "415 unsupported_media"
    times = [answered(post("/v1/classify", content), expected, within_s=QUICK_S).seconds for _ in range(5)]
    if number == 55:
        row.holds(f"after {statistics.median(times) * 1000:.0f} ms", statistics.median(times) <= 0.05)
    answered(form(part(content)), expected, within_s=QUICK_S, what="in a form")
    answered(post("/v1/jobs", content), expected, within_s=QUICK_S, what="as a job")
    row.holds(f"connections and datagrams: {listener.came()}", listener.came() == 0)


def seen(answered: Judge, content: bytes, model: str = "camera_motion") -> tuple[dict[str, Any], list[Frame]]:
    """The answer, and the frames that the model saw."""
    answer = told(answered(post(f"/v1/classify?thumbnails=true&model={model}", content), "200"))
    pictures = [base64.b64decode(each.partition(",")[2]) for each in answer.get("thumbnails", [])]
    return answer, [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in pictures]


def test_77_one_frame(answered: Judge, row: Row, tmp_path: Path) -> None:
    answer, frames = seen(answered, files.one_frame(tmp_path))
    row.holds("that frame, repeated", {read_number(frame) for frame in frames} == {5})
    row.holds("and it says so", answer["clips"][0]["padded"] and "repeated" in answer["warnings"][0])


def test_78_turned(answered: Judge, row: Row, tmp_path: Path) -> None:
    answer, frames = seen(answered, files.turned(tmp_path))
    row.holds("upright", {read_corners(frame) for frame in frames} == {"rgbw"})
    row.holds("120x160", (answer["media"]["width"], answer["media"]["height"]) == (120, 160))


def test_79_edits(answered: Judge, row: Row, tmp_path: Path) -> None:
    answer, frames = seen(answered, files.cut_by_edits(tmp_path))
    row.holds("the frames it names", [read_number(frame) - 20 for frame in frames] == answer["clips"][0]["frames"])
    row.holds(f"{answer['media']['frames']} are left of 100", answer["media"]["frames"] == 80)


def test_80_equal_times(answered: Judge, row: Row, tmp_path: Path) -> None:
    answer, frames = seen(answered, files.equal_times(tmp_path))
    pairs = zip((read_number(frame) for frame in frames), answer["clips"][0]["frames"], strict=True)
    row.holds("the frames it names, or their twins", all(read // 2 == named // 2 for read, named in pairs))


def test_81_pictures(answered: Judge, row: Row) -> None:
    for name, content, right in (
        ("CMYK", files.in_cmyk(), lambda frame: read_corners(frame) == "rgbw"),
        ("16 bits", files.in_16_bits(), lambda frame: read_number(frame) == 0b10110101),
        ("EXIF", files.turned_by_exif(), lambda frame: read_corners(frame) == "rgbw"),
    ):
        _, frames = seen(answered, content, "frame_quality")
        row.holds(f"{name}: as it should look", len(frames) == 1 and right(frames[0]))


def test_82_cut_streams(answered: Judge, row: Row, tmp_path: Path) -> None:
    for suffix in ("ts", "mkv"):
        answer, frames = seen(answered, files.cut_stream(tmp_path, suffix))
        row.holds(f"{suffix}: truncated", answer["media"]["truncated"] is True)
        row.holds(f"{suffix}: the frames it names", [read_number(f) for f in frames] == answer["clips"][0]["frames"])


# Descriptors that connections of the moment take, and the index of jobs: two connections a worker, of three each
SPARE = 8 + 2 * 2 * 3


def test_83_nothing_is_left(edge: Stack, before: State, row: Row, answered: Judge, tmp_path: Path) -> None:
    until(lambda: not State.of(edge).files - before.files, 10)
    with suppress(AssertionError):  # the row says it
        until(lambda: State.of(edge).descriptors <= before.descriptors + SPARE, 30)
    after = State.of(edge)
    row.holds("the same workers of nginx and web", (after.web, after.nginx) == (before.web, before.nginx))
    row.holds(f"files left: {len(after.files - before.files)}", not after.files - before.files)
    row.holds(f"regions: {len(after.regions)}, the same", after.regions == before.regions)
    row.holds(f"at work or waiting: {after.busy}", after.busy == 0)
    few = after.descriptors <= before.descriptors + SPARE
    row.holds(f"descriptors: {before.descriptors}, then {after.descriptors}", few)
    clips = post("/v1/classify?clips=8", files.film(tmp_path))
    with ThreadPoolExecutor(8) as pool:  # all slots of both workers, twice
        told_all = [told(reply) for reply in pool.map(lambda _: exchange(edge.url, clips), range(8))]
    shared = [answer.get("transport") for answer in told_all]
    row.holds("64 clips by shared memory", shared == ["system_shared_memory"] * 8)
    stories = tracebacks(edge)
    row.holds(f"tracebacks in the logs: {stories or 0}", not stories)
