"""Path from a film on disk to scores: decord into the slot, scaled and cropped like the decoder, then Triton."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from app.inference.client import ClipInput
from app.media.frames import centre_crop, scaled_size
from bench.gpu.networks import BenchModel
from bench.gpu.path import worker

FILM = Path(__file__).with_name("film.mp4")  # part of the bundle, which cannot make a film
TIMES = 20


def film_path(folder: Path) -> Path:
    """Return the bundle's film, or one made in `folder`: 3 seconds of 640x360 in H.264."""
    if FILM.exists():
        return FILM
    from deploy.demo import film  # PyAV is one of the service's packages and not in the bundle

    film(folder / FILM.name)
    return folder / FILM.name


def left_out() -> str | None:
    """Return why no film can be decoded here, or None."""
    return None if find_spec("decord") else "decord is not installed"


async def measure(address: str, subject: BenchModel, transport: str, gpu: int | None, film: Path) -> dict[str, Any]:
    """Return the median milliseconds of decoding one clip on the CPU in one thread, and of the rest."""
    import decord

    spec = subject.served.spec
    shape = (spec.frames, spec.crop, spec.crop, 3)
    height, width, _ = decord.VideoReader(str(film))[0].shape
    width, height = scaled_size(width, height, spec.resize)
    decoding, inferring = [], []
    async with worker(address, transport, subject, gpu) as (pool, triton):
        (offset,) = await pool.acquire(1)
        for number in range(TIMES + 1):
            started = time.perf_counter()
            video = decord.VideoReader(str(film), width=width, height=height, num_threads=1)
            frames = np.linspace(0, len(video) - 1, spec.frames).astype(int).tolist()
            for place, frame in zip(pool.view(offset, shape), video.get_batch(frames).asnumpy(), strict=True):
                place[...] = centre_crop(frame[..., :3], spec.crop)
            decoded = time.perf_counter()
            await triton.infer(ClipInput(subject.name, "1", offset, shape))
            if number:  # the first one loads the decoder
                decoding.append(decoded - started)
                inferring.append(time.perf_counter() - decoded)
        pool.release(offset)
    return {"decode_ms": float(np.median(decoding)) * 1e3, "scores_ms": float(np.median(inferring)) * 1e3}
