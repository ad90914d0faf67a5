"""Films of known sizes, and every reader that takes a clip from them: on the CPU, by NVDEC, and torchcodec.

Part of bench/gpu/decode.py, which sets the import path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np

if TYPE_CHECKING:
    from app.media.frames import Reader

FRAMES, SPAN_S, RESIZE, CROP = 16, 2.5, 256, 224  # of an X3D-M clip


class Film(NamedTuple):
    """A test film: its name, length and size."""

    name: str
    seconds: int
    width: int
    height: int


FILMS = (Film("short", 10, 340, 256), Film("long", 60, 1920, 1080))
SMALL = (Film("short", 3, 340, 256), Film("long", 4, 960, 540))

Clip = Any  # uint8 (FRAMES, CROP, CROP, 3), an array or a tensor


def write(film: Film, folder: Path) -> Path:
    """Write the film in H.264, 30 frames per second, key frames every two seconds: a pan over a picture."""
    path = folder / f"{film.name}.mp4"
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 236, (film.height // 8 + 2, film.width // 4 + 2, 3)).astype(np.float32)
    coarse = (coarse + np.roll(coarse, 1, 0) + np.roll(coarse, 1, 1) + np.roll(coarse, 2, 1)) / 4
    wide = coarse.repeat(8, 0).repeat(8, 1)[: film.height].astype(np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"preset": "veryfast", "g": "60"})
        stream.width, stream.height, stream.pix_fmt = film.width, film.height, "yuv420p"
        for number in range(film.seconds * 30):
            left = 2 * number % (wide.shape[1] - film.width)
            picture = np.ascontiguousarray(wide[:, left : left + film.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return path


def ways(path: Path, device: str) -> Iterator[tuple[str, Callable[[], Clip]]]:
    """Yield each way to a clip from the middle of the film, with its name; each opens the file, like a request."""
    import torch

    from app.media.formats import HEAD_BYTES, recognise
    from app.media.frames import centre_crop, scaled_size
    from app.media.sampling import frames_at
    from app.media.types import Limits, Source
    from app.video.container import ffmpeg_name
    from app.video.gpu_frames import DeviceReader
    from app.video.packet_reader import PacketReader
    from app.video.probe import probe

    source = Source(str(path), 0, path.stat().st_size)
    media = probe(source, Limits(1 << 30, 1 << 30, 1 << 30))
    demuxer = recognise(source.read(HEAD_BYTES)).name
    size = scaled_size(media.width, media.height, RESIZE)
    begin_s = ((media.duration_s or 0.0) - SPAN_S) / 2
    times_s = [begin_s + SPAN_S * number / FRAMES for number in range(FRAMES)]

    def read(make: Callable[[], Reader], place: Clip, finish: Callable[[], None]) -> Clip:
        reader = make()
        for number, frame in enumerate(reader.read(frames_at(reader.timing, times_s))):
            place[number] = centre_crop(frame, CROP)
        finish()
        return place

    shape = (FRAMES, CROP, CROP, 3)
    if find_spec("decord"):
        from app.video.decord_reader import DecordReader

        by_decord = partial(DecordReader, ffmpeg_name(source), size, None)
        yield "decord, CPU", lambda: read(by_decord, np.empty(shape, np.uint8), _nothing)
    yield (
        "PyAV, CPU",
        lambda: read(partial(PacketReader, source, demuxer, media, size), np.empty(shape, np.uint8), _nothing),
    )
    where = torch.device(device)
    finish = torch.cuda.synchronize if where.type == "cuda" else _nothing
    yield (
        f"PyAV, {'NVDEC' if where.type == 'cuda' else 'as for NVDEC, CPU'}",
        lambda: read(
            partial(DeviceReader, source, demuxer, media, size, where),
            torch.empty(shape, dtype=torch.uint8, device=where),
            finish,
        ),
    )
    numbers = frames_at(PacketReader(source, demuxer, media, size).timing, times_s)
    yield f"torchcodec, {device}", partial(_torchcodec, path, numbers, size, device)


def _nothing() -> None:
    pass


def _torchcodec(path: Path, numbers: list[int], size: tuple[int, int], device: str) -> Clip:
    import torch
    from torch.nn.functional import interpolate
    from torchcodec.decoders import VideoDecoder

    from app.media.frames import centre_crop

    decoder = VideoDecoder(str(path), device=device, num_ffmpeg_threads=1)
    rows = []
    for number in numbers:  # one by one: 16 frames of a large film take 100 MB
        scaled = interpolate(decoder[number][None].float(), size[::-1], mode="bicubic", antialias=True)[0]
        rows.append(centre_crop(scaled.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0), CROP))
    if decoder.cpu_fallback:
        raise RuntimeError(f"torchcodec did not decode on {device}: {decoder.cpu_fallback}")
    clip = torch.stack(rows)
    if clip.is_cuda:
        torch.cuda.synchronize()
    return clip
