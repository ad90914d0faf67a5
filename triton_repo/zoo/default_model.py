"""The model that is served without anybody adding one: `camera_motion`, from the weights beside this file."""

from pathlib import Path

from safetensors.torch import load_file

from triton_repo.zoo.camera_motion import FPS, FRAMES, LABELS, SIZE, STRIDE, CameraMotion
from triton_repo.zoo.served import ClipSpec, Served

WEIGHTS = Path(__file__).parent / "weights" / "camera_motion.safetensors"
SPEC = ClipSpec(kind="video", frames=FRAMES, stride=STRIDE, fps=FPS, resize=SIZE, crop=SIZE)
MEAN, STD = 0.45, 0.225  # what the training script normalises by


def camera_motion(weights: Path = WEIGHTS) -> Served:
    """The trained network. FileNotFoundError without the weights, RuntimeError when they are of another."""
    if not weights.is_file():
        raise FileNotFoundError(f"the weights {weights} are missing")
    network = CameraMotion()
    network.load_state_dict(load_file(weights))
    return Served(network.eval(), "x3d_xs", SPEC, LABELS, (MEAN,) * 3, (STD,) * 3)


__all__ = ["SPEC", "WEIGHTS", "camera_motion"]
