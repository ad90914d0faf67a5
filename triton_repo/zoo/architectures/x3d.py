"""X3D (Feichtenhofer 2020, arXiv:2004.04730), with the state-dict names of the public PyTorchVideo checkpoints.

    clip (B, 3, T, H, W)
      blocks.0     stem: 1x3x3 then depthwise 5x1x1
      blocks.1-4   residual stages: 1x1x1 -> depthwise 3x3x3 (+ squeeze-and-excitation) -> 1x1x1
      blocks.5     head: 1x1x1, average pool, 1x1x1, linear  ->  logits (B, classes)

Widths, depths and ratios come from table 1 and section 3 of the paper and from the released checkpoints.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

STEM_WIDTH = 24
STAGE_WIDTHS = (24, 48, 96, 192)
STAGE_DEPTHS = (1, 2, 5, 3)
BOTTLENECK = 2.25
SE_RATIO = 0.0625
HEAD_WIDTH = 2048

DepthwiseConv = Callable[..., nn.Conv3d]


@dataclass(frozen=True)
class Variant:
    """One published size: the clip it was trained on, and its depth."""

    frames: int
    stride: int
    resize: int
    crop: int
    depth_factor: float


VARIANTS = {
    "x3d_xs": Variant(frames=4, stride=12, resize=182, crop=182, depth_factor=2.2),
    "x3d_s": Variant(frames=13, stride=6, resize=182, crop=182, depth_factor=2.2),
    "x3d_m": Variant(frames=16, stride=5, resize=256, crop=256, depth_factor=2.2),
    "x3d_l": Variant(frames=16, stride=5, resize=356, crop=356, depth_factor=5.0),
}


def round_to_8(width: float) -> int:
    """Return the nearest multiple of 8, at least 8 and never more than a tenth below `width`."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class SqueezeExcitation(nn.Module):
    """Scaling of each channel by a gate computed from its average over time and space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = round_to_8(channels * SE_RATIO)
        self.block = nn.Sequential(
            nn.Conv3d(channels, hidden, 1), nn.ReLU(), nn.Conv3d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, C, T, H, W) with each channel scaled by its gate."""
        gate: Tensor = self.block(x.mean(dim=(2, 3, 4), keepdim=True))
        return x * gate


class Bottleneck(nn.Module):
    """Expansion, depthwise convolution and projection."""

    def __init__(
        self, width_in: int, inner: int, width_out: int, stride: int, excite: bool, depthwise: DepthwiseConv
    ) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(width_in, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.act_a = nn.ReLU()
        self.conv_b = depthwise(inner, inner, 3, stride=(1, stride, stride), padding=1, groups=inner, bias=False)
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), SqueezeExcitation(inner) if excite else nn.Identity())
        self.act_b = nn.SiLU()
        self.conv_c = nn.Conv3d(inner, width_out, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(width_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected features (B, width_out, T, H', W')."""
        x = self.act_a(self.norm_a(self.conv_a(x)))
        x = self.act_b(self.norm_b(self.conv_b(x)))
        projected: Tensor = self.norm_c(self.conv_c(x))
        return projected


class ResBlock(nn.Module):
    """Bottleneck plus shortcut; the shortcut is a convolution where the shape changes."""

    def __init__(self, width_in: int, width_out: int, stride: int, excite: bool, depthwise: DepthwiseConv) -> None:
        super().__init__()
        self.branch1_conv = (
            nn.Conv3d(width_in, width_out, 1, stride=(1, stride, stride), bias=False)
            if stride > 1 or width_in != width_out
            else None
        )
        # The released networks normalise the shortcut only where the width changes, so not in the first stage.
        self.branch1_norm = nn.BatchNorm3d(width_out) if width_in != width_out else None
        self.branch2 = Bottleneck(width_in, int(BOTTLENECK * width_out), width_out, stride, excite, depthwise)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, width_out, T, H', W')."""
        shortcut = x if self.branch1_conv is None else self.branch1_conv(x)
        if self.branch1_norm is not None:
            shortcut = self.branch1_norm(shortcut)
        out: Tensor = self.activation(shortcut + self.branch2(x))
        return out


class ResStage(nn.Module):
    """`depth` residual blocks; the first halves height and width, and every other one has squeeze-and-excitation."""

    def __init__(self, width_in: int, width_out: int, depth: int, depthwise: DepthwiseConv) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResBlock(
                width_in if i == 0 else width_out,
                width_out,
                stride=2 if i == 0 else 1,
                excite=i % 2 == 0,
                depthwise=depthwise,
            )
            for i in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, width_out, T, H/2, W/2)."""
        for block in self.res_blocks:
            x = block(x)
        return x


class StemConv(nn.Module):
    """Spatial convolution, then a depthwise one over time; the checkpoints call the spatial one `conv_t`."""

    def __init__(self, depthwise: DepthwiseConv) -> None:
        super().__init__()
        self.conv_t = nn.Conv3d(3, STEM_WIDTH, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
        self.conv_xy = depthwise(STEM_WIDTH, STEM_WIDTH, (5, 1, 1), padding=(2, 0, 0), groups=STEM_WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, STEM_WIDTH, T, H/2, W/2)."""
        out: Tensor = self.conv_xy(self.conv_t(x))
        return out


class Stem(nn.Module):
    """First block: StemConv, batch normalisation and ReLU."""

    def __init__(self, depthwise: DepthwiseConv) -> None:
        super().__init__()
        self.conv = StemConv(depthwise)
        self.norm = nn.BatchNorm3d(STEM_WIDTH)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, STEM_WIDTH, T, H/2, W/2)."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out


