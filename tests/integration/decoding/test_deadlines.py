"""Decoding ends at its time limit, its deadline, and with its client."""

import asyncio
import os
import socket
import time

import pytest

from app.admission.deadline import Deadline
from app.admission.disconnect import connected
from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import ClientDisconnected, DeadlineExceeded, DecodeTimeout
from app.media.types import Source
from tests.support.decoders import TIMES, good, writing
from tests.support.regions import Region


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


def test_second_attempt_has_the_remaining_time(decoding, endless, film, region):
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


def test_decoder_beyond_its_cpu_limit_is_ended(decoding, film, region):
    every_frame = region.request([n / 30 for n in range(30)], resize=4000)  # 64 MB of pixels per frame

    async def use(decoder: Decoder) -> None:
        with pytest.raises(DecodeTimeout):
            await decoder.decode(DecodeTask(film, every_frame))
        assert (await decoder.probe(film)).width == 160

    decoding(use, timeout_s=0.3)


def test_cancelled_task_is_dead_when_cancelling_returns(decoding, endless, film, region):
    async def use(decoder: Decoder) -> None:
        task = asyncio.create_task(decoder.probe(endless))
        with await writing(endless) as pipe:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(BrokenPipeError):  # the decoder is dead, so nothing writes into the region
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
        with pytest.raises(OSError, match="No such device"):  # no process has it open for reading
            os.open(endless.path, os.O_WRONLY | os.O_NONBLOCK)
        await good(decoder, film, region)

    decoding(use)


def test_request_past_its_deadline_is_never_decoded(decoding, endless, film, tmp_path, region):
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


def test_decoding_ends_with_deadline_or_client(decoding, endless, film, region):
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
