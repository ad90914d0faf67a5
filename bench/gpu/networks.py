"""Networks for GPU measurements: of published sizes, with random weights whose scores differ between clips."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from triton_repo.zoo.architectures.x3d import VARIANTS, ResBlock, x3d
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, ServedNetwork, config_text

Clips = NDArray[np.uint8]
RESNET = "resnet50"
SIZES = ("x3d_s", "x3d_m", "x3d_l", RESNET)
SPREAD = 2.0  # standard deviation of the logits, so that mistakes change the scores
# Weight of a block's residual branch. With 1, random layers make all clips alike, and their differences are as small as
# bf16's rounding errors.
ADDED = 0.1
SAMPLES = 4


@dataclass(frozen=True)
class BenchModel:
    """One network: its program, test clips uint8 (SAMPLES, T, H, W, 3), and their scores in float32."""

    name: str
    served: NetworkSpec
    program: ExportedProgram
    clips: Clips
    right: NDArray[np.float32]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and the shortcut; the 3x3 has the stride (He et al. 2015, arXiv:1512.03385, as in torchvision)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(width_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        projected = stride > 1 or width_in != wide
        self.shortcut: nn.Module = (
            nn.Sequential(nn.Conv2d(width_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
            if projected
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (B, 4 * width, H', W')."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50(classes: int) -> nn.Module:
    """Return ResNet-50, (B, 3, H, W) -> logits (B, classes), without torchvision."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    width_in = 64
    for width, depth in zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True):
        for number in range(depth):
            layers.append(Bottleneck(width_in, width, 2 if number == 0 and width > 64 else 1))
            width_in = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width_in, classes))


def subject(name: str, device: str, small: bool) -> BenchModel:
    """Return the network called `name` in SIZES; `small` uses tiny clips, to test the steps and not the speed."""
    torch.manual_seed(0)
    if name == RESNET:
        network, spec, classes = resnet50(1000), ClipSpec("image", 1, 1, 30, 256, 224), 1000
    else:
        size, classes = VARIANTS[name], 400
        network = x3d(name, classes)
        spec = ClipSpec("video", size.frames, size.stride, 30, size.resize, size.crop)
    if small:
        spec = ClipSpec(spec.kind, min(spec.frames, 4), spec.stride, 30, 72, 64)
    served = NetworkSpec(network, name, spec, tuple(f"label {n}" for n in range(classes)), (0.45,) * 3, (0.225,) * 3)
    clips = random_clips(spec, SAMPLES, seed=1)
    fit_statistics(served, torch.from_numpy(clips), device)
    network_served = ServedNetwork(served).eval()
    batch = torch.from_numpy(clips)
    with torch.no_grad():
        expected = network_served(batch).numpy()
        program = torch.export.export(network_served, (batch[:2],), dynamic_shapes=({0: Dim("batch", min=1)},))
    return BenchModel(name, served, program, clips, expected)


def random_clips(spec: ClipSpec, count: int, seed: int) -> Clips:
    """Return uint8 (count, T, crop, crop, 3): coloured blocks of 8 pixels, in different brightness for each clip."""
    rng = np.random.default_rng(seed)
    blocks = -(-spec.crop // 8)
    coarse = rng.integers(0, 256, (count, spec.frames, blocks, blocks, 3), dtype=np.uint8)
    coarse = (coarse * np.linspace(0.3, 1, count)[:, None, None, None, None]).astype(np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, : spec.crop, : spec.crop].copy()


def fit_statistics(served: NetworkSpec, clips: Tensor, device: str) -> None:
    """Fit the normalisation statistics to the clips, and remove the logits' common part."""
    network = served.network.to(device)
    for norm in _ends(network):
        nn.init.constant_(norm.weight, ADDED)
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm3d | nn.BatchNorm2d)]
    normalised = (clips.to(device).float() / 255 - 0.45) / 0.225
    example = normalised[:, 0].permute(0, 3, 1, 2) if served.spec.kind == "image" else normalised.permute(0, 4, 1, 2, 3)
    network.train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
        network(example)
        network.eval()
        last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
        last.bias.zero_()
        logits = network(example)
        scale = SPREAD / (logits - logits.mean(dim=0)).std()
        last.weight.mul_(scale)
        last.bias.sub_(scale * logits.mean(dim=0))
    network.to("cpu")


def _ends(network: nn.Module) -> Iterator[nn.BatchNorm2d | nn.BatchNorm3d]:
    """Yield the last normalisation of every block with a shortcut."""
    for part in network.modules():
        if isinstance(part, ResBlock):
            yield part.branch2.norm_c
        elif isinstance(part, Bottleneck):
            last = part.body[-1]
            assert isinstance(last, nn.BatchNorm2d)
            yield last


def write_model(subject: BenchModel, models: Path, parameters: dict[str, str]) -> Path:
    """Write the model's folder for Triton and the GPU placement; `parameters` override those of the same name."""
    folder = models / subject.name
    (folder / "1").mkdir(parents=True)
    torch.export.save(subject.program, folder / "1" / "model.pt2")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in subject.served.labels))
    text = config_text(subject.name, subject.served)
    for name, value in parameters.items():
        before, key, after = text.partition(f'key: "{name}" value: {{ string_value: "')
        text = before + key + value + after[after.index('"') :]
    (folder / "config.pbtxt").write_text(text)
    return folder
