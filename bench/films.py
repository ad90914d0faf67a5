"""What is sent in benchmarks: the reference clip, a small film and a large one of our own, a photograph."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from app.settings import CHECKOUT
from bench.networks import FOLDER
from deploy.demo import landscape

REFERENCE = Path(os.environ.get("BENCH_CLIP", CHECKOUT.parent / "shared" / "videos" / "arm_wrestling.mp4"))
BOUNDARY = "clipstack-bench-1f0c7e6d"
PART_S = 20  # of a longer film is drawn and encoded, which takes a third of its length, and then copied
SPEED = 4  # pixels a frame
GRAIN = 4.0  # standard deviation: without it a file has a tenth of the bytes that a camera's has


class Film(NamedTuple):
    """A file to send, and what to say of it where its figures stand."""

    path: Path
    words: str


def reference(folder: Path = FOLDER) -> Film:
    """The reference clip where it is present, else a film of our own of the same shape; the words say which."""
    if REFERENCE.is_file():
        return Film(REFERENCE, f"the reference clip {REFERENCE.name} (340x256, 10 s, 28 fps, H.264)")
    path = filmed(folder / "films" / "reference.mp4", 340, 256, 28, 10)
    return Film(path, "a film of our own in the reference clip's shape (340x256, 10 s, 28 fps, H.264)")


def large(folder: Path = FOLDER) -> Film:
    path = filmed(folder / "films" / "large.mp4", 1920, 1080, 30, 10)
    return Film(path, "a film of our own (1920x1080, 10 s, 30 fps, H.264)")


def long(seconds: int, folder: Path = FOLDER) -> Film:
    path = folder / "films" / f"long-{seconds}.mp4"
    part = filmed(path if seconds <= PART_S else path.with_stem("part"), 640, 360, 30, min(seconds, PART_S))
    if not path.exists():
        repeated(path.with_suffix(".new.mp4"), part.read_bytes(), seconds).rename(path)
    return Film(path, f"a film of our own (640x360, {seconds} s, 30 fps, H.264)")


def filmed(path: Path, width: int, height: int, fps: int, seconds: int) -> Path:
    """Writes a pan over a landscape, there and back, unless the file is there; x264 makes every 250th a key frame."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = max(1, width // 640)  # a landscape of a few million pixels takes long to make
    view = (width // scale, height // scale)
    span = 10 * fps
    picture = landscape(view[0] + SPEED * span // scale + 8, view[1] + 1)
    grain = np.random.default_rng(21).normal(0, GRAIN, (height, 2 * width, 3))
    new = path.with_suffix(".new.mp4")
    with av.open(new, "w") as container:
        stream = container.add_stream("libx264", rate=fps, width=width, height=height, pix_fmt="yuv420p")
        stream.options = {"preset": "veryfast"}
        for number in range(fps * seconds):
            place = number % (2 * span)
            left = (SPEED * min(place, 2 * span - place)) // scale
            seen = picture[: view[1], left : left + view[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(seen), format="rgb24").reformat(width, height)
            sown = frame.to_ndarray() + grain[:, (grains := number * 37 % width) : grains + width]
            grainy = np.clip(sown, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grainy, format="rgb24")))
        container.mux(stream.encode(None))
    return new.rename(path)


def repeated(path: Path, part: bytes, seconds: float) -> Path:
    """Writes the film `part` again and again until it is so long: packets are copied, so an hour is made in seconds."""
    with av.open(str(path), "w", format="mp4") as target:
        stream, offset, made_s = None, 0, 0.0
        while made_s < seconds:
            with av.open(io.BytesIO(part), "r") as source:
                track = source.streams.video[0]
                stream = stream or target.add_stream_from_template(track)
                end = 0
                for packet in source.demux(track):
                    if packet.pts is not None and packet.dts is not None:
                        end = max(end, packet.pts + (packet.duration or 0))
                        packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                        target.mux(packet)
                offset += end
                made_s = offset * float(track.time_base or 1)
    return path


def photograph(folder: Path = FOLDER) -> Film:
    path = folder / "films" / "photograph.jpg"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        Image.fromarray(landscape(640, 480)).save(file, "JPEG", quality=90)
        path.write_bytes(file.getvalue())
    return Film(path, "a picture of our own (640x480, JPEG)")


def multipart(path: Path, folder: Path = FOLDER) -> Path:
    """The file as the body of a form with the one field `file`, for a load generator that sends bodies as they are."""
    body = folder / "bodies" / f"{path.name}.multipart"
    body.parent.mkdir(parents=True, exist_ok=True)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body.write_bytes(head.encode() + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode())
    return body


CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

__all__ = ["CONTENT_TYPE", "Film", "filmed", "large", "long", "multipart", "photograph", "reference", "repeated"]
