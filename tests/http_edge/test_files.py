"""Files that are no media, damaged, beyond a limit, or unusual but valid."""

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
from tests.http_edge.expected import EXPECTED
from tests.http_edge.requests import form, json_body, part, post
from tests.http_edge.response_checks import QUICK_S, ResponseCheck
from tests.http_edge.stack_snapshot import State, tracebacks
from tests.support.films import Frame, read_corners, read_number
from tests.support.stacks import until


class Listener:
    """A TCP and a UDP port of the same number on loopback, and what they received."""

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


NO_MEDIA: dict[str, files.Maker] = {
    "text": lambda _: b"hello, this is no video\n",
    "random bytes": lambda _: np.random.default_rng(7).bytes(4096),
    "zeros": lambda _: bytes(4096),
    "SVG": lambda _: b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "ZIP": lambda _: files.archive(),
    "a body in gzip": lambda _: gzip.compress(b"a film"),
    "a codec that the decoder has not": files.another_codec,
}
BROKEN: dict[str, files.Maker] = {
    "an MP4 without its index": files.without_index,
    "an MP4 cut off behind its index": files.cut,
    "an MP4 whose pictures are zeros": lambda folder: files.with_pictures(
        folder, lambda pictures: bytes(len(pictures))
    ),
    "the same from the middle on": lambda folder: files.with_pictures(folder, files.half),
    "an MP4 that claims 5e7 frames (stsz)": lambda folder: files.promising(folder, b"stsz", 12, 50_000_000),
    "an MP4 whose pictures are noise": lambda folder: files.with_pictures(folder, files.noise),
    "an MP4 of no frames": files.no_frames,
    "an encrypted MP4 (CENC)": files.encrypted,
    "sound alone": files.sound,
    "a video of 8192x8192": files.huge,
    "a video of 2.5 million frames": files.too_many_frames,
    "a GIF of 10,000 frames": lambda _: files.long_gif(10_000),
    "a video that takes for ever to decode": files.endless,
}
PICTURES: dict[str, files.Maker] = {
    "a JPEG cut off": files.cut_picture,
    "a PNG of 20000x20000": lambda _: files.large_picture(20_000, 20_000),
    "a picture of 1x65535": lambda _: files.large_picture(1, 65_535),
}


@pytest.mark.parametrize("name", NO_MEDIA | BROKEN | PICTURES)
def test_file(name: str, check_response: ResponseCheck, tmp_path: Path) -> None:
    content, expected = (NO_MEDIA | BROKEN | PICTURES)[name](tmp_path), EXPECTED[name]
    path = "/v1/classify" + ("?model=frame_quality" if name in PICTURES else "")
    check_response(post(path, content), expected, what="raw")
    if name != "a video that takes for ever to decode":
        check_response(form(part(content), path=path), expected, what="in a form")
    if name == "a body in gzip":
        check_response(post(path, content, "Content-Encoding: gzip"), expected, what="and said to be so")


def test_bomb(check_response: ResponseCheck, tmp_path: Path) -> None:
    check_response(
        post("/v1/classify", files.promising(tmp_path, b"stts", 12, 0x7FFFFFFF)), "422 undecodable", what="our own"
    )
    bomb = FOOTAGE.parent / "bad" / "stts_bomb.mp4"
    if bomb.exists():
        check_response(post("/v1/classify", bomb.read_bytes()), "422 undecodable", what="one that aborted decord")
    else:
        pass


def pointing(port: int) -> dict[str, bytes]:
    """Return files that name other files or addresses."""
    web = [f"http://127.0.0.1:{port}/{number}.ts" for number in range(2000)]
    return {
        "a playlist that names an http address": files.playlist(web[0]),
        "a playlist that names a file": files.playlist("file:///etc/passwd", "/etc/passwd", "../web/web.sock"),
        "a playlist of 2,000 segments": files.playlist(*web),
        "an ffconcat script": files.concat(web[0], "/etc/passwd", "subfile,,start,0,end,9,,:/etc/passwd"),
        "a session description (SDP)": files.session(port),
    }


@pytest.mark.parametrize("name", pointing(0))
def test_pointing(name: str, check_response: ResponseCheck, listener: Listener) -> None:
    content, expected = pointing(listener.port)[name], "415 unsupported_media"
    times = [check_response(post("/v1/classify", content), expected, within_s=QUICK_S).seconds for _ in range(5)]
    if name == "a playlist of 2,000 segments":
        assert statistics.median(times) <= 0.05, f"after {statistics.median(times) * 1000:.0f} ms"
    check_response(form(part(content)), expected, within_s=QUICK_S, what="in a form")
    check_response(post("/v1/jobs", content), expected, within_s=QUICK_S, what="as a job")
    assert listener.came() == 0, f"connections and datagrams: {listener.came()}"


