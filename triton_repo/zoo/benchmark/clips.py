"""Clips of real videos, decoded, scaled and cropped as the service does."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.errors import ClipstackError, WrongMediaKind
from app.media.sampling import EvenClips
from app.media.types import ClipRequest, Limits, Source
from app.sandbox import SandboxConfig
from app.settings import Settings
from triton_repo.zoo import ModelError
from triton_repo.zoo.repository.store import InstalledModel

Clips = NDArray[np.uint8]
Refused = Callable[[Path, ClipstackError], None]


def real_clips(videos: Path, model: InstalledModel, count: int, settings: Settings, refused: Refused) -> list[Clips]:
    """Return clips uint8 (1, T, H, W, 3) of a video, or of every file in a folder.

    Args:
        videos: A file, or a folder of files.
        model: The model that the clips are for.
        count: Number of clips of each file, spread evenly over it.
        settings: Limits, timeout and sandbox settings of the decoders.
        refused: Receives each file that the service would refuse, and the error.

    Raises:
        ModelError: `videos` does not exist, or no file gave a clip.
    """
    if not videos.exists():
        raise ModelError(f"{videos} does not exist.")
    files = sorted(path for path in videos.iterdir() if path.is_file()) if videos.is_dir() else [videos]
    clips = clips_of_files(files, model, count, settings, refused)
    if not clips:
        raise ModelError(f"there is nothing in {videos} that {model.name} could look at.")
    return clips


def clips_of_files(
    files: list[Path], model: InstalledModel, count: int, settings: Settings, refused: Refused
) -> list[Clips]:
    """Return clips like `real_clips`, of these files; none if all are refused."""
    return asyncio.run(_of_files(files, model.parameters, count, settings, refused))


async def _of_files(
    files: list[Path], parameters: dict[str, str], count: int, settings: Settings, refused: Refused
) -> list[Clips]:
    limits, clips = Limits(settings.max_pixels, settings.max_frames, settings.max_duration_s), []
    with tempfile.NamedTemporaryFile(prefix="clipstack-clips-") as region:
        folders = tuple({str(file.parent.absolute()) for file in files})
        # The user owns the files, so root's decoders keep running as root instead of opening the files to another user.
        confinement = SandboxConfig(folders, (region.name,), settings.sandbox, own_user=False)
        decoder = Decoder(1, settings.decode_timeout_s, limits, confinement)
        decoder.start()
        try:
            for file in files:
                try:
                    clips += await _of_file(decoder, file, parameters, count, region.name)
                except ClipstackError as error:
                    refused(file, error)
        finally:
            decoder.stop()
    return clips


async def _of_file(decoder: Decoder, file: Path, parameters: dict[str, str], count: int, region: str) -> list[Clips]:
    source = Source(str(file.absolute()), 0, file.stat().st_size)
    media = await decoder.probe(source)
    frames, crop = int(parameters["frames"]), int(parameters["crop"])
    if media.kind == "video":
        clips = EvenClips(frames, int(parameters["stride"]) / float(parameters["fps"]), count)
    elif parameters["kind"] == "video":
        raise WrongMediaKind("a picture has no movement to look at")
    else:
        clips = EvenClips(1, 0.0)
    shape = (frames, crop, crop, 3)
    size = int(np.prod(shape))
    os.truncate(region, size * clips.count)
    offsets = tuple(size * number for number in range(clips.count))
    request = ClipRequest(clips, int(parameters["resize"]), crop, offsets, region)
    await decoder.decode(DecodeTask(source, request, media))
    pixels = np.fromfile(region, np.uint8)
    return list(pixels.reshape(clips.count, 1, *shape))
