"""A small ONNX model of independent labels, and films and pictures of which the right labels are known."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.support.films import Frame, write_video

LABELS = ("red", "green", "blue")
FRAMES, SIZE, STRIDE, FPS = 4, 16, 5, 30  # a clip of half a second
STEEPNESS = 20.0
WIDTH, HEIGHT, RATE = 96, 64, 30
DARK, BRIGHT = 20, 235
Intervals = Mapping[str, tuple[float, float]]  # of each label: start and end in seconds


def colour_model(path: Path, frames: int = FRAMES) -> Path:
    """Write a model whose logit of each colour is its mean brightness above one half, times STEEPNESS."""
    shape, axes = ([1, 3, frames, SIZE, SIZE], [2, 3, 4]) if frames > 1 else ([1, 3, SIZE, SIZE], [2, 3])
    gain, offset = np.full(3, STEEPNESS, np.float32), np.full(3, -STEEPNESS / 2, np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=axes, keepdims=0),
            helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["y"]),
        ],
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(gain, "gain"), numpy_helper.from_array(offset, "offset")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def colour_labels(path: Path) -> Path:
    """Write the labels of the model."""
    path.write_text("".join(f"{label}\n" for label in LABELS))
    return path


def add_arguments(folder: Path, frames: int = FRAMES) -> list[str]:
    """Return the arguments of `clipstack-models add NAME` for the model, made in `folder`."""
    file = colour_model(folder / f"colours-{frames}.onnx", frames)
    labels = colour_labels(folder / "labels.txt")
    clip = ["--frames", frames, "--size", SIZE, "--stride", STRIDE, "--fps", FPS]
    return [str(word) for word in ("--onnx", file, "--labels", labels, "--scores", "sigmoid", *clip)]


def colour_film(path: Path, intervals: Intervals, seconds: float, fade_s: float = 0.0) -> Path:
    """Write a film in which each colour is bright in its interval; it fades in and out around the two ends."""
    times = np.arange(round(seconds * RATE)) / RATE
    levels = np.stack([_level(times, intervals.get(label), fade_s) for label in LABELS], axis=1)
    return write_video(path, (colour_frame(tuple(level)) for level in levels), RATE)


def colour_picture(*labels: str) -> bytes:
    """Return a PNG in which exactly these labels are right."""
    file = io.BytesIO()
    Image.fromarray(colour_frame(tuple(float(label in labels) for label in LABELS))).save(file, "PNG")
    return file.getvalue()


def colour_frame(levels: tuple[float, ...]) -> Frame:
    """Return a frame of one colour; levels from 0 (dark) to 1 (bright) of red, green and blue."""
    return np.broadcast_to(DARK + np.array(levels) * (BRIGHT - DARK), (HEIGHT, WIDTH, 3)).round().astype(np.uint8)


def _level(times: np.ndarray, interval: tuple[float, float] | None, fade_s: float) -> np.ndarray:
    if interval is None:
        return np.zeros_like(times)
    start, end = interval
    if not fade_s:
        return ((times >= start) & (times < end)).astype(np.float64)
    edges = [start - fade_s / 2, start + fade_s / 2, end - fade_s / 2, end + fade_s / 2]
    return np.interp(times, edges, [0, 1, 1, 0])


__all__ = ["LABELS", "add_arguments", "colour_film", "colour_labels", "colour_model", "colour_picture"]
