"""Network of `frame_quality`: a half-width ResNet-18 whose input is fine detail beside the colours."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
from torchvision.models.resnet import BasicBlock, ResNet

from triton_repo.zoo.architectures.quality_labels import LABELS

MEAN, STD = 0.45, 0.225
WIDTH = 32
LEVEL = 1 / (255 * STD)  # one grey level of 255, after normalisation


class FrameQuality(ResNet):  # type: ignore[misc]
    """ResNet-18 that returns logits (B, 8), in the order of LABELS, for normalised pictures (B, 3, H, W).

    It is torchvision's ResNet with 32, 64, 128 and 256 channels, two blocks each. Its six input channels are the
    colours and their `details`: faults differ by a few grey levels between pixels, beside edges of a hundred.
    """

    def __init__(self) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=len(LABELS))
        self.inplanes = WIDTH
        self.conv1 = nn.Conv2d(6, WIDTH, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        self.layer1 = self._make_layer(BasicBlock, WIDTH, 2)
        self.layer2 = self._make_layer(BasicBlock, 2 * WIDTH, 2, stride=2)
        self.layer3 = self._make_layer(BasicBlock, 4 * WIDTH, 2, stride=2)
        self.layer4 = self._make_layer(BasicBlock, 8 * WIDTH, 2, stride=2)
        self.fc = nn.Linear(8 * WIDTH, len(LABELS))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 8) for normalised pictures (B, 3, H, W)."""
        logits: Tensor = super().forward(torch.cat([x, details(x)], dim=1))
        return logits


def _mean(x: Tensor, size: int) -> Tensor:
    """Return the mean of the `size` x `size` pixels around each pixel, without padding at the border."""
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False)


def details(x: Tensor) -> Tensor:
    """Return brightness relative to its surroundings, (B, 3, H, W), each value between about -2 and 2.

    The three planes are: brightness less the mean of 3 x 3 pixels, that mean less the mean of 9 x 9, and the first
    plane relative to the local contrast, so that detail in dark pictures counts as much as in bright ones. Large values
    are compressed so that faint ones stay visible.
    """
    light = x.mean(dim=1, keepdim=True)
    near, wide = _mean(light, 3), _mean(light, 9)
    fine, coarse = light - near, near - wide
    contrast = (_mean((light - wide).square(), 17) + LEVEL**2).sqrt()
    compressed = fine / (fine.abs() + 4 * LEVEL), coarse / (coarse.abs() + 8 * LEVEL)
    return torch.cat([2 * compressed[0], 2 * compressed[1], 2 * fine / contrast], dim=1)
