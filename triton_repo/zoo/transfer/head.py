"""Training of the last layer on features: seconds on two cores, the same result for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

BATCH, RATE = 256, 1e-3
MAX_EPOCHS, PATIENCE = 200, 20  # passes over the data in all, and without an improvement
PENALTIES = (0.01, 0.1, 1.0)  # of the squared weights; with few files a large one is best
LEAST_DEVIATION = 1e-3  # a feature that hardly varies is not enlarged
MAX_WEIGHT = 20.0  # of a rare label; a larger one would make single files count as much as whole labels

Array = NDArray[np.float32]
Pair = tuple[Tensor, Tensor]  # inputs and targets
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Examples:
    """Features float32 (N, width) with targets float32 (N, classes), 1 for each label."""

    features: Array
    targets: Array


@dataclass(frozen=True)
class Head:
    """A trained last layer for features as the backbone gives them.

    Attributes:
        weight: float32 (classes, width).
        bias: float32 (classes,).
        epochs: Number of passes over the data before the best validation loss.
    """

    weight: Tensor
    bias: Tensor
    epochs: int

    def logits(self, features: Array) -> Array:
        """Return logits float32 (N, classes) for features (N, width)."""
        result: Array = F.linear(torch.from_numpy(features), self.weight, self.bias).numpy()
        return result

    def divided(self, temperature: float) -> Head:
        """Return the layer whose logits are divided by the temperature."""
        return Head(self.weight / temperature, self.bias / temperature, self.epochs)


def train_head(
    train: Examples, validation: Examples, multi_label: bool, seed: int, advance: Callable[[], None]
) -> Head:
    """Train a linear layer with class weights, and return it as it was when it did best on `validation`.

    The features are standardised for the training; the layer that is returned takes them as they are. It is trained
    once for each of PENALTIES, and the one with the lowest validation loss is returned. The validation examples decide
    when to stop and which penalty is best. With `multi_label` there is a sigmoid for each label instead of one softmax.
    `advance` is called after each penalty.
    """
    mean = torch.from_numpy(train.features.mean(axis=0))
    scale = 1 / (torch.from_numpy(train.features.std(axis=0)) + LEAST_DEVIATION)
    x, y = (torch.from_numpy(train.features) - mean) * scale, torch.from_numpy(train.targets)
    held = (torch.from_numpy(validation.features) - mean) * scale, torch.from_numpy(validation.targets)
    loss = class_loss(y, multi_label)
    with _one_thread():
        fitted = []
        for penalty in PENALTIES:
            fitted.append(_fit((x, y), held, loss, penalty, seed))
            advance()
    best = min(fitted, key=lambda one: one.loss)
    weight = best.weight * scale
    return Head(weight, best.bias - weight @ mean, best.epochs)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread: for products as small as these, threads wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Fitted(NamedTuple):
    loss: float
    weight: Tensor
    bias: Tensor
    epochs: int


def _fit(train: Pair, held: Pair, loss: Loss, penalty: float, seed: int) -> _Fitted:
    """Return the layer at its lowest validation loss; training stops PATIENCE epochs later."""
    x, y = train
    layer = nn.Linear(x.shape[1], y.shape[1])
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimiser = torch.optim.Adam(layer.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(seed)
    best = _Fitted(float("inf"), layer.weight, layer.bias, 0)
    for epoch in range(1, MAX_EPOCHS + 1):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimiser.zero_grad(set_to_none=True)
            (loss(layer(x[batch]), y[batch]) + penalty / 2 * layer.weight.square().sum()).backward()
            optimiser.step()
        with torch.no_grad():
            held_loss = float(loss(layer(held[0]), held[1]))
        if held_loss < best.loss:
            best = _Fitted(held_loss, layer.weight.detach().clone(), layer.bias.detach().clone(), epoch)
        elif epoch - best.epochs >= PATIENCE:
            break
    return best


def class_loss(targets: Tensor, multi_label: bool) -> nn.Module:
    """Return the loss in which each label counts the same, however many examples it has."""
    positives = targets.sum(dim=0).clamp(min=1)
    if multi_label:
        weights = ((len(targets) - positives) / positives).clamp(max=MAX_WEIGHT)
        return nn.BCEWithLogitsLoss(pos_weight=weights)
    weights = (len(targets) / (targets.shape[1] * positives)).clamp(max=MAX_WEIGHT)
    return nn.CrossEntropyLoss(weight=weights)
