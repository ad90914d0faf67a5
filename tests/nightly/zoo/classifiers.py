"""Checkpoints in the published layouts of networks that know what they see: generated scenes, one a label.

Random networks say almost the same of every clip, and rounding decides which label is the best. These behave as trained
ones do, and take minutes, not weeks:

    calibrated   He's weights, normalisations with the statistics of clips, and every residual branch much weaker than
                 what it is added to: so it is in trained networks (De & Smith 2020, arXiv:2002.10444), whose branches
                 began at zero; at full strength a deep random network forgets its clip
    fitted       the last layer is the linear discriminant of clips of known label; its trust in the scatter of so few,
                 and its temperature, are those that give other clips the least cross-entropy

All of it in float32: nothing here is chosen by what bf16 makes of it. A clip of a label is its scene in a shaking hand,
nearer or farther, in light of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.checkpoints import published_file
from triton_repo.zoo.architectures.catalog import Published, published
from triton_repo.zoo.architectures.x3d import X3D, ResBlock
from triton_repo.zoo.spec import ClipSpec
from triton_repo.zoo.training.camera_motion.paths import random_path
from triton_repo.zoo.training.camera_motion.render import View
from triton_repo.zoo.training.camera_motion.scenes import Image, sharp_texture

LABELS = 50  # the first ones have scenes; the network never predicts the others
SCENES, CALIBRATED, FITTED, WEIGHED, HELD_OUT = range(5)  # first half of every seed: no clip is in two of them
CALIBRATING, VIEWS, BATCH = 32, 4, 4  # clips: to calibrate, of each label to fit, at a time
BRANCH = 0.3  # of all branches of a stage together, against what they are added to
UNKNOWN = -50.0  # logit
TRUST = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TEMPERATURES = np.geomspace(0.01, 100, 81)

PARTS = (0.5, 0.7)  # of a scene's side that is seen
APART = 0.04  # parts of its side that the camera looks beside its middle
LIGHT, TINT = 0.2, 0.04  # natural logarithm of the brightness, and of each colour's
NOISE = 4.0  # grey levels


class Clip(NamedTuple):
    """uint8 (1, T, H, W, 3) of a label."""

    label: int
    frames: NDArray[np.uint8]


@lru_cache(maxsize=LABELS)
def scene(label: int) -> Image:
    return sharp_texture(np.random.default_rng((SCENES, label)))


def filmed(label: int, spec: ClipSpec, rng: np.random.Generator) -> Clip:
    path = random_path("shake", np.arange(spec.frames) * spec.stride / spec.fps, rng)
    x, y = (float(place) for place in rng.uniform(0.5 - APART, 0.5 + APART, 2))
    view = View(scene(label), float(rng.uniform(*PARTS)), (x, y))
    light = np.exp(rng.uniform(-LIGHT, LIGHT) + rng.uniform(-TINT, TINT, 3)).astype(np.float32)
    frames = view.film(path, spec.crop, spec.crop) * light
    frames += rng.uniform(0, NOISE) * rng.standard_normal(frames.shape, np.float32)
    return Clip(label, frames.clip(0, 255).astype(np.uint8)[None])


def label_of(seed: int, number: int, labels: int = LABELS) -> int:
    """Return the label of a clip; labels are in random order, all equally often."""
    return int(np.random.default_rng(seed).permutation(labels)[number % labels])


def filmed_clip(seed: int, number: int, spec: ClipSpec, labels: int = LABELS) -> Clip:
    """Return a clip of a seed, independent of earlier clips."""
    return filmed(label_of(seed, number, labels), spec, np.random.default_rng((seed, number)))


def clips(seed: int, count: int, spec: ClipSpec, labels: int = LABELS) -> Iterator[Clip]:
    return (filmed_clip(seed, number, spec, labels) for number in range(count))


def normalised(batch: Iterable[Clip], known: Published) -> Tensor:
    """Return the network's input: float (B, 3, T, H, W), or (B, 3, H, W) of pictures."""
    frames = torch.from_numpy(np.concatenate([clip.frames for clip in batch]))
    frames = ((frames / 255 - torch.tensor(known.mean)) / torch.tensor(known.std)).permute(0, 4, 1, 2, 3)
    return frames[:, :, 0] if known.spec.kind == "image" else frames


