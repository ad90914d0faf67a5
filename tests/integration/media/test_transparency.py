from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from app.media.formats import HEAD_BYTES, recognise
from app.media.transparency import compose_on_white
from app.media.types import Limits
from app.video import decode
from app.video.readers import open_reader
from tests.support.regions import whole

LIMITS = Limits(max_pixels=4_000_000, max_frames=1000, max_duration_s=60)
WIDTH, HEIGHT = 160, 120
WHITE, RED = (255, 255, 255), (200, 30, 30)

FILMS = {
    "png mov": ("png", "rgba", {}),
    "qtrle mov": ("qtrle", "argb", {}),
    "prores mov": ("prores_ks", "yuva444p10le", {}),
    "ffv1 mkv": ("ffv1", "yuva420p", {}),
    "ffv1 deep mkv": ("ffv1", "yuva444p10le", {}),
    "vp8 webm": ("libvpx", "yuva420p", {"auto-alt-ref": "0", "b": "4000000", "qmax": "4"}),
    "vp9 webm": ("libvpx-vp9", "yuva420p", {"auto-alt-ref": "0", "crf": "6", "b": "0"}),
    "vp9 mkv": ("libvpx-vp9", "yuva420p", {"auto-alt-ref": "0", "crf": "6", "b": "0"}),
}


def disc(number):
    """Return frames of a red disc that moves right on a transparent background, whose hidden colour is green."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = (x - 50 - 10 * number) ** 2 + (y - 60) ** 2 < 30**2
    rgba = np.empty((HEIGHT, WIDTH, 4), np.uint8)
    rgba[...] = (0, 255, 0, 0)
    rgba[inside] = (*RED, 255)
    return rgba


def write_film(path, codec, pixels, options, count=4):
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, pixels, 2
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(disc(number), format="rgba")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def seen(path, numbers):
    source = whole(path)
    media = decode.probe(source, LIMITS)
    reader = open_reader(source, media, recognise(source.read(HEAD_BYTES)).name, (WIDTH, HEIGHT))
    return [np.asarray(frame, int) for frame in reader.read(numbers)]


@pytest.mark.parametrize("name", FILMS)
def test_transparent_pixels_are_white(tmp_path, name):
    path = write_film(tmp_path / f"film.{name.split()[-1]}", *FILMS[name])
    for number, frame in zip((0, 3), seen(path, [0, 3]), strict=True):
        assert np.abs(frame[60, 50 + 10 * number] - RED).max() <= 8
        assert np.abs(frame[10, 10] - WHITE).max() <= 4
        assert np.abs(frame[60, 145] - WHITE).max() <= 4
        if "420" not in FILMS[name][1]:  # 4:2:0 mixes the colours of neighbouring pixels
            assert (frame[..., 1] - frame[..., 0]).max() <= 4  # nothing of the hidden green bleeds in


@pytest.mark.parametrize("disposal", [1, 2])
def test_transparent_pixels_of_a_gif_are_white(tmp_path, disposal):
    frames = [Image.fromarray(disc(number)) for number in range(4)]
    frames[0].save(
        tmp_path / "film.gif", save_all=True, append_images=frames[1:], duration=100, loop=0, disposal=disposal
    )
    first, last = seen(tmp_path / "film.gif", [0, 3])
    assert np.abs(first[60, 50] - RED).max() <= 8
    assert np.abs(last[60, 80] - RED).max() <= 8
    for frame in (first, last):
        assert frame[10, 10].tolist() == frame[60, 145].tolist() == list(WHITE)
    kept = last[60, 25].tolist()  # the left end of the first disc
    assert kept == list(WHITE) if disposal == 2 else np.abs(last[60, 25] - RED).max() <= 8


def test_half_transparent_pixels_are_half_white():
    rgba = np.array([[[200, 100, 0, 128], [0, 0, 0, 255], [9, 9, 9, 0]]] * 300, np.uint8)
    rgb = compose_on_white(av.VideoFrame.from_ndarray(rgba, format="rgba")).to_ndarray()
    assert rgb.shape == (300, 3, 3)
    assert rgb[299].tolist() == [[227, 177, 127], [0, 0, 0], [255, 255, 255]]
