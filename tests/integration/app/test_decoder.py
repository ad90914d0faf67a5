"""The promises of `app.decoding.pool.Decoder`, held with real processes and really hostile files."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from app.admission.deadline import Deadline
from app.admission.disconnect import connected
from app.decoding.pool import TRIES, Decoder
from app.decoding.worker import DecodeTask
from app.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    DecodeTimeout,
    LimitExceeded,
    NotReady,
    NoVideoStream,
    Undecodable,
    UnsupportedMedia,
)
from app.media.types import Limits, Media, Source
from app.sandbox import MEMORY_BYTES, SandboxConfig
from app.sandbox.report import available
from app.settings import CHECKOUT
from tests.support.films import corners, numbered, read_corners, read_number, write_sound, write_video
from tests.support.leaks import descendants, parents
from tests.support.regions import UNTOUCHED, Region, whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
TIMES = [n / 30 for n in (0, 5, 11, 20)]
FILM = Media("video", "mp4", "h264", 160, 120, 0, 1.0, 30.0, 30)
FOR_DECORD = replace(FILM, codec="mjpeg")


@pytest.fixture
def region(tmp_path) -> Region:
    return Region(tmp_path / "region")


@pytest.fixture
def film(tmp_path) -> Source:
    return whole(write_video(tmp_path / "film.mp4", map(numbered, range(30))))


@pytest.fixture
def endless(tmp_path) -> Source:
    """A pipe that nobody writes to: whoever opens it waits forever, like a decoder that hangs."""
    os.mkfifo(tmp_path / "endless")
    return Source(str(tmp_path / "endless"), 0, 1_000_000)


@pytest.fixture
def bomb(tmp_path) -> Source:
    """An MP4 whose table of times claims 2^31 frames: decord asks for room for all of them and aborts."""
    path = write_video(tmp_path / "bomb.mov", map(numbered, range(30)), codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 12
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(data)
    return whole(path)


@pytest.fixture
def decoding(tmp_path) -> Iterator[Callable[..., Any]]:
    """Run a coroutine function with a started decoder, which is stopped afterwards.

    It may read what lies in `tmp_path`, or in `folder`, and write into the regions that there are when it starts.
    """
    started = []

    def run(
        use: Callable[[Decoder], Coroutine[Any, Any, Any]],
        processes: int = 1,
        timeout_s: float = 20,
        memory_bytes: int = MEMORY_BYTES,
        folder: Path = tmp_path,
    ) -> Any:
        regions = tuple(map(str, tmp_path.glob("region*")))
        confinement = SandboxConfig((str(folder),), regions, "best", memory_bytes)
        decoder = Decoder(processes, timeout_s, LIMITS, confinement)
        started.append(decoder)
        decoder.start()
        return asyncio.run(use(decoder))

    yield run
    for decoder in started:
        decoder.stop()


async def good(decoder: Decoder, film: Source, region: Region) -> None:
    """A whole, good decode."""
    request = region.request(TIMES)
    decoded = await decoder.decode(DecodeTask(film, request))
    assert decoded.media == await decoder.probe(film)
    assert decoded.clips is not None and decoded.clips.frames == ((0, 5, 11, 20),)
    assert [read_number(frame) for frame in region.clips(request)[0]] == [0, 5, 11, 20]


def test_a_video_is_decoded_into_the_region(decoding, film, region):
    decoding(lambda decoder: good(decoder, film, region))


def test_a_picture_is_decoded_into_the_region(decoding, tmp_path, region):
    from PIL import Image

    Image.fromarray(corners()).save(tmp_path / "picture.png")
    source, request = whole(tmp_path / "picture.png"), region.request([0.0])

    async def use(decoder: Decoder) -> None:
        assert (await decoder.decode(DecodeTask(source, request))).media.kind == "image"

    decoding(use)
    assert read_corners(region.clips(request)[0][0]) == "rgbw"


def test_many_at_once_are_all_answered(decoding, film, tmp_path):
    regions = [Region(tmp_path / f"region {number}") for number in range(12)]

    async def use(decoder: Decoder) -> None:
        await asyncio.gather(*(good(decoder, film, region) for region in regions))

    decoding(use, processes=2)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.write_bytes(b"#EXTM3U\nhttp://127.0.0.1:9/a.ts\n"), UnsupportedMedia),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypisom" + bytes(100)), Undecodable),
        (write_sound, NoVideoStream),
        (lambda path: write_video(path, [numbered(0, 3000, 1500)]), LimitExceeded),
    ],
    ids=["playlist", "no index", "sound alone", "too large"],
)
def test_errors_cross_the_process_boundary_as_ours(decoding, tmp_path, film, region, make, error):
    make(tmp_path / "bad.mp4")

    async def use(decoder: Decoder) -> None:
        with pytest.raises(error) as caught:
            await decoder.probe(whole(tmp_path / "bad.mp4"))
        assert str(tmp_path) not in caught.value.message
        await good(decoder, film, region)

    decoding(use)


def test_file_that_aborts_its_decoder_is_undecodable(decoding, bomb, film, tmp_path):
    regions = [Region(tmp_path / f"region {number}") for number in range(4)]

    async def use(decoder: Decoder) -> None:
        async def explode() -> None:
            with pytest.raises(Undecodable, match="broke its decoder"):
                await decoder.decode(DecodeTask(bomb, regions[0].request(TIMES), FOR_DECORD))

        await asyncio.gather(explode(), *(good(decoder, film, region) for region in regions[1:]))
        await good(decoder, film, regions[0])
        assert decoder.facts() == {"processes": 2, "busy": 0, "waiting": 0, "ends": {"SIGABRT": 1}}

    decoding(use, processes=2)


def test_the_real_bomb_is_undecodable(decoding, real_videos, film, region):
    source = whole(real_videos.parent / "bad" / "stts_bomb.mp4")

    async def use(decoder: Decoder) -> None:
        with pytest.raises(Undecodable):
            await decoder.probe(source)
        with pytest.raises(Undecodable):
            await decoder.decode(DecodeTask(source, region.request(TIMES), FOR_DECORD))

    decoding(use, folder=real_videos.parent / "bad")
    decoding(lambda decoder: good(decoder, film, region))


def test_hanging_decoder_is_killed_at_its_limit(decoding, endless, film, tmp_path):
    regions = [Region(tmp_path / f"region {number}") for number in range(5)]

    async def use(decoder: Decoder) -> float:
        async def hang() -> None:
            with pytest.raises(DecodeTimeout):
                await decoder.probe(endless)

        begun = time.monotonic()
        hanging = asyncio.create_task(hang())
        await asyncio.gather(*(good(decoder, film, region) for region in regions))
        assert not hanging.done()
        await hanging
        took = time.monotonic() - begun
        assert decoder.facts()["ends"] == {"timeout": 1}
        await good(decoder, film, regions[0])
        return took

    assert 2.0 <= decoding(use, processes=2, timeout_s=2.0) < 4.0


def test_a_second_try_has_only_the_time_that_the_first_left(decoding, endless, film, region):
    async def use(decoder: Decoder) -> float:
        budget = decoder.budget()
        await decoder.decode(DecodeTask(film, region.request(TIMES)), budget=budget)
        assert 0.0 < budget.left_s < 60.0
        budget.left_s = 0.5
        begun = time.monotonic()
        with pytest.raises(DecodeTimeout):
            await decoder.decode(DecodeTask(endless, region.request(TIMES)), budget=budget)
        assert budget.left_s == 0.0
        return time.monotonic() - begun

    assert 0.5 <= decoding(use, timeout_s=60.0) < 10.0


def test_a_decoder_that_calculates_too_long_is_ended_at_its_limit(decoding, film, region):
    every_frame = region.request([n / 30 for n in range(30)], resize=4000)  # 64 MB of pixels each on their way

    async def use(decoder: Decoder) -> None:
        with pytest.raises(DecodeTimeout):
            await decoder.decode(DecodeTask(film, every_frame))
        assert (await decoder.probe(film)).width == 160

    decoding(use, timeout_s=0.3)


def test_a_cancelled_task_is_dead_when_the_cancelling_returns(decoding, endless, film, region):
    async def use(decoder: Decoder) -> None:
        task = asyncio.create_task(decoder.probe(endless))
        with await writing(endless) as pipe:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(BrokenPipeError):  # nobody reads any more, so nobody writes into the region
                pipe.write(b"more")
        assert decoder.facts()["ends"] == {"cancelled": 1}
        await good(decoder, film, region)

    decoding(use)


def test_nothing_is_opened_after_the_deadline(decoding, endless, film, region):
    async def use(decoder: Decoder) -> None:
        with pytest.raises(DeadlineExceeded):
            await decoder.probe(endless, Deadline(0))
        with pytest.raises(DeadlineExceeded):
            await decoder.decode(DecodeTask(endless, region.request(TIMES)), Deadline(0))
        with pytest.raises(OSError, match="No such device"):  # nobody has it open for reading
            os.open(endless.path, os.O_WRONLY | os.O_NONBLOCK)
        await good(decoder, film, region)

    decoding(use)


def test_who_waits_for_a_decoder_until_the_deadline_is_never_decoded(decoding, endless, film, tmp_path, region):
    os.mkfifo(tmp_path / "second")
    second = Source(str(tmp_path / "second"), 0, 1_000_000)

    async def waits(decoder: Decoder, deadline: Deadline) -> None:
        async with deadline.enforced():
            await decoder.probe(second, deadline=deadline)

    async def use(decoder: Decoder) -> None:
        first = asyncio.create_task(decoder.probe(endless))
        with await writing(endless):
            with pytest.raises(DeadlineExceeded):
                await waits(decoder, Deadline(0.2))
            first.cancel()
            await asyncio.wait([first])
        with pytest.raises(OSError, match="No such device"):
            os.open(second.path, os.O_WRONLY | os.O_NONBLOCK)
        await good(decoder, film, region)

    decoding(use)


def test_what_is_decoded_dies_with_its_deadline_or_its_client(decoding, endless, film, region):
    async def use(decoder: Decoder) -> None:
        ours, theirs = socket.socketpair()

        async def until_gone() -> None:
            async with connected(ours):
                await decoder.probe(endless)

        with ours:
            task = asyncio.create_task(until_gone())
            with await writing(endless) as pipe:
                theirs.close()
                with pytest.raises(ClientDisconnected):
                    await task
                with pytest.raises(BrokenPipeError):
                    pipe.write(b"more")
        deadline = Deadline(0.5)
        with pytest.raises(DeadlineExceeded):
            async with deadline.enforced():
                await decoder.probe(endless, deadline=deadline)
        await good(decoder, film, region)

    decoding(use)


def test_a_long_video_is_decoded_only_if_the_task_allows_it(decoding, tmp_path):
    film = whole(write_video(tmp_path / "film.mp4", [numbered(0, 1920, 1080)] * 5))
    place = Region(tmp_path / "region")
    five_clips = place.request(*[[0.0]] * 5)

    async def use(decoder: Decoder) -> None:
        undecoded = await decoder.decode(DecodeTask(film, five_clips, only_short=True))
        assert (undecoded.clips, undecoded.media.width) == (None, 1920)
        assert set(place.path.read_bytes()) == {UNTOUCHED}
        decoded = await decoder.decode(DecodeTask(film, five_clips))
        assert decoded.clips is not None and len(decoded.clips.frames) == 5
        short = await decoder.decode(DecodeTask(film, place.request([0.0]), only_short=True))
        assert short.clips is not None

    decoding(use)


async def writing(source: Source) -> BinaryIO:
    """Open the other end of a pipe, as soon as somebody has it open for reading: until then that is an error."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return open(os.open(source.path, os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
        except OSError:
            assert time.monotonic() < deadline, "nobody opened the pipe"
            await asyncio.sleep(0.01)


