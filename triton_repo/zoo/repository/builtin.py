"""The models that are served without anybody adding one, from the weights beside this file."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from triton_repo.zoo.architectures import camera_motion as motion
from triton_repo.zoo.architectures import quality_labels as quality
from triton_repo.zoo.export.spec import ClipSpec, NetworkSpec

WEIGHTS = Path(__file__).parents[1] / "weights" / "camera_motion.safetensors"
QUALITY_WEIGHTS = Path(__file__).parents[1] / "weights" / "frame_quality.safetensors"
SPEC = ClipSpec(
    kind="video", frames=motion.FRAMES, stride=motion.STRIDE, fps=motion.FPS, resize=motion.SIZE, crop=motion.SIZE
)
QUALITY_SPEC = ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=quality.VIEW, crop=quality.SIZE)
MEAN, STD = 0.45, 0.225  # what the training scripts normalise by


def camera_motion(weights: Path = WEIGHTS) -> NetworkSpec:
    """The trained network. FileNotFoundError without the weights, RuntimeError when they are of another."""
    network = _loaded(motion.CameraMotion(), weights)
    return NetworkSpec(network, "x3d_xs", SPEC, motion.LABELS, (MEAN,) * 3, (STD,) * 3)


def frame_quality(weights: Path = QUALITY_WEIGHTS) -> NetworkSpec:
    """The trained network. FileNotFoundError without the weights, RuntimeError when they are of another."""
    # torchvision takes a second to import, and camera_motion does without it.
    from triton_repo.zoo.architectures.frame_quality import FrameQuality

    network = _loaded(FrameQuality(), weights)
    return NetworkSpec(network, "resnet18_half", QUALITY_SPEC, quality.LABELS, (MEAN,) * 3, (STD,) * 3)


def _loaded(network: nn.Module, weights: Path) -> nn.Module:
    if not weights.is_file():
        raise FileNotFoundError(f"the weights {weights} are missing")
    network.load_state_dict(load_file(weights))
    return network.eval()


# By their names, as BUILT_IN of names.py lists them.
DEFAULTS: dict[str, Callable[..., NetworkSpec]] = {"camera_motion": camera_motion, "frame_quality": frame_quality}

__all__ = ["DEFAULTS", "QUALITY_SPEC", "QUALITY_WEIGHTS", "SPEC", "WEIGHTS", "camera_motion", "frame_quality"]
