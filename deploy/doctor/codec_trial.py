"""Test program of the codec check: makes and opens a tiny video per codec, and pictures.

Usage: python -m deploy.doctor.codec_trial FOLDER

It prints JSON: per codec the error of each reader, empty when it succeeded.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import av
import decord
import numpy as np
from av.video.stream import VideoStream

FRAMES, SIDE = 4, 64  # 64 pixels is the encoders' minimum
ENCODERS = {"H.264": "libx264", "HEVC": "libx265", "VP9": "libvpx-vp9", "AV1": "libsvtav1"}
FASTEST = {
    "libx264": {"preset": "ultrafast", "x264-params": "log-level=none"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}


def make_video(path: Path) -> str:
    """Write a grey video that gets lighter, with the encoder named by `path`; raise FFmpegError when there is none."""
    encoder = path.stem
    with av.open(str(path), "w") as output:
        stream = output.add_stream(encoder, rate=25, options=FASTEST[encoder])
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for number in range(FRAMES):
            picture = np.full((SIDE, SIDE, 3), 40 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return ""


def decode_with_pyav(path: Path) -> str:
    """Decode the video with PyAV and return the error, or an empty string."""
    with av.open(str(path)) as container:
        return _compare(sum(1 for _ in container.decode(video=0)))


def decode_with_decord(path: Path) -> str:
    """Decode the video with decord and return the error, or an empty string."""
    reader = decord.VideoReader(str(path), width=SIDE, height=SIDE, num_threads=1)
    return _compare(len(reader.get_batch(range(FRAMES)).asnumpy()))


def _compare(count: int) -> str:
    return "" if count == FRAMES else f"{count} of {FRAMES} frames"


def check_heic(_: Path) -> str:
    """Return an error unless HEIC can be decoded; nothing here can encode a test picture."""
    import pi_heif

    return "" if pi_heif.libheif_info()["decoders"] else "it has no HEVC decoder"


def check_avif(path: Path) -> str:
    """Write a small AVIF picture and open it."""
    from PIL import Image

    Image.new("RGB", (SIDE, SIDE)).save(path, "AVIF")
    with Image.open(path) as picture:
        picture.load()
    return ""


def error_of(read: Callable[[Path], str], path: Path) -> str:
    """Return the error that `read` returns for `path`, or its exception as text."""
    try:
        return read(path)
    except Exception as error:  # any library error is a result
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:100]}"


def main(folder: Path) -> None:
    """Test every codec in `folder` and print the errors as JSON."""
    decord.logging.set_level(decord.logging.QUIET)
    av.logging.set_level(av.logging.PANIC)
    errors: dict[str, dict[str, str]] = {}
    for codec, encoder in ENCODERS.items():
        path = folder / f"{encoder}.mp4"
        if error := error_of(make_video, path):
            errors[codec] = {"encoder": error}
        else:
            errors[codec] = {"PyAV": error_of(decode_with_pyav, path), "decord": error_of(decode_with_decord, path)}
    errors["HEIC"] = {"pi-heif": error_of(check_heic, folder)}
    errors["AVIF"] = {"Pillow": error_of(check_avif, folder / "picture.avif")}
    print(json.dumps(errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
