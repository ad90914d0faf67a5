"""Networks with random weights whose logits differ widely, so that mistakes show."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.x3d import x3d
from triton_repo.zoo.export.openvino import write_model
from triton_repo.zoo.repository import engine_config
from triton_repo.zoo.spec import ClipSpec, NetworkSpec

torch.set_num_threads(1)  # on networks this small, threads wait for each other longer than they work
SPREAD = 2.0  # standard deviation of the logits


def spread_out(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """Return the network in `eval`, with statistics in its normalisations and logits scaled to SPREAD."""
    torch.manual_seed(1)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d | nn.BatchNorm2d)]
    network.train()
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None  # the average over all batches, here of one
            norm.reset_running_stats()
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
        network(example)
        network.eval()
        last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
        last.weight *= SPREAD / network(example).std()
    return network


def centred_logits(network: nn.Module, example: torch.Tensor) -> nn.Module:
    """Remove the mean logits over `example`; deep random networks give almost only the mean."""
    last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.zero_()
        logits = network(example)
        scale = SPREAD / (logits - logits.mean(dim=0)).std()
        last.weight *= scale
        last.bias -= scale * logits.mean(dim=0)
    return network


def served_video() -> NetworkSpec:
    """Return a small X3D-XS: 4 frames of 48 x 48 pixels out of 60, every second one of a 30 fps video."""
    torch.manual_seed(0)
    network = spread_out(x3d("x3d_xs", 5), torch.randn(2, 3, 4, 48, 48))
    spec = ClipSpec(kind="video", frames=4, stride=2, fps=30, resize=60, crop=48)
    return NetworkSpec(network, "x3d_xs", spec, ("a", "b", "c", "d", "e"), (0.45,) * 3, (0.225,) * 3)


def served_picture() -> NetworkSpec:
    """Return a ResNet-18 for pictures of 64 x 64 pixels out of 72."""
    torch.manual_seed(0)
    labels = ("ant", "bee", "cow", "dog", "elk", "fox")
    real = published("resnet18")
    network = spread_out(real.network(len(labels)), torch.randn(2, 3, 64, 64))
    spec = ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=72, crop=64)
    return NetworkSpec(network, "resnet18", spec, labels, real.mean, real.std)


def tiny_picture() -> NetworkSpec:
    """Return two convolutions for pictures of 32 x 32 pixels out of 36, under the name of a published network."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        network[-1].weight.mul_(20)
    spec = ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=36, crop=32)
    return NetworkSpec(network, "resnet18", spec, ("ant", "bee", "cow"), (0.45,) * 3, (0.225,) * 3)


def write_f32_model(served: NetworkSpec, name: str, models: Path) -> Path:
    """Write a model that is served in f32, so that its scores equal torch's, and return its folder."""
    folder = write_model(served, name, models)
    select_f32(folder)
    return folder


def select_f32(folder: Path) -> None:
    """Set the model in this folder to OpenVINO in f32."""
    config = folder / "config.pbtxt"
    engine_config.write(config, engine_config.with_engine(config.read_text(), "openvino", "f32"))


__all__ = ["select_f32", "served_picture", "served_video", "spread_out", "centred_logits", "write_f32_model"]
