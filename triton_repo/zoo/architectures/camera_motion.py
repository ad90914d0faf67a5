"""The network behind `camera_motion`: an X3D of the XS width and depth that is shown brightness and its change."""

import torch
from torch import Tensor, nn

from triton_repo.zoo.architectures.x3d import X3D, DepthwiseConv
from triton_repo.zoo.training.camera_motion.paths import LABELS

FRAMES, STRIDE, FPS, SIZE = 8, 4, 30.0, 56
NOISE = 0.02  # about one grey level of 255 after normalisation: a flat or still clip is not blown up beyond it


class CameraMotion(X3D):
    """Logits (B, 10), in the order of LABELS, of a normalised clip (B, 3, T, H, W); weights and names are X3D's.

    Which way the picture moves is the sign of its slope in space times its slope in time. The three colours are
    therefore replaced by brightness, its change since the frame before, and that change against the contrast (which
    tells a slow movement from noise): so the first convolution sees both slopes in one place, whatever the light.
    From colours alone the same network told the kinds of movement apart and not their direction.
    """

    def __init__(self, dropout: float = 0.2, depthwise: DepthwiseConv = nn.Conv3d) -> None:
        super().__init__(len(LABELS), dropout=dropout, depthwise=depthwise)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(brightness_and_change(x))


def brightness_and_change(x: Tensor) -> Tensor:
    """(B, 3, T, H, W) colours to brightness, change, and change against contrast, each about as large as the next."""
    everything = (2, 3, 4)
    light = x.mean(dim=1, keepdim=True)
    light = light - light.mean(dim=everything, keepdim=True)
    change = light[:, :, 1:] - light[:, :, :-1]
    change = torch.cat([torch.zeros_like(change[:, :, :1]), change], dim=2)
    contrast = light.square().mean(dim=everything, keepdim=True).sqrt() + NOISE
    movement = change.square().mean(dim=everything, keepdim=True).sqrt() + NOISE
    return torch.cat([light / contrast, change / movement, 2 * change / contrast], dim=1)


__all__ = ["FPS", "FRAMES", "LABELS", "SIZE", "STRIDE", "CameraMotion"]
