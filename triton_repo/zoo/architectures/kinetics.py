"""X3D as published: trained on Kinetics-400, from a checkpoint of PyTorchVideo's model zoo."""

from pathlib import Path

import torch

from triton_repo.zoo.architectures.x3d import VARIANTS, load_checkpoint, x3d
from triton_repo.zoo.export.spec import ClipSpec, NetworkSpec

# Of PyTorchVideo's model zoo; the stride of a variant is counted in frames of a 30 fps video.
FPS = 30
MEAN, STD = 0.45, 0.225


def kinetics_x3d(variant: str, checkpoint: Path | None, labels: tuple[str, ...]) -> NetworkSpec:
    """X3D of one size in VARIANTS from a file like `X3D_M.pyth` (random weights without it).

    KeyError for an unknown size, RuntimeError naming the layers when the checkpoint is of another network.
    """
    network = x3d(variant, len(labels))
    if checkpoint:
        load_checkpoint(network, torch.load(checkpoint, map_location="cpu", weights_only=True))
    size = VARIANTS[variant]
    spec = ClipSpec("video", size.frames, size.stride, FPS, size.resize, size.crop)
    return NetworkSpec(network.eval(), variant, spec, labels, (MEAN,) * 3, (STD,) * 3)


__all__ = ["kinetics_x3d"]
