"""Networks with a replaced last layer, trained on the labels of the user's examples.

NAME           the network NAME with another last layer
NAME_frames    a network for pictures, made into one for films: mean and standard deviation of its features over
               the frames, then a linear layer
"""

import copy

import torch
from torch import Tensor, nn

from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.x3d import X3D
from triton_repo.zoo.names import PUBLISHED

FRAMES_SUFFIX = "_frames"
LEAST_VARIANCE = 1e-6  # of a feature over the frames; the slope of a square root is infinite at 0


class FrameStatistics(nn.Module):
    """Network from a normalised clip (B, 3, T, H, W) to logits (B, classes).

    `backbone` takes normalised pictures (B, 3, H, W) and returns features (B, width).
    """

    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) for a normalised clip (B, 3, T, H, W)."""
        frames = x.shape[2]
        features = self.backbone(x.transpose(1, 2).flatten(0, 1)).reshape(-1, frames, self.width)
        mean = features.mean(dim=1)
        variance = (features - mean[:, None]).square().mean(dim=1)
        logits: Tensor = self.head(torch.cat([mean, (variance + LEAST_VARIANCE).sqrt()], dim=1))
        return logits


def trained_network(architecture: str, classes: int) -> nn.Module:
    """Return the network of a trained model, with random weights.

    Raises:
        ModelError: The architecture is unknown.
    """
    if architecture in PUBLISHED:
        return published(architecture).network(classes)
    name = architecture.removesuffix(FRAMES_SUFFIX)
    network = _backbone(name)
    if name != architecture:
        return frame_statistics(network, classes)
    width = last_layer(network).in_features
    replace_last_layer(network, nn.Linear(width, classes))
    return network.eval()


def frame_statistics(network: nn.Module, classes: int) -> FrameStatistics:
    """Return the network for films that is made of a copy of a network for pictures; its last layer is random."""
    backbone = copy.deepcopy(network)
    width = last_layer(backbone).in_features
    replace_last_layer(backbone, nn.Identity())
    return FrameStatistics(backbone, width, classes).eval()


def last_layer(network: nn.Module) -> nn.Linear:
    """Return the linear layer that gives the logits."""
    layer = network.get_submodule(last_layer_name(network))
    assert isinstance(layer, nn.Linear)
    return layer


def replace_last_layer(network: nn.Module, layer: nn.Module) -> None:
    """Put `layer` in the place of the linear layer that gives the logits."""
    parent, _, name = last_layer_name(network).rpartition(".")
    setattr(network.get_submodule(parent), name, layer)


def last_layer_name(network: nn.Module) -> str:
    """Return the dotted name of the linear layer that gives the logits."""
    if isinstance(network, X3D):
        return f"blocks.{len(network.blocks) - 1}.proj"
    if isinstance(network, FrameStatistics):
        return "head"
    return "_fc" if hasattr(network, "_fc") else "fc"  # EfficientNet-Lite; ResNet


def _backbone(name: str) -> nn.Module:
    if name == "camera_motion":
        from triton_repo.zoo.architectures.camera_motion import CameraMotion

        return CameraMotion()
    if name == "frame_quality":
        from triton_repo.zoo.architectures.frame_quality import FrameQuality

        return FrameQuality()
    return published(name).network(1)
