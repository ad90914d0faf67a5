"""H.264 films of real frames under a camera of known path, which `camera_motion` is evaluated on."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product, repeat
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from triton_repo.zoo.training.camera_motion.paths import LABELS, CameraPath, random_path
from triton_repo.zoo.training.camera_motion.scenes import Image, fit_scene, render

FPS = (24, 30, 60)
SIZES = ((320, 240), (640, 360), (1280, 720), (360, 640))
SECONDS = 1.5
STILLS = (0.1, 0.3, 0.5, 0.7, 0.9)  # positions in a video at which a frame is taken, as parts of its length
# Views with less detail, for example a blank wall or bare stripes, are not filmed: their motion is invisible to a
# person too. The figure is the change of brightness (0 to 255) from one pixel of 80 to the next, in the direction of
# least change.
MIN_DETAIL = 3.0
MAX_TRIES = 200  # attempts to find a view with detail
RATE_FACTORS = (20, 32)  # libx264's constant rate factor, from good to a phone messenger's


@dataclass(frozen=True)
class Film:
    """One film to make: its label, its file's properties and its seed `number`."""

    label: str
    fps: int
    size: tuple[int, int]
    number: int


def decode(video: Path) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video."""
    with av.open(str(video)) as container:
        yield from container.decode(video=0)


def stills(video: Path) -> Iterator[Image]:
    """Yield frames of the video at STILLS, RGB uint8 (H, W, 3); none if the file cannot be decoded to its end."""
    try:
        count = sum(1 for _ in decode(video))
    except (av.FFmpegError, IndexError):
        return
    numbers = {int(share * count) for share in STILLS}
    for number, frame in enumerate(decode(video)):
        if number in numbers:
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def footage_scenes(folder: Path) -> list[Image]:
    """Return frames of all videos in a folder as scenes; raise ValueError if there are none."""
    scenes = [fit_scene(image) for video in sorted(folder.iterdir()) for image in stills(video)]
    if not scenes:
        raise ValueError(f"no video that can be decoded in {folder}")
    return scenes


def films(per_label: int) -> list[Film]:
    """Return `per_label` films of each label, alternating all frame rates and sizes."""
    variants = list(product(FPS, SIZES))
    return [
        Film(label, *variants[i % len(variants)], number=i * len(LABELS) + j)
        for i in range(per_label)
        for j, label in enumerate(LABELS)
    ]


@dataclass(frozen=True)
class Padding:
    """Other properties of a file: seconds without motion before and after, and the distance of key frames.

    0 frames select x264's default: a key frame at each cut, and at least every 250 frames.
    """

    still_s: float = 0.0
    key_frames: int = 0


NO_PADDING = Padding()
# With AVX-512 libx264 writes another file in one run of some ten (164, AMD EPYC 9004)
REPRODUCIBLE = {"x264-params": "asm=avx2"} if "avx512" in Path("/proc/cpuinfo").read_text() else {}


def encode(frames: NDArray[np.uint8], fps: int, quality: int, padding: Padding = NO_PADDING) -> bytes:
    """Return an MP4 file with an H.264 track of the frames, RGB uint8 (T, H, W, 3) with even height and width."""
    file, still = io.BytesIO(), round(padding.still_s * fps)
    options = (
        {"crf": str(quality), "preset": "veryfast"}
        | REPRODUCIBLE
        | ({"g": str(padding.key_frames)} if padding.key_frames else {})
    )
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1  # with more threads the file is not reproducible
        for frame in chain(repeat(frames[0], still), frames, repeat(frames[-1], still)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def detail(view: Image) -> float:
    """Return the root-mean-square change of brightness from pixel to pixel, in the direction of least change."""
    along_y, along_x = np.gradient(view.mean(axis=-1))
    both = (along_x * along_y).mean()
    tensor = [[(along_x**2).mean(), both], [both, (along_y**2).mean()]]
    return float(np.sqrt(max(0.0, np.linalg.eigvalsh(tensor)[0])))


@dataclass(frozen=True)
class View:
    """View of a camera at rest: `share` of the scene's short side, around `centre` in parts of the scene's size."""

    scene: Image
    share: float
    centre: tuple[float, float]

    def film(self, path: CameraPath, width: int, height: int) -> NDArray[np.uint8]:
        """Return the frames along the path, RGB uint8 (T, height, width, 3)."""
        return render(self.scene, path, width, height, self.share, self.centre)


def random_view(scenes: list[Image], rng: np.random.Generator) -> View:
    """Return a view with detail in every direction; raise ValueError if none is found."""
    rest = CameraPath("static", *np.zeros((4, 1)))
    for _ in range(MAX_TRIES):
        scene = scenes[rng.integers(len(scenes))]
        centre = (float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.3, 0.7)))
        view = View(scene, rng.uniform(0.35, 0.8), centre)
        if detail(view.film(rest, 80, 80)[0]) >= MIN_DETAIL:
            return view
    raise ValueError("the footage has no view with enough detail to see a movement")


def record(film: Film, scenes: list[Image], seed: int, padding: Padding = NO_PADDING) -> bytes:
    """Return the file of one film; the seed and the film's number determine its view and path."""
    rng = np.random.default_rng((seed, film.number))
    times = np.arange(round(SECONDS * film.fps)) / film.fps
    path = random_path(film.label, times, rng)
    frames = random_view(scenes, rng).film(path, *film.size)
    return encode(frames, film.fps, int(rng.integers(RATE_FACTORS[0], RATE_FACTORS[1] + 1)), padding)
