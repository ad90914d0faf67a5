"""EfficientNet-Lite (Google, 2020): EfficientNet (arXiv:1905.11946) with ReLU6 and without squeeze-and-excitation.

    picture (B, 3, H, W)
      _conv_stem   3x3, stride 2
      _blocks      expansion -> depthwise convolution -> projection, with a shortcut where the shape stays
      _conv_head   1x1, then average pool and a linear layer  ->  logits (B, classes)

Shapes, normalisation and the crop come from models/official/efficientnet in github.com/tensorflow/tpu. The names in the
state dict are those of the PyTorch weights in the packages that weight_packages.py lists.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from triton_repo.zoo.architectures.x3d import round_to_8

STEM_WIDTH, HEAD_WIDTH = 32, 1280  # the same for all variants
NORM_EPS = 1e-3
MEAN, STD = 127 / 255, 128 / 255
CROP_FRACTION = 0.875  # share of the short side that the network sees


@dataclass(frozen=True)
class Variant:
    """Scaling of one published size; `size` is the side of its input in pixels."""

    width: float
    depth: float
    size: int

    @property
    def resize(self) -> int:
        """Return the short side in pixels of the picture that the input is cut from."""
        return self.size + round(self.size * (1 / CROP_FRACTION - 1))


VARIANTS = {
    "efficientnet_lite0": Variant(width=1.0, depth=1.0, size=224),
    "efficientnet_lite1": Variant(width=1.0, depth=1.1, size=240),
    "efficientnet_lite2": Variant(width=1.1, depth=1.2, size=260),
}

# Blocks, kernel size, stride of the first block, expansion, width
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """Convolution padded as TensorFlow does: an odd pixel of padding is at the bottom and right."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of `x` (B, C, H, W), of size ceil(H / stride), ceil(W / stride)."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[2:])
        if height or width:
            x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return super().forward(x)


class Block(nn.Module):
    """Expansion (unless the factor is 1), depthwise convolution and projection."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width_in * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(width_in, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, NORM_EPS)
        self._depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, NORM_EPS)
        self._project_conv = nn.Conv2d(inner, width_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(width_out, NORM_EPS)
        self._expands, self._has_shortcut = expansion > 1, stride == 1 and width_in == width_out

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, width_out, H', W')."""
        inner = F.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        out: Tensor = self._bn2(self._project_conv(inner))
        return out + x if self._has_shortcut else out


class EfficientNetLite(nn.Module):
    """Network from normalised pictures (B, 3, H, W) to logits (B, classes)."""

    def __init__(self, classes: int, variant: Variant) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, STEM_WIDTH, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM_WIDTH, NORM_EPS)
        blocks, width_in = [], STEM_WIDTH
        for index, (count, kernel, stride, expansion, width) in enumerate(STAGES):
            width_out = round_to_8(width * variant.width)
            is_fixed = index in (0, len(STAGES) - 1)  # the first and the last stage keep their depth
            for number in range(count if is_fixed else math.ceil(count * variant.depth)):
                blocks.append(Block(width_in, width_out, kernel, 1 if number else stride, expansion))
                width_in = width_out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(width_in, HEAD_WIDTH, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(HEAD_WIDTH, NORM_EPS)
        self._fc = nn.Linear(HEAD_WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) for normalised pictures (B, 3, H, W)."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean(dim=(2, 3)))
        return logits
