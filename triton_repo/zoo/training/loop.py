"""Shared training loop, which shows and saves its progress and resumes from its checkpoint."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, IterableDataset

Batch = tuple[Tensor, Tensor]
CHECK_EVERY = 100  # steps between accuracy checks
SMOOTHING_STEPS = 25  # steps that the plotted loss is averaged over


@dataclass(frozen=True)
class TrainingConfig:
    """Configuration of a training run.

    `peak_rate` is the largest learning rate, `folder` that of the checkpoint and the curve. `start` are weights to
    begin with.
    """

    steps: int
    batch: int
    seed: int
    peak_rate: float
    folder: Path
    start: Path | None = None
    photographs: Path | None = None

    def load_start_weights(self, network: nn.Module) -> nn.Module:
        """Return the network with the weights of `start`, if any."""
        if self.start:
            network.load_state_dict(load_file(self.start))
        return network


@dataclass(frozen=True)
class TrainingData:
    """Data of a training run.

    Attributes:
        batches: Returns the batches from a step on.
        held_out: Batches for the accuracy checks.
        normalise: Converts a batch of pictures to the network's input.
        bfloat16: Whether to calculate in bfloat16.
        workers: Number of processes that make batches; 0 makes them in this one.
    """

    batches: Callable[[int], IterableDataset]  # type: ignore[type-arg]
    held_out: list[Batch]
    normalise: Callable[[Tensor], Tensor]
    bfloat16: bool
    workers: int = 1

    def precision(self) -> AbstractContextManager[object]:
        """Return the context manager that selects the precision."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)


def config_from_command_line(
    description: str | None, name: str, steps: int, seed: int, peak_rate: float, *, photographs: bool = False
) -> TrainingConfig:
    """Parse the options that all training scripts share and create the output folder.

    `photographs` adds the option for further photographs.
    """
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw_text)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--peak-rate", type=float, default=peak_rate)
    parser.add_argument("--start", type=Path, help="weights to start from")
    parser.add_argument("--output", dest="folder", type=Path, default=Path(".runtime/train") / name)
    if photographs:
        parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="train on these pictures, too")
    config = TrainingConfig(**vars(parser.parse_args()))
    config.folder.mkdir(parents=True, exist_ok=True)
    return config


def save_weights(network: nn.Module, folder: Path, committed: Path) -> None:
    """Save the weights beside the curve; a person decides whether to commit them."""
    weights = folder / committed.name
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
    print(f"{weights}: copy it to {committed} once the evaluation is good", file=sys.stderr)


@torch.no_grad()
def accuracy(network: nn.Module, data: TrainingData) -> float:
    """Return the top-1 on the held-out batches."""
    network.eval()
    right = 0
    for images, labels in data.held_out:
        with data.precision():
            right += int((network(data.normalise(images)).argmax(1) == labels).sum())
    network.train()
    return right / sum(len(labels) for _, labels in data.held_out)


def save_curve(history: list[dict[str, float]], folder: Path) -> None:
    """Write `curve.json` and `curve.png`."""
    (folder / "curve.json").write_text(json.dumps(history, indent=1))
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
    steps, losses = [h["step"] for h in history], np.array([h["loss"] for h in history])
    span = min(SMOOTHING_STEPS, len(losses))
    upper.plot(steps, losses, color="tab:gray", alpha=0.4, linewidth=0.8)
    upper.plot(steps[span - 1 :], np.convolve(losses, np.ones(span) / span, "valid"), color="tab:gray")
    upper.set_ylabel("training loss")
    checked = [h for h in history if "held_out" in h]
    lower.plot([h["step"] for h in checked], [h["held_out"] for h in checked], "o-", color="tab:blue")
    lower.set(ylabel="top-1, photographs\nnever trained on", xlabel="step", ylim=(0, 1))
    for axis in (upper, lower):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    figure.savefig(folder / "curve.png", dpi=110)
    plt.close(figure)


def train(network: nn.Module, data: TrainingData, config: TrainingConfig) -> nn.Module:
    """Train from the last checkpoint up to the configured number of steps and return the averaged network."""
    network.train()
    steps, average = config.steps, AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.peak_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.peak_rate, total_steps=steps, pct_start=0.1)
    state: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    history: list[dict[str, float]] = []
    checkpoint = config.folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        for name, component in state.items():
            component.load_state_dict(saved[name])
        history = saved["history"]
    first = len(history)
    loader = iter(DataLoader(data.batches(first), batch_size=None, num_workers=data.workers))
    started = time.monotonic()
    for step in range(first, steps):
        images, labels = next(loader)
        with data.precision():
            logits = network(data.normalise(images))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        history.append({"step": step + 1, "loss": round(loss.item(), 4)})
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            history[-1]["held_out"] = accuracy(average, data)
            torch.save(
                {name: component.state_dict() for name, component in state.items()} | {"history": history}, checkpoint
            )
            save_curve(history, config.folder)
        if (step + 1) % 10 == 0:
            print_progress(history, steps, (time.monotonic() - started) / (step + 1 - first))
    return average.module


def print_progress(history: list[dict[str, float]], steps: int, pace: float) -> None:
    """Print one line of progress; `pace` is in seconds per step."""
    done, recent = len(history), float(np.mean([h["loss"] for h in history[-10:]]))
    checked = [h["held_out"] for h in history if "held_out" in h]
    print(
        f"step {done:5d}/{steps}  loss {recent:.3f}  held-out top-1 {checked[-1] if checked else 0:.3f}"
        f"  {pace:.2f} s/step  {pace * (steps - done) / 60:.0f} min left",
        file=sys.stderr,
    )
