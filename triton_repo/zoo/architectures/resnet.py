"""ResNet-18, -50 and -101 from torchvision, with the preprocessing of their published weights."""

from pathlib import Path

import torch

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
from torchvision import models

from triton_repo.zoo.spec import ClipSpec, NetworkSpec

RESNETS = ("resnet18", "resnet50", "resnet101")


def published(name: str, checkpoint: Path | None) -> models.WeightsEnum:
    """Return the published weights in a checkpoint file, by its name; the newest if the name is unknown."""
    versions = models.get_model_weights(name)
    by_file = {Path(version.url).name: version for version in versions}
    return by_file.get(checkpoint.name, versions.DEFAULT) if checkpoint else versions.DEFAULT


def resnet(name: str, checkpoint: Path | None = None, labels: tuple[str, ...] | None = None) -> NetworkSpec:
    """Return the ResNet `name` with the weights of torchvision's file `checkpoint`, or with random weights.

    Args:
        name: One of RESNETS.
        checkpoint: Path of the weights.
        labels: Names of the classes; ImageNet's by default.

    Raises:
        ValueError: The name is unknown.
        RuntimeError: The checkpoint belongs to another network or number of classes; the message names the layers.
    """
    if name not in RESNETS:
        raise ValueError(f"unknown network {name!r}, expected one of {', '.join(RESNETS)}")
    weights = published(name, checkpoint)
    labels = labels or tuple(weights.meta["categories"])
    network = models.get_model(name, weights=None, num_classes=len(labels))
    if checkpoint:
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    preset = weights.transforms()
    (resize,), (crop,) = preset.resize_size, preset.crop_size
    spec = ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=resize, crop=crop)
    return NetworkSpec(network.eval(), name, spec, labels, tuple(preset.mean), tuple(preset.std))
