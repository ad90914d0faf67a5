"""Makes a film of a few frames in each codec, and pictures, and opens them as the service does.

python -m deploy.doctor.checks.films FOLDER       prints JSON: for each codec what each reader said, "" when all was well
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import av
import decord
import numpy as np
from av.video.stream import VideoStream

FRAMES, SIDE = 4, 64  # no encoder takes less
ENCODERS = {"H.264": "libx264", "HEVC": "libx265", "VP9": "libvpx-vp9", "AV1": "libsvtav1"}
QUICK = {
    "libx264": {"preset": "ultrafast", "x264-params": "log-level=none"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}


def film(path: Path) -> str:
    """A grey film that gets lighter, by the encoder that its name says; raises FFmpegError when there is none."""
    encoder = path.stem
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=25, options=QUICK[encoder])
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 40 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return ""


def by_pyav(path: Path) -> str:
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
    return "" if count == FRAMES else f"{count} of {FRAMES} frames"


def by_decord(path: Path) -> str:
    count = len(
        decord.VideoReader(str(path), width=SIDE, height=SIDE, num_threads=1).get_batch(range(FRAMES)).asnumpy()
    )
    return "" if count == FRAMES else f"{count} of {FRAMES} frames"


def heic(_: Path) -> str:
    """Whether HEIC can be decoded; nothing here can encode it."""
    import pi_heif

    return "" if pi_heif.libheif_info()["decoders"] else "it has no HEVC decoder"


def avif(path: Path) -> str:
    """Write a small AVIF picture and open it."""
    from PIL import Image

    Image.new("RGB", (SIDE, SIDE)).save(path, "AVIF")
    with Image.open(path) as picture:
        picture.load()
    return ""


def said(read: Callable[[Path], str], path: Path) -> str:
    try:
        return read(path)
    except Exception as error:  # whatever a library raises: its words are the answer
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"


def main(folder: Path) -> None:
    decord.logging.set_level(decord.logging.QUIET)
    av.logging.set_level(av.logging.PANIC)
    told: dict[str, dict[str, str]] = {}
    for codec, encoder in ENCODERS.items():
        path = folder / f"{encoder}.mp4"
        if why := said(film, path):
            told[codec] = {"encoder": why}
        else:
            told[codec] = {"PyAV": said(by_pyav, path), "decord": said(by_decord, path)}
    told["HEIC"] = {"pi-heif": said(heic, folder)}
    told["AVIF"] = {"Pillow": said(avif, folder / "picture.avif")}
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
