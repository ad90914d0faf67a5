"""Camera paths with known labels: the camera's position and rotation at each moment of a clip.

A label names the camera's motion, so the picture moves the opposite way:

    pan_left   camera to the left      picture moves right
    tilt_up    camera upwards          picture moves down
    zoom_in    focal length grows      picture grows
    roll_cw    camera turns clockwise  picture turns counter-clockwise
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triton_repo.zoo.names import CAMERA_MOVEMENTS

LABELS = CAMERA_MOVEMENTS

# Slowest and fastest motion of each kind, per second. Below the slowest a person calls the camera static.
PAN_SPEED = (0.06, 0.60)  # short sides of the picture
TILT_SPEED = (0.06, 0.60)  # short sides of the picture
ZOOM_RATE = (0.10, 0.80)  # natural logarithm of the magnification
ROLL_SPEED = (8.0, 70.0)  # degrees
SHAKE_SIZE = (0.010, 0.050)  # short sides, root mean square
SHAKE_BAND = (2.0, 7.0)  # hertz
HAND_SIZE = 0.0015  # motion of a steady hand in every path, short sides, root mean square

_DIRECTIONS = {
    "pan_left": (-1, 0, 0, 0),
    "pan_right": (1, 0, 0, 0),
    "tilt_up": (0, -1, 0, 0),
    "tilt_down": (0, 1, 0, 0),
    "zoom_in": (0, 0, 1, 0),
    "zoom_out": (0, 0, -1, 0),
    "roll_cw": (0, 0, 0, 1),
    "roll_ccw": (0, 0, 0, -1),
}
_SPEEDS = (PAN_SPEED, TILT_SPEED, ZOOM_RATE, ROLL_SPEED)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _wobble(rng: np.random.Generator, times: NDArray[np.float64], band: tuple[float, float]) -> NDArray[np.float64]:
    """Return smooth noise (T,) with mean zero and root mean square one: six sines of random frequency within `band`."""
    pitch = rng.uniform(*band, size=(6, 1))
    phase = rng.uniform(0, 2 * np.pi, size=(6, 1))
    return np.asarray(np.sqrt(2 / 6) * np.sin(2 * np.pi * pitch * times + phase).sum(axis=0))


@dataclass(frozen=True)
class CameraPath:
    """Pose at each of T moments: x, y in short sides of the picture (y down), log magnification, clockwise roll."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    log_zoom: NDArray[np.float64]
    roll: NDArray[np.float64]

    def picture_to_scene(self, index: int, scale: float) -> NDArray[np.float64]:
        """Return the 2x3 matrix from centred picture coordinates to centred scene coordinates, both in pixels.

        `scale` is the number of scene pixels under one picture pixel at magnification 1.
        """
        size = scale * np.exp(-self.log_zoom[index])
        cos, sin = size * np.cos(self.roll[index]), size * np.sin(self.roll[index])
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])


def random_path(label: str, times: NDArray[np.float64], rng: np.random.Generator) -> CameraPath:
    """Return a path with this label at `times` (seconds, shape (T,)), around the pose zero.

    As with a real tripod or hand, the speed drifts by up to a third of itself, and the other directions get up to an
    eighth of the main one's share.

    Raises:
        ValueError: The label is unknown.
    """
    if label not in LABELS:
        raise ValueError(f"unknown label {label!r}")
    centred = times - times.mean()
    span = max(float(times[-1] - times[0]), 1e-6)
    travel = centred + rng.uniform(-0.33, 0.33) * (centred**2 - (centred**2).mean()) / span
    pose = np.zeros((4, len(times)))
    if label in _DIRECTIONS:
        main = np.array(_DIRECTIONS[label], dtype=float)
        fraction = rng.uniform()  # position between slowest and fastest, on a logarithmic scale
        # Scale each direction by its own range, so that side motions keep their visibility.
        speeds = np.array([low * (high / low) ** fraction for low, high in _SPEEDS])
        side = rng.uniform(-0.125, 0.125, size=4) * (main == 0) * (rng.random() < 0.6)
        pose = np.outer((main + side) * speeds, travel)
    elif label == "shake":
        size = _log_uniform(rng, SHAKE_SIZE)
        pose[0] = size * rng.uniform(0.4, 1) * _wobble(rng, times, SHAKE_BAND)
        pose[1] = size * rng.uniform(0.4, 1) * _wobble(rng, times, SHAKE_BAND)
        pose[3] = 40 * size * rng.uniform(0, 1) * _wobble(rng, times, SHAKE_BAND)
    hand = HAND_SIZE * rng.uniform(0, 1)
    pose[0] += hand * _wobble(rng, times, (0.5, 4.0))
    pose[1] += hand * _wobble(rng, times, (0.5, 4.0))
    return CameraPath(label, pose[0], pose[1], pose[2], np.radians(pose[3]))
