"""Clips of examples, decoded by the service's own decoders in their sandbox, some files at a time."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import ClipstackError, Undecodable
from app.media.sampling import EvenClips, Times
from app.media.types import ClipRequest, Limits, Source
from app.sandbox import SandboxConfig
from app.settings import Settings
from triton_repo.zoo.spec import ClipSpec
from triton_repo.zoo.transfer.examples import Example

PROCESSES = 2  # decoders, and files in memory at once

Clips = NDArray[np.uint8]


@dataclass(frozen=True)
class ClipDecoder:
    """Decoder of the clips of examples, as the service decodes them for a model with the clip `spec`.

    Attributes:
        decoder: The decoder processes.
        regions: Paths of the files that they write to, one for each process.
        spec: The clip.
        count: Number of clips of each film, spread evenly over it; a picture has one. An odd number has the clip in the
            middle that the service takes by default.
    """

    decoder: Decoder
    regions: tuple[str, ...]
    spec: ClipSpec
    count: int

    async def read(self, examples: Sequence[Example]) -> list[Clips | ClipstackError]:
        """Return for each example its clips uint8 (count, frames, crop, crop, 3), or why it cannot be decoded.

        Args:
            examples: At most as many examples as there are regions.
        """
        pairs = zip(examples, self.regions, strict=False)
        return list(await asyncio.gather(*(self._read(example, region) for example, region in pairs)))

    async def read_all(self, examples: Sequence[Example]) -> AsyncIterator[tuple[Example, Clips | ClipstackError]]:
        """Yield each example with its result, which is as of `read`, in their order."""
        for start in range(0, len(examples), PROCESSES):
            part = examples[start : start + PROCESSES]
            for pair in zip(part, await self.read(part), strict=True):
                yield pair

    async def _read(self, example: Example, region: str) -> Clips | ClipstackError:
        clips = self._placed(example)
        count = clips.count if isinstance(clips, EvenClips) else len(clips)
        shape = (self.spec.frames, self.spec.crop, self.spec.crop, 3)
        size = int(np.prod(shape))
        await asyncio.to_thread(os.truncate, region, size * count)
        offsets = tuple(size * number for number in range(count))
        request = ClipRequest(clips, self.spec.resize, self.spec.crop, offsets, region)
        source = Source(str(example.file.absolute()), 0, example.stamp[0])
        try:
            await self.decoder.decode(DecodeTask(source, request))
        except ClipstackError as error:
            return error
        except FileNotFoundError:
            pass
        if not example.is_unchanged:
            return Undecodable("the file was changed or removed meanwhile")
        return np.fromfile(region, np.uint8).reshape(count, *shape)

    def _placed(self, example: Example) -> EvenClips | Times:
        step_s = self.spec.stride / self.spec.fps
        if example.kind == "image":
            return EvenClips(1, 0.0)
        if example.span is None:
            return EvenClips(self.spec.frames, step_s, self.count)
        start_s, end_s = example.span
        room_s = max(0.0, end_s - start_s - (self.spec.frames - 1) * step_s)
        starts = [start_s + room_s * (index + 0.5) / self.count for index in range(self.count)]
        return tuple(tuple(start + number * step_s for number in range(self.spec.frames)) for start in starts)


@asynccontextmanager
async def clip_decoder(
    examples: Sequence[Example], spec: ClipSpec, count: int, settings: Settings
) -> AsyncIterator[ClipDecoder]:
    """Yield a decoder of the clips of these examples; its processes end with the block.

    `examples` are all that will be read: the sandbox admits their folders alone. `count` is the number of clips of each
    film.
    """
    limits = Limits(settings.max_pixels, settings.max_frames, settings.max_duration_s)
    folders = tuple({str(example.readable_folder.absolute()) for example in examples})
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clipstack-clips-")))
        regions = tuple(str(folder / str(number)) for number in range(PROCESSES))
        for region in regions:
            Path(region).touch()
        # The user owns the files, so root's decoders keep running as root instead of opening the files to another user.
        confinement = SandboxConfig(folders, regions, settings.sandbox, own_user=False)
        decoder = Decoder(PROCESSES, settings.decode_timeout_s, limits, confinement)
        stack.callback(decoder.stop)
        await decoder.start()
        yield ClipDecoder(decoder, regions, spec, count)