def batches(some: Iterator[Clip]) -> Iterator[list[Clip]]:
    while batch := list(islice(some, BATCH)):
        yield batch


@torch.no_grad()
def calibrated(known: Published, spec: ClipSpec, labels: int) -> nn.Module:
    """Return the network in `eval`, its last layer still random."""
    torch.manual_seed(0)
    network = known.network(len(known.labels))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = None  # the average over all batches
        norms = [norm for block in module.children() if (norm := last_norm(block)) is not None]
        for norm in norms:
            nn.init.constant_(norm.weight, BRANCH / len(norms) ** 0.5)
    if isinstance(network, X3D):  # in pairs of opposite sign: one keeps what the other loses in its ReLU
        weight = network.blocks[-1].pool.post_conv.weight
        weight[len(weight) // 2 :] = -weight[: len(weight) // 2]
    network.train()
    for batch in batches(clips(CALIBRATED, CALIBRATING, spec, labels)):
        network(normalised(batch, known))
    return network.eval()


def last_norm(block: nn.Module) -> nn.Module | None:
    """Return the last normalisation of a residual block's branch; None for other modules."""
    if isinstance(block, ResBlock):
        return block.branch2.norm_c
    if hasattr(block, "downsample"):  # torchvision's
        return block.bn3 if hasattr(block, "bn3") else block.bn2
    return None


@torch.no_grad()
def looked_at(network: nn.Module, known: Published, some: Iterator[Clip]) -> tuple[Tensor, Tensor]:
    """Return the last layer's input, float64 (N, features), and the labels (N,)."""
    given: list[Tensor] = []
    labels: list[int] = []
    hook = last_layer(network).register_forward_pre_hook(lambda _, args: given.append(args[0]))
    for batch in batches(some):
        network(normalised(batch, known))
        labels += [clip.label for clip in batch]
    hook.remove()
    return torch.cat(given).double(), torch.tensor(labels)


def last_layer(network: nn.Module) -> nn.Linear:
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def discriminant(features: Tensor, labels: Tensor, trust: float) -> tuple[Tensor, Tensor]:
    """Weights (labels, features) and bias (labels,): logits of labels that all scatter alike around their means.

    The scatter is measured on few clips: `trust` times its mean is added to that of every feature.
    """
    count = int(labels.max()) + 1
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(count)])
    apart = features - means[labels]
    scatter = apart.T @ apart / (len(features) - count)
    scatter += trust * scatter.diagonal().mean() * torch.eye(len(scatter))
    centre = means.mean(dim=0)
    weights = torch.linalg.solve(scatter, (means - centre).T).T
    return weights, -(weights * (means + centre) / 2).sum(dim=1)


def fit(network: nn.Module, known: Published, spec: ClipSpec, labels: int) -> None:
    """Fit the last layer to the scenes."""
    features, right = looked_at(network, known, clips(FITTED, VIEWS * labels, spec, labels))
    others, truth = looked_at(network, known, clips(WEIGHED, labels, spec, labels))
    best = (float("inf"), torch.empty(0), torch.empty(0))
    for trust in TRUST:
        weights, bias = discriminant(features, right, trust)
        logits = others @ weights.T + bias
        for temperature in TEMPERATURES:
            loss = float(F.cross_entropy(logits / temperature, truth))
            if loss < best[0]:
                best = loss, weights / temperature, bias / temperature
    last = last_layer(network)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(UNKNOWN)
        last.weight[:labels], last.bias[:labels] = best[1].float(), best[2].float()


def classifier(folder: Path, name: str, spec: ClipSpec, labels: int = LABELS) -> Path:
    """Return the checkpoint of an X3D or ResNet that recognises the scenes of the first `labels` labels."""
    known = published(name)
    network = calibrated(known, spec, labels)
    fit(network, known, spec, labels)
    return published_file(folder, name, network)


__all__ = ["HELD_OUT", "LABELS", "Clip", "classifier", "clips", "filmed_clip", "label_of", "normalised"]
