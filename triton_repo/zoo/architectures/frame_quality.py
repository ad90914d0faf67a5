"""The network behind `frame_quality`: a ResNet-18 of half the width that is shown fine detail beside the colours."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
from torchvision.models.resnet import BasicBlock, ResNet

from triton_repo.zoo.architectures.quality_labels import LABELS, SIZE, VIEW

MEAN, STD = 0.45, 0.225
WIDTH = 32
LEVEL = 1 / (255 * STD)  # one grey level of 255, after normalisation


class FrameQuality(ResNet):  # type: ignore[misc]
    """Logits (B, 8), in the order of LABELS, of normalised pictures (B, 3, H, W); torchvision's ResNet with
    channels of 32, 64, 128 and 256, two blocks each, and six channels in: the colours and their `details`.

    What tells the faults apart is a few grey levels from one pixel to the next, beside edges of a hundred.
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
        logits: Tensor = super().forward(torch.cat([x, details(x)], dim=1))
        return logits


def _mean(x: Tensor, size: int) -> Tensor:
    """Of the `size` x `size` pixels around each, at the border of those that there are."""
    return F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False)


def details(x: Tensor) -> Tensor:
    """(B, 3, H, W) colours to brightness less its surroundings, (B, 3, H, W), each value between about -2 and 2.

    Against the 3 x 3 pixels around each, against the 9 x 9, and the first as a part of the contrast nearby: a dark
    picture's detail counts as much as a bright one's. Large values are pressed together, so that faint ones show.
    """
    light = x.mean(dim=1, keepdim=True)
    near, wide = _mean(light, 3), _mean(light, 9)
    fine, coarse = light - near, near - wide
    contrast = (_mean((light - wide).square(), 17) + LEVEL**2).sqrt()
    pressed = fine / (fine.abs() + 4 * LEVEL), coarse / (coarse.abs() + 8 * LEVEL)
    return torch.cat([2 * pressed[0], 2 * pressed[1], 2 * fine / contrast], dim=1)


__all__ = ["LABELS", "MEAN", "SIZE", "STD", "VIEW", "FrameQuality", "details"]
