"""Films of many moves, with and without cuts, and their true labels, which timelines are evaluated on."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from triton_repo.zoo.training.camera_motion.paths import LABELS, CameraPath, random_path
from triton_repo.zoo.training.camera_motion.render import MIN_DETAIL, RATE_FACTORS, View, detail, random_view
from triton_repo.zoo.training.camera_motion.scenes import Image

SECONDS = (2.0, 5.0)  # length of one move
MOVES = (1, 3)  # moves in one shot, from one cut to the next
# largest distance from the centre in short sides; largest natural logarithm of the magnification
MAX_OFFSET, MAX_LOG_ZOOM = 1.5, 0.9
MAX_TRIES = 200


@dataclass(frozen=True)
class Move:
    """Camera motion from `start_s` to `end_s`; `cut` is true if a new scene starts with it."""

    label: str
    start_s: float
    end_s: float
    cut: bool


def record_moves(
    scenes: list[Image], moves: int, fps: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[bytes, list[Move]]:
    """Return an MP4 file of `moves` moves at `fps` and `size` (width, height), and the moves in it."""
    file = io.BytesIO()
    labelled_moves: list[Move] = []
    begin = 0
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(RATE_FACTORS[0]), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        for view, shot in _random_shots(moves, fps, scenes, rng):
            for index, path in enumerate(shot):
                end = begin + len(path.x)
                labelled_moves.append(Move(path.label, begin / fps, end / fps, cut=index == 0 and begin > 0))
                for frames in _render_blocks(view, path, size):
                    for frame in frames:
                        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                begin = end
        container.mux(stream.encode())
    return file.getvalue(), labelled_moves


def _render_blocks(view: View, path: CameraPath, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames in blocks of 30: all frames at once would take gigabytes."""
    for start in range(0, len(path.x), 30):
        part = slice(start, start + 30)
        pose = (path.x[part], path.y[part], path.log_zoom[part], path.roll[part])
        yield view.film(CameraPath(path.label, *pose), *size)


def _random_shots(
    moves: int, fps: int, scenes: list[Image], rng: np.random.Generator
) -> Iterator[tuple[View, list[CameraPath]]]:
    """Yield the view and the paths of each shot; each path continues the previous one with another label."""
    before = ""
    while moves > 0:
        shot: list[CameraPath] = []
        for _ in range(min(moves, int(rng.integers(MOVES[0], MOVES[1] + 1)))):
            path = _next_path(shot[-1] if shot else None, shot[-1].label if shot else before, fps, rng)
            if path is None:
                break
            shot.append(path)
        view = _view_with_detail(shot, fps, scenes, rng)
        if view is not None:
            before = shot[-1].label
            moves -= len(shot)
            yield view, shot


def _view_with_detail(shot: list[CameraPath], fps: int, scenes: list[Image], rng: np.random.Generator) -> View | None:
    """Return a view with detail wherever the camera goes, so that motion is visible, or None if none is found."""
    step = max(1, fps // 2)
    poses = [np.concatenate([getattr(path, name)[::step] for path in shot]) for name in ("x", "y", "log_zoom", "roll")]
    for _ in range(MAX_TRIES):
        view = random_view(scenes, rng)
        if all(detail(frame) >= MIN_DETAIL for frame in view.film(CameraPath("", *poses), 80, 80)):
            return view
    return None


def _next_path(last: CameraPath | None, before: str, fps: int, rng: np.random.Generator) -> CameraPath | None:
    """Return a move with another label than `before` that stays near the centre, or None if none is found."""
    for _ in range(MAX_TRIES):
        label = LABELS[rng.integers(len(LABELS))]
        if label == before:
            continue
        path = random_path(label, np.arange(round(rng.uniform(*SECONDS) * fps)) / fps, rng)
        pose = np.stack([path.x, path.y, path.log_zoom, path.roll])
        if last is not None:
            pose = _continue_from(last, pose - pose[:, :1])
        if np.abs(pose[:2]).max() <= MAX_OFFSET and np.abs(pose[2]).max() <= MAX_LOG_ZOOM:
            return CameraPath(label, *pose)
    return None


def _continue_from(last: CameraPath, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pose (4, T), which begins at zero, continued from the end of `last` and in its orientation."""
    cos, sin = np.cos(last.roll[-1]), np.sin(last.roll[-1])
    across = np.array([[cos, -sin], [sin, cos]]) * np.exp(-last.log_zoom[-1])
    position = np.array([[last.x[-1]], [last.y[-1]]]) + across @ pose[:2]
    return np.vstack([position, last.log_zoom[-1] + pose[2], last.roll[-1] + pose[3]])
