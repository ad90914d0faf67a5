"""Deaths of decoder processes: by the file, by a signal, with their service."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from app.decoding.pool import TRIES, Decoder
from app.decoding.worker import DecodeTask
from app.errors import DecodeTimeout, NotReady, Undecodable
from app.settings import CHECKOUT
from tests.support.decoders import FOR_DECORD, TIMES, decoder_pids, good, kill_decoders, nobody_reads, writing
from tests.support.leaks import parents
from tests.support.regions import Region, whole


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


def test_a_decoder_does_not_outlive_its_killed_service(endless, tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # the test removes what the killed process leaves there
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
from app.sandbox import available
from app.sandbox import SandboxConfig
from app.decoding.pool import TRIES, Decoder
from app.media.types import Limits, Source

async def main():
    decoder = Decoder(1, 60, Limits(1, 1, 1), SandboxConfig((os.path.dirname(sys.argv[1]),)))
    await decoder.start()
    await decoder.probe(Source(sys.argv[1], 0, 1_000_000))

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_dead_idle_process_is_replaced(decoding, film, region):
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
def test_file_of_a_killed_decoder_is_retried(decoding, endless, film, number):
    async def use(decoder: Decoder) -> None:
        assert (await decoder.probe(film)).width == 160
        task = asyncio.create_task(decoder.probe(replace(endless, length=film.length)))
        with await writing(endless):
            os.replace(film.path, endless.path)  # the next attempt reads this file
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
def test_fatal_signals_of_a_decoder_blame_the_file(decoding, endless, film, region, number, error):
    async def use(decoder: Decoder) -> None:
        task = asyncio.create_task(decoder.probe(endless))
        with await writing(endless):
            kill_decoders(number)
            with pytest.raises(error):
                await task
        await good(decoder, film, region)

    decoding(use)


def test_decoders_die_with_forkserver_and_file_is_retried(decoding, endless, film):
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


def test_repeated_kills_do_not_blame_the_file(decoding, film):
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