def test_a_decoder_does_not_outlive_its_killed_service(endless, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what a killed process leaves there is ours to tidy
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, endless.path],
        cwd=CHECKOUT,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        pipe = asyncio.run(writing(endless))
    finally:
        service.kill()
        service.wait()
    deadline = time.monotonic() + 10
    with pipe, pytest.raises(BrokenPipeError):
        while time.monotonic() < deadline:
            pipe.write(b"m")
            time.sleep(0.01)


SERVICE = """
import asyncio, os, sys
from app.sandbox import MEMORY_BYTES, SandboxConfig
from app.sandbox.report import available
from app.sandbox import SandboxConfig
from app.decoding.pool import TRIES, Decoder
from app.media.types import Limits, Source

async def main():
    decoder = Decoder(1, 60, Limits(1, 1, 1), SandboxConfig((os.path.dirname(sys.argv[1]),)))
    decoder.start()
    await decoder.probe(Source(sys.argv[1], 0, 1_000_000))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_process_that_dies_idle_is_replaced(decoding, film, region):
    async def use(decoder: Decoder) -> None:
        await good(decoder, film, region)
        idle = decoder_pids()
        for pid in idle:
            os.kill(pid, signal.SIGKILL)
        for _ in range(3):
            await good(decoder, film, region)
        assert idle.isdisjoint(decoder_pids())

    decoding(use, processes=2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGBUS])
def test_file_whose_decoder_is_killed_once_is_tried_again(decoding, endless, film, number):
    async def use(decoder: Decoder) -> None:
        assert (await decoder.probe(film)).width == 160
        task = asyncio.create_task(decoder.probe(replace(endless, length=film.length)))
        with await writing(endless):
            os.replace(film.path, endless.path)  # what the next try reads
            kill_decoders(number)
        assert (await task).width == 160
        assert decoder.facts()["ends"] == {number.name: 1}

    decoding(use)


def test_killed_decoders_are_not_the_file_s_fault(decoding, endless, film, region):
    async def use(decoder: Decoder) -> None:
        task = asyncio.create_task(decoder.probe(endless))
        for _ in range(TRIES):
            with await writing(endless) as pipe:
                kill_decoders(signal.SIGKILL)
                await nobody_reads(pipe)
        with pytest.raises(NotReady, match="memory ran out") as refused:
            await task
        assert refused.value.retry_after_s
        assert decoder.facts()["ends"] == {"SIGKILL": TRIES}
        await good(decoder, film, region)

    decoding(use)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGSEGV, Undecodable),
        (signal.SIGABRT, Undecodable),
        (signal.SIGSYS, Undecodable),
        (signal.SIGFPE, Undecodable),
        (signal.SIGXCPU, DecodeTimeout),
    ],
)
def test_what_a_decoder_does_to_itself_is_the_files_fault(decoding, endless, film, region, number, error):
    async def use(decoder: Decoder) -> None:
        task = asyncio.create_task(decoder.probe(endless))
        with await writing(endless):
            kill_decoders(number)
            with pytest.raises(error):
                await task
        await good(decoder, film, region)

    decoding(use)


def test_decoders_die_with_their_forkserver_and_the_file_is_tried_again(decoding, endless, film):
    async def use(decoder: Decoder) -> None:
        assert (await decoder.probe(film)).width == 160
        (pid,) = decoder_pids()
        task = asyncio.create_task(decoder.probe(replace(endless, length=film.length)))
        with await writing(endless) as pipe:
            os.replace(film.path, endless.path)
            os.kill(parents()[pid], signal.SIGKILL)
            await nobody_reads(pipe)
        assert (await task).width == 160

    decoding(use)


def test_decoders_killed_all_the_time_condemn_no_file(decoding, film):
    async def use(decoder: Decoder) -> None:
        ending = asyncio.Event()

        async def kill() -> None:
            while not ending.is_set():
                await asyncio.sleep(0.05)
                for pid in decoder_pids():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

        async def probe() -> None:
            while sum(decoder.facts()["ends"].values()) < 12:
                with suppress(NotReady):
                    assert (await decoder.probe(film)).width == 160
                await asyncio.sleep(0.001)

        killer = asyncio.create_task(kill())
        async with asyncio.timeout(60):
            await asyncio.gather(*(probe() for _ in range(4)))
        ending.set()
        await killer
        assert (await decoder.probe(film)).width == 160

    decoding(use, processes=2)


def kill_decoders(number: signal.Signals) -> None:
    for pid in decoder_pids():
        os.kill(pid, number)


async def nobody_reads(pipe: BinaryIO) -> None:
    deadline = time.monotonic() + 20
    with suppress(BrokenPipeError):
        while True:
            pipe.write(b"m")
            assert time.monotonic() < deadline, "somebody still reads the pipe"
            await asyncio.sleep(0.01)


def decoder_pids() -> set[int]:
    """Our processes that are confined as a decoder is: they may write no file."""
    found = set()
    for pid in descendants(os.getpid()):
        try:
            limits = Path(f"/proc/{pid}/limits").read_text()
        except OSError:
            continue
        if limits[limits.index("Max file size") :].split()[3] == "0":
            found.add(pid)
    return found


def test_a_decoder_is_confined(decoding, film, region):
    async def use(decoder: Decoder) -> None:
        await good(decoder, film, region)
        (pid,) = decoder_pids()
        limits = Path(f"/proc/{pid}/limits").read_text()
        for name, value in (("Max core file size", "0"), ("Max address space", str(1 << 30))):
            assert limits[limits.index(name) + len(name) :].split()[0] == value
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)} == {os.devnull}

    decoding(use, memory_bytes=1 << 30)


def test_memory_beyond_the_limit_is_the_files_fault(decoding, tmp_path, film, region):
    large = whole(write_video(tmp_path / "large.mp4", [numbered(0, 2400, 1600)] * 2))

    async def use(decoder: Decoder) -> None:
        request = region.request([0.0], resize=8000, crop=64)
        with pytest.raises((LimitExceeded, Undecodable)):
            await decoder.decode(DecodeTask(large, request))
        assert set(region.path.read_bytes()) == {UNTOUCHED}
        await good(decoder, film, region)

    decoding(use, memory_bytes=600 << 20)


def test_the_layers_are_around_the_processes_that_decode(decoding, film, region):
    async def use(decoder: Decoder) -> None:
        await good(decoder, film, region)
        (pid,) = decoder_pids()
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        told = dict(line.split(":", 1) for line in status)
        assert set(told["Uid"].split()) == {str(os.geteuid() or 65534)}
        assert told["NoNewPrivs"].strip() == "1"
        assert told["CapEff"].strip() == told["CapPrm"].strip() == "0" * 16
        held = {layer.name for layer in available(decoder.confinement) if layer.holds}
        assert (told["Seccomp"].strip() == "2") == ("calls" in held)
        assert (os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")) == ("network" in held)

    decoding(use)


def test_what_must_be_confined_and_cannot_be_does_not_start(tmp_path):
    # As on a kernel without user and network namespaces
    done = subprocess.run(
        [sys.executable, "-c", CONTAINED],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith(
        "SandboxError CLIPSTACK_SANDBOX=required, and decoders lack these sandbox layers: processes:"
    )
    assert said[1] == "NotReady the decoder lacks a sandbox layer that CLIPSTACK_SANDBOX=required demands"
    assert done.stderr.count("decoders are confined without some layers") == 1


CONTAINED = """
import asyncio
from app.sandbox import SandboxConfig, SandboxError
from app.sandbox.seccomp import block
from app.decoding.pool import TRIES, Decoder
from app.errors import NotReady
from app.media.types import Limits, Source
from tests.support.confined import LACKS

if __name__ == "__main__":
    block(LACKS["namespaces"])
    decoder = Decoder(1, 60, Limits(1, 1, 1), SandboxConfig((), mode="required"))
    try:
        decoder.start()
    except SandboxError as error:
        print("SandboxError", error)
    decoder._pool = decoder._new_pool()  # even if somebody went on
    try:
        asyncio.run(decoder.probe(Source("/etc/passwd", 0, 10)))
    except NotReady as error:
        print("NotReady", error)
    decoder.stop()
    best = Decoder(2, 60, Limits(1, 1, 1), SandboxConfig(()))
    best.start()
    best.stop()
"""


def test_stopped_pool_refuses_requests(film, tmp_path):
    decoder = Decoder(2, 20, LIMITS, SandboxConfig((str(tmp_path),)))
    decoder.start()
    assert decoder_pids()
    decoder.stop()
    decoder.stop()
    assert not decoder_pids()
    with pytest.raises(NotReady):
        asyncio.run(decoder.probe(film))
