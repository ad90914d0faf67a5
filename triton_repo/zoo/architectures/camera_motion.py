"""Network of `camera_motion`: an X3D-XS whose input is brightness and its change over time."""

import torch
from torch import Tensor, nn

from triton_repo.zoo.architectures.x3d import X3D, DepthwiseConv
from triton_repo.zoo.names import CAMERA_MOVEMENTS

FRAMES, STRIDE, FPS, SIZE = 8, 4, 30.0, 56
NOISE = 0.02  # about one grey level of 255 after normalisation; limits the amplification of flat or still clips


class CameraMotion(X3D):
    """X3D that returns logits (B, 10), in the order of CAMERA_MOVEMENTS, for a normalised clip (B, 3, T, H, W).

    The direction of the motion is the sign of the slope in space times the slope in time. Three planes therefore
    replace the colours: brightness, its change since the previous frame, and that change relative to the contrast,
    which separates slow motion from noise. The first convolution then sees both slopes in one place, in any light. With
    colours as input, the same network learned the kinds of motion but not their direction.
    """

    def __init__(self, dropout: float = 0.2, depthwise: DepthwiseConv = nn.Conv3d) -> None:
        super().__init__(len(CAMERA_MOVEMENTS), dropout=dropout, depthwise=depthwise)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 10) for a normalised clip (B, 3, T, H, W)."""
        return super().forward(brightness_and_change(x))


def brightness_and_change(x: Tensor) -> Tensor:
    """Return brightness, change, and change relative to contrast, each (B, 1, T, H, W), for colours (B, 3, T, H, W).

    The three planes are scaled to about the same size and concatenated.
    """
    axes = (2, 3, 4)
    light = x.mean(dim=1, keepdim=True)
    light = light - light.mean(dim=axes, keepdim=True)
    change = light[:, :, 1:] - light[:, :, :-1]
    change = torch.cat([torch.zeros_like(change[:, :, :1]), change], dim=2)
    contrast = light.square().mean(dim=axes, keepdim=True).sqrt() + NOISE
    movement = change.square().mean(dim=axes, keepdim=True).sqrt() + NOISE
    return torch.cat([light / contrast, change / movement, 2 * change / contrast], dim=1)
