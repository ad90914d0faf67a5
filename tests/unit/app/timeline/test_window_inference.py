"""A timeline that fails ends at once, without waiting for outstanding answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.errors import Undecodable
from app.inference.client import Scores
from app.timeline.scan import Window
from app.timeline.services import TimelineServices
from app.timeline.window_inference import GROUP, WindowInference

PATIENCE_S = 10


class Slots:
    """Slots without memory; `held` has those in use."""

    count = 16

    def __init__(self) -> None:
        self.held: set[int] = set()

    def take(self) -> int:
        offset = min(set(range(self.count)) - self.held)
        self.held.add(offset)
        return offset

    def release(self, offset: int) -> None:
        self.held.remove(offset)

    def view(self, offset: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return np.zeros(shape, np.uint8)


class Triton:
    """A Triton that answers only after `answers` is set."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.requests = 0

    async def infer(self, *_: object) -> Scores:
        self.requests += 1
        await self.answers.wait()
        return Scores(np.zeros(2, np.float32), "inline")


class Recorder:
    def __init__(self) -> None:
        self.windows: list[int] = []

    def add_picture(self, *_: object) -> None: ...

    def add_window(self, index: int, *_: object) -> None:
        self.windows.append(index)

    def finish(self, *_: object) -> None: ...


def bounded(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; fail if it has not ended in time, even if it ignores cancellation."""

    async def watched() -> None:
        work = asyncio.ensure_future(scenario)
        done, _ = await asyncio.wait([work], timeout=PATIENCE_S)
        assert done, "it hangs"
        work.result()

    asyncio.run(watched())


class Services(SimpleNamespace):
    retry = TimelineServices.retry


def made() -> tuple[Any, Slots, Triton, Recorder]:
    """Return an inference of windows with 2 frames, and its parts."""
    slots, triton, recorder = Slots(), Triton(), Recorder()
    services: Any = Services(
        slots=slots, triton=triton, patience_s=PATIENCE_S, infer_timeout_s=PATIENCE_S, has_waiting_uploads=lambda: False
    )
    model: Any = SimpleNamespace(name="m", version="1", clip_shape=(2, 4, 4, 3))
    inference = WindowInference(services, model, SimpleNamespace(), recorder)  # type: ignore[arg-type]
    return inference, slots, triton, recorder


@pytest.mark.parametrize("rounds", range(8))
def test_damaged_file_ends_the_inference_at_any_moment(rounds: int) -> None:
    # The response arrives some rounds of the event loop before the scan reports the damage

    async def scenario() -> None:
        run, slots, triton, _ = made()

        class Stream:
            busy_s = 0.0

            async def events(self) -> AsyncIterator[tuple[Window, int]]:
                for index in range(GROUP):
                    yield Window(index, (index, index + 1), padded=False), slots.take()
                while triton.requests < GROUP:
                    await asyncio.sleep(0)
                triton.answers.set()
                for _ in range(rounds):
                    await asyncio.sleep(0)
                raise Undecodable("the file is damaged")

        with pytest.raises(Undecodable):
            await run.follow(Stream())
        while slots.held:  # slots are released with the answers
            await asyncio.sleep(0)

    bounded(scenario())


def test_windows_of_the_same_frames_share_a_result() -> None:
    async def scenario() -> None:
        run, slots, triton, recorder = made()
        triton.answers.set()
        frames = [(0, 1), (0, 1), (0, 1), (1, 2), (0, 1), (0, 1)]

        class Stream:
            busy_s = 0.0

            async def events(self) -> AsyncIterator[tuple[Window, int]]:
                for index, row in enumerate(frames):
                    yield Window(index, row, padded=False), slots.take()

        await run.follow(Stream())
        assert recorder.windows == list(range(len(frames)))
        assert triton.requests == 3
        assert not slots.held

    bounded(scenario())