def seen(
    check_response: ResponseCheck, content: bytes, model: str = "camera_motion"
) -> tuple[dict[str, Any], list[Frame]]:
    """Return the answer, and the frames that the model saw."""
    answer = json_body(check_response(post(f"/v1/classify?thumbnails=true&model={model}", content), "200"))
    pictures = [base64.b64decode(picture.partition(",")[2]) for picture in answer.get("thumbnails", [])]
    return answer, [np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) for picture in pictures]


def test_one_frame(check_response: ResponseCheck, tmp_path: Path) -> None:
    answer, frames = seen(check_response, files.one_frame(tmp_path))
    assert {read_number(frame) for frame in frames} == {5}, "that frame, repeated"
    assert answer["clips"][0]["padded"] and "repeated" in answer["warnings"][0], "and it says so"


def test_turned(check_response: ResponseCheck, tmp_path: Path) -> None:
    answer, frames = seen(check_response, files.turned(tmp_path))
    assert {read_corners(frame) for frame in frames} == {"rgbw"}, "upright"
    assert (answer["media"]["width"], answer["media"]["height"]) == (120, 160), "120x160"


def test_edits(check_response: ResponseCheck, tmp_path: Path) -> None:
    answer, frames = seen(check_response, files.cut_by_edits(tmp_path))
    assert [read_number(frame) - 20 for frame in frames] == answer["clips"][0]["frames"], "the frames it names"
    assert answer["media"]["frames"] == 80, f"{answer['media']['frames']} are left of 100"


def test_equal_times(check_response: ResponseCheck, tmp_path: Path) -> None:
    answer, frames = seen(check_response, files.equal_times(tmp_path))
    pairs = zip((read_number(frame) for frame in frames), answer["clips"][0]["frames"], strict=True)
    assert all(read // 2 == named // 2 for read, named in pairs), "the frames it names, or their twins"


def test_pictures(check_response: ResponseCheck) -> None:
    for name, content, right in (
        ("CMYK", files.in_cmyk(), lambda frame: read_corners(frame) == "rgbw"),
        ("16 bits", files.in_16_bits(), lambda frame: read_number(frame) == 0b10110101),
        ("EXIF", files.turned_by_exif(), lambda frame: read_corners(frame) == "rgbw"),
    ):
        _, frames = seen(check_response, content, "frame_quality")
        assert len(frames) == 1 and right(frames[0]), f"{name}: as it should look"


def test_cut_streams(check_response: ResponseCheck, tmp_path: Path) -> None:
    for suffix in ("ts", "mkv"):
        answer, frames = seen(check_response, files.cut_stream(tmp_path, suffix))
        assert answer["media"]["truncated"] is True, f"{suffix}: truncated"
        assert [read_number(f) for f in frames] == answer["clips"][0]["frames"], f"{suffix}: the frames it names"


# Descriptors of open connections, and of the job index: two connections per worker, three descriptors each
SPARE = 8 + 2 * 2 * 3


def test_stack_is_unchanged_afterwards(
    edge: Stack, before: State, check_response: ResponseCheck, tmp_path: Path
) -> None:
    until(lambda: not State.of(edge).files - before.files, 10)
    with suppress(AssertionError):  # asserted below
        until(lambda: State.of(edge).descriptors <= before.descriptors + SPARE, 30)
    after = State.of(edge)
    assert (after.web, after.nginx) == (before.web, before.nginx), "the same workers of nginx and web"
    assert not after.files - before.files, f"files left: {len(after.files - before.files)}"
    assert after.regions == before.regions, f"regions: {len(after.regions)}, the same"
    assert after.busy == 0, f"at work or waiting: {after.busy}"
    few = after.descriptors <= before.descriptors + SPARE
    assert few, f"descriptors: {before.descriptors}, then {after.descriptors}"
    clips = post("/v1/classify?clips=8", files.film(tmp_path))
    with ThreadPoolExecutor(8) as pool:  # all slots of both workers, twice
        told_all = [json_body(reply) for reply in pool.map(lambda _: exchange(edge.url, clips), range(8))]
    shared = [answer.get("transport") for answer in told_all]
    assert shared == ["system_shared_memory"] * 8, "64 clips by shared memory"
    stories = tracebacks(edge)
    assert not stories, f"tracebacks in the logs: {stories or 0}"
