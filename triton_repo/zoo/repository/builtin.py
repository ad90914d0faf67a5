"""Built-in models, made from the weights in `triton_repo/zoo/weights`."""

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
MEAN, STD = 0.45, 0.225  # normalisation of the training scripts


def camera_motion(weights: Path = WEIGHTS) -> NetworkSpec:
    """Return the trained network.

    Raises:
        FileNotFoundError: The weights are missing.
        RuntimeError: The weights belong to another network.
    """
    network = _loaded(motion.CameraMotion(), weights)
    return NetworkSpec(network, "x3d_xs", SPEC, motion.LABELS, (MEAN,) * 3, (STD,) * 3)


def frame_quality(weights: Path = QUALITY_WEIGHTS) -> NetworkSpec:
    """Return the trained network.

    Raises:
        FileNotFoundError: The weights are missing.
        RuntimeError: The weights belong to another network.
    """
    # Only frame_quality needs torchvision, which takes a second to import.
    from triton_repo.zoo.architectures.frame_quality import FrameQuality

    network = _loaded(FrameQuality(), weights)
    return NetworkSpec(network, "resnet18_half", QUALITY_SPEC, quality.LABELS, (MEAN,) * 3, (STD,) * 3)


def _loaded(network: nn.Module, weights: Path) -> nn.Module:
    if not weights.is_file():
        raise FileNotFoundError(f"the weights {weights} are missing")
    network.load_state_dict(load_file(weights))
    return network.eval()


# The names must equal BUILT_IN in names.py.
DEFAULTS: dict[str, Callable[..., NetworkSpec]] = {"camera_motion": camera_motion, "frame_quality": frame_quality}

__all__ = ["DEFAULTS", "QUALITY_SPEC", "QUALITY_WEIGHTS", "SPEC", "WEIGHTS", "camera_motion", "frame_quality"]
