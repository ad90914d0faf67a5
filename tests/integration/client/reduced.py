"""Files that the client reduced, decoded as the service does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.decoding import worker
from app.media.sampling import EvenClips
from app.media.types import ClipRequest, DecodeResult, Limits, Media, Source
from clipstack_client.models import Model
from clipstack_client.reduction.prepare import ReducedFile, Target, probe, reduce
from tests.support.films import Frame, numbered

LIMITS = Limits(max_pixels=36_000_000, max_frames=100_000, max_duration_s=1000.0)


def model(frames: int = 8, stride: int = 4, fps: float = 30.0, resize: int = 80, crop: int = 64) -> Model:
    return Model("some", "1", "video", (), frames, stride, fps, resize, crop, True)


def decode(path: Path, model: Model, clips: int) -> tuple[Media, DecodeResult, NDArray[np.int64]]:
    """Return a file's properties, the decoded frames, and their pixels (clips, T, crop, crop, 3)."""
    source = Source(str(path), 0, path.stat().st_size)
    media = worker.probe(source, LIMITS)
    stride, fps = model.stride or 1, model.fps or 1.0
    size = model.frames * model.crop * model.crop * 3
    region = path.with_suffix(".region")
    region.write_bytes(bytes(size * clips))
    offsets = tuple(size * clip for clip in range(clips))
    wanted = EvenClips(model.frames, stride / fps, clips)
    request = ClipRequest(wanted, model.resize, model.crop, offsets, str(region))
    decoded = worker.decode(source, media, request)
    pixels = np.fromfile(region, np.uint8).reshape(clips, model.frames, model.crop, model.crop, 3)
    return media, decoded, pixels.astype(np.int64)


def reduce_file(path: Path, reduction: str, model: Model, clips: int = 1) -> ReducedFile | None:
    with path.open("rb") as file:
        facts = probe(file, path.stat().st_size)
        assert facts is not None
        return reduce(file, facts, reduction, Target(model, clips), lambda done_s: None)


def grainy(count: int) -> list[Frame]:
    """Return numbered frames with grain, which makes the files large."""
    chance = np.random.default_rng(1)
    grain = chance.integers(0, 20, (240, 320, 3), np.uint8)
    return [numbered(number, 320, 240) + np.roll(grain, 7 * number, axis=1) for number in range(count)]
