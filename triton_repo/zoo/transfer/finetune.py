"""Fine-tuning: the last blocks of a backbone are trained on the examples, and give better features of them."""

import asyncio
import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.errors import ClipstackError
from app.settings import Settings
from triton_repo.zoo import ModelError
from triton_repo.zoo.calibration import fit_temperature
from triton_repo.zoo.spec import ServedNetwork
from triton_repo.zoo.transfer.backbones import Backbone
from triton_repo.zoo.transfer.decode import Clips, clip_decoder
from triton_repo.zoo.transfer.examples import Example
from triton_repo.zoo.transfer.head import Head, class_loss

BATCH_CLIPS, BATCH_FRAMES = 16, 64  # at most, in one batch
RATE = 1e-4
TRAINED_SHARE = 0.5  # of the backbone's layers with weights, the last ones
MAX_BYTES = 4 << 30  # of the decoded clips, which stay in memory

Start = Callable[[str, int], Callable[[], None]]


@dataclass(frozen=True)
class Side:
    """Examples with their targets float32 (examples, classes), 1 for each label."""

    examples: Sequence[Example]
    targets: NDArray[np.float32]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned backbone, with the validation loss before and after; `epochs` is 0 if no epoch was better."""

    backbone: Backbone
    before: float
    after: float
    epochs: int


def finetune(
    backbone: Backbone,
    head: Head,
    train: Side,
    validation: Side,
    *,
    clips: int,
    epochs: int,
    multi_label: bool,
    seed: int,
    settings: Settings,
    start: Start,
) -> FineTuned:
    """Train the last blocks of the backbone together with a last layer, and return the backbone at its best epoch.

    The statistics of batch normalisation stay as they are, because a few hundred files would make worse ones. `head` is
    a last layer for the backbone's features to begin with. The epoch with the lowest loss on `validation` is kept.
    `start` starts a task of so many steps, and returns what is called after each.

    Raises:
        ModelError: The decoded clips do not fit into MAX_BYTES, or no file can be decoded any more.
    """
    _check_size(backbone, clips, len(train.examples) + len(validation.examples))
    advance = start("decoding", len(train.examples) + len(validation.examples))
    inputs, targets = asyncio.run(_decode(backbone, train, clips, settings, advance))
    held_inputs, held_targets = asyncio.run(_decode(backbone, validation, clips, settings, advance))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = _with_head(backbone, head).to(device)
    served = ServedNetwork(replace(backbone.served, network=network)).eval().to(device)
    loss = class_loss(targets, multi_label).to(device)
    optimiser = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], RATE)
    size = min(BATCH_CLIPS, max(1, BATCH_FRAMES // backbone.served.spec.frames))
    before = best = _calibrated_loss(served, loss, held_inputs, held_targets, size, device)
    kept, kept_epochs = copy.deepcopy(network.state_dict()), 0
    generator = torch.Generator().manual_seed(seed)
    advance = start("fine-tuning", epochs)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(inputs), generator=generator).split(size):
            optimiser.zero_grad(set_to_none=True)
            loss(served.logits(inputs[batch].to(device)), targets[batch].to(device)).backward()
            optimiser.step()
        held = _calibrated_loss(served, loss, held_inputs, held_targets, size, device)
        if held < best:
            best, kept, kept_epochs = held, copy.deepcopy(network.state_dict()), epoch
        advance()
    if not kept_epochs:
        return FineTuned(backbone, before, best, 0)
    network.load_state_dict(kept)
    tuned = replace(backbone.served, network=network.cpu().eval().requires_grad_(False))
    digest = hashlib.sha256(
        b"".join(t.contiguous().numpy().tobytes() for t in network.state_dict().values())
    ).hexdigest()
    return FineTuned(Backbone(backbone.name, tuned, digest), before, best, kept_epochs)


def _check_size(backbone: Backbone, clips: int, examples: int) -> None:
    spec = backbone.served.spec
    per_example = (1 if spec.kind == "image" else clips) * spec.frames * spec.crop**2 * 3
    if per_example * examples > MAX_BYTES:
        raise ModelError(
            f"fine-tuning keeps all clips in memory, and these take {per_example * examples / (1 << 30):.1f} GiB of "
            f"{MAX_BYTES >> 30}: use fewer files or a smaller --clips, or leave out --finetune."
        )


async def _decode(
    backbone: Backbone, side: Side, clips: int, settings: Settings, advance: Callable[[], None]
) -> tuple[Tensor, Tensor]:
    """Return the clips uint8 (N, frames, crop, crop, 3) of the examples, and their targets (N, classes)."""
    inputs: list[Clips] = []
    targets: list[NDArray[np.float32]] = []
    rows = iter(side.targets)
    async with clip_decoder(side.examples, backbone.served.spec, clips, settings) as decoder:
        async for _, result in decoder.read_all(side.examples):
            row = next(rows)
            if not isinstance(result, ClipstackError):  # it could be decoded before; it has changed since
                inputs.append(result)
                targets.append(np.repeat(row[None], len(result), axis=0))
            advance()
    if not inputs:
        raise ModelError("none of the files can be read any more: they have changed or are gone. Start again.")
    return torch.from_numpy(np.concatenate(inputs)), torch.from_numpy(np.concatenate(targets))


def _with_head(backbone: Backbone, head: Head) -> nn.Module:
    """Return a copy of the network with this last layer, whose first layers are frozen."""
    labels = tuple(map(str, range(len(head.bias))))
    network = backbone.with_layer(head.weight, head.bias, labels).network
    layers = [module for module in network.modules() if any(True for _ in module.parameters(recurse=False))]
    for module in layers[: int(len(layers) * (1 - TRAINED_SHARE))]:
        module.requires_grad_(False)
    return network


@torch.no_grad()
def _calibrated_loss(
    served: ServedNetwork, loss: nn.Module, inputs: Tensor, targets: Tensor, size: int, device: torch.device
) -> float:
    """Return the loss at the best temperature: the last layer that is trained in the end will be calibrated, too."""
    logits = torch.cat([served.logits(batch.to(device)).cpu() for batch in inputs.split(size)])
    truths = targets.int() if isinstance(loss, nn.BCEWithLogitsLoss) else targets.argmax(dim=1)
    temperature = fit_temperature(logits.numpy(), truths.numpy())
    return float(loss((logits / temperature).to(device), targets.to(device)))