class ProjectedPool(nn.Module):
    """1x1x1, average over time and space, 1x1x1: (B, width_in, T, H, W) -> (B, HEAD_WIDTH)."""

    def __init__(self, width_in: int, inner: int) -> None:
        super().__init__()
        self.pre_conv = nn.Conv3d(width_in, inner, 1, bias=False)
        self.pre_norm = nn.BatchNorm3d(inner)
        self.pre_act = nn.ReLU()
        self.post_conv = nn.Conv3d(inner, HEAD_WIDTH, 1, bias=False)
        self.post_act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features (B, HEAD_WIDTH)."""
        x = self.pre_act(self.pre_norm(self.pre_conv(x)))
        x = self.post_act(self.post_conv(x.mean(dim=(2, 3, 4), keepdim=True)))
        return x.flatten(1)


class Head(nn.Module):
    """Last block: ProjectedPool, dropout and a linear layer."""

    def __init__(self, width_in: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.pool = ProjectedPool(width_in, int(BOTTLENECK * width_in))
        self.dropout = nn.Dropout(dropout)
        self.proj = nn.Linear(HEAD_WIDTH, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.proj(self.dropout(self.pool(x)))
        return logits


class X3D(nn.Module):
    """Network from a normalised float clip (B, 3, T, H, W) to float logits (B, classes).

    T is at least 1, H and W are at least 32. `depthwise` makes the depthwise convolutions: any class with the
    constructor and weights of `nn.Conv3d`.
    """

    def __init__(
        self,
        classes: int,
        depth_factor: float = 2.2,
        dropout: float = 0.5,
        depthwise: DepthwiseConv = nn.Conv3d,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = [Stem(depthwise)]
        width_in = STEM_WIDTH
        for width, depth in zip(STAGE_WIDTHS, STAGE_DEPTHS, strict=True):
            blocks.append(ResStage(width_in, width, math.ceil(depth * depth_factor), depthwise))
            width_in = width
        blocks.append(Head(width_in, classes, dropout))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) for a normalised clip (B, 3, T, H, W)."""
        for block in self.blocks:
            x = block(x)
        return x


def x3d(variant: str, classes: int) -> X3D:
    """Return the network of a published size with random weights; raise KeyError for an unknown size."""
    return X3D(classes, VARIANTS[variant].depth_factor)
