"""X3D trained on Kinetics-400, from a checkpoint of PyTorchVideo's model zoo."""

from pathlib import Path

import torch

from triton_repo.zoo.architectures.x3d import VARIANTS, load_checkpoint, x3d
from triton_repo.zoo.spec import ClipSpec, NetworkSpec

# Source: PyTorchVideo's model zoo; strides count frames of a 30 fps video.
FPS = 30
MEAN, STD = 0.45, 0.225


def kinetics_x3d(variant: str, checkpoint: Path | None, labels: tuple[str, ...]) -> NetworkSpec:
    """Return the X3D variant with the weights of a file like `X3D_M.pyth`, or with random weights.

    Raises:
        KeyError: The variant is unknown.
        RuntimeError: The checkpoint belongs to another network; the message names the layers.
    """
    network = x3d(variant, len(labels))
    if checkpoint:
        load_checkpoint(network, torch.load(checkpoint, map_location="cpu", weights_only=True))
    size = VARIANTS[variant]
    spec = ClipSpec("video", size.frames, size.stride, FPS, size.resize, size.crop)
    return NetworkSpec(network.eval(), variant, spec, labels, (MEAN,) * 3, (STD,) * 3)
