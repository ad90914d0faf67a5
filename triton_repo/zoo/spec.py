"""Specification of a served model: its network, clip, labels and normalisation."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from triton_repo.zoo import SIDE_BY_SIDE, ModelError, listed

MAX_BATCH = 8


@dataclass(frozen=True)
class ClipSpec:
    """The clip that a network was trained on; a picture is a clip of one frame.

    A clip has `frames` frames, `stride` apart in a video of `fps` frames per second. The short side is scaled to
    `resize` pixels, and the centre `crop` x `crop` pixels are used.
    """

    kind: Literal["video", "image"]
    frames: int
    stride: int
    fps: float
    resize: int
    crop: int


@dataclass(frozen=True)
class Scoring:
    """How the logits of a network become scores, and from which score on a label passes.

    Attributes:
        kind: "softmax" if one label is right at a time, so that the scores add up to 1; "sigmoid" for independent ones.
        temperature: Divides the logits (triton_repo/zoo/calibration.py fits it).
        thresholds: Threshold of each label, 0 to 1, by its name; empty for none.
    """

    kind: Literal["softmax", "sigmoid"] = "softmax"
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def check(self, labels: Sequence[str]) -> None:
        """Raise ModelError if the temperature is not above 0, or the thresholds do not fit the labels."""
        if not 0 < self.temperature < math.inf:
            raise ModelError(f"the temperature {self.temperature:g} is not above 0.")
        if not self.thresholds:
            return
        if unknown := sorted(self.thresholds.keys() - set(labels)):
            raise ModelError(f"the thresholds name {listed(unknown)}, which are no labels of the model.")
        if missing := [label for label in labels if label not in self.thresholds]:
            raise ModelError(f"the thresholds have none for {listed(missing)}: give one for each label.")
        if wrong := [label for label, value in self.thresholds.items() if not 0 <= value <= 1]:
            raise ModelError(f"the thresholds of {listed(wrong)} are not from 0 to 1.")

    def parameters(self, labels: Sequence[str]) -> dict[str, str]:
        """Return the entries of `config.pbtxt`; those of a plain softmax are left out."""
        entries: dict[str, str] = {"scores": self.kind} if self.kind != "softmax" else {}
        if self.temperature != 1:
            entries["temperature"] = f"{self.temperature:.6g}"
        if self.thresholds:
            entries["thresholds"] = ", ".join(f"{self.thresholds[label]:.6g}" for label in labels)
        return entries


@dataclass(frozen=True)
class Summary:
    """Text about a model for its users: what it is called, what it answers, and some of its labels."""

    title: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()

    def parameters(self) -> dict[str, str]:
        """Return the entries of `config.pbtxt`; empty ones are left out."""
        entries = {"title": self.title, "description": self.description, "examples": ", ".join(self.examples)}
        return {name: value for name, value in entries.items() if value}


@dataclass(frozen=True)
class Description:
    """Description of a model that is not a torch network."""

    architecture: str
    spec: ClipSpec
    labels: tuple[str, ...]
    summary: Summary = Summary()
    scoring: Scoring = Scoring()


@dataclass(frozen=True)
class NetworkSpec:
    """A network that is ready to be exported.

    `network` returns logits (B, classes) for normalised float input: (B, 3, frames, crop, crop) for kind video, (B, 3,
    crop, crop) for kind image. `mean` and `std` refer to pixels scaled to 0..1, in the order red, green, blue.
    """

    network: nn.Module
    architecture: str
    spec: ClipSpec
    labels: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    summary: Summary = Summary()
    scoring: Scoring = Scoring()


ModelInfo = Description | NetworkSpec  # what a model folder's description is written from


class ServedNetwork(nn.Module):
    """Network from uint8 (B, frames, crop, crop, 3) to probabilities float32 (B, classes).

    The network calculates in `dtype`; normalisation, temperature, softmax and sigmoid are in float32.
    """

    def __init__(self, served: NetworkSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        exact = dtype == torch.float32
        self.network = served.network if exact else copy.deepcopy(served.network).to(dtype)
        self.dtype = dtype
        self.scoring = served.scoring
        self.image = served.spec.kind == "image"
        # (x / 255 - mean) / std as one multiplication and one addition
        std = torch.tensor(served.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(served.mean) / std)

    def forward(self, clip: Tensor) -> Tensor:
        """Return probabilities float32 (B, classes) for uint8 (B, frames, crop, crop, 3)."""
        logits = self.logits(clip)
        if self.scoring.temperature != 1:
            logits = logits * (1 / self.scoring.temperature)
        return logits.sigmoid() if self.scoring.kind == "sigmoid" else logits.softmax(1)

    def logits(self, clip: Tensor) -> Tensor:
        """Return the network's output in float32 for uint8 (B, frames, crop, crop, 3)."""
        x = clip.float() * self.scale + self.shift
        x = x[:, 0].permute(0, 3, 1, 2) if self.image else x.permute(0, 4, 1, 2, 3)
        logits: Tensor = self.network(x.to(self.dtype))
        return logits.float()


def config_text(name: str, served: ModelInfo) -> str:
    """Return the `config.pbtxt` of the model `name`, which tells the server and the app all about the model."""
    spec = served.spec
    parameters = {
        "kind": spec.kind,
        "frames": spec.frames,
        "stride": spec.stride,
        "fps": f"{spec.fps:g}",
        "resize": spec.resize,
        "crop": spec.crop,
        "architecture": served.architecture,
        "engine": "openvino",
        "precision": "auto",
        **served.scoring.parameters(served.labels),
        **served.summary.parameters(),
    }
    entries = ",\n".join(
        f'  {{ key: "{key}" value: {{ string_value: "{value}" }} }}' for key, value in parameters.items()
    )
    return f"""\
name: "{name}"
backend: "clip"
max_batch_size: {MAX_BATCH}
version_policy: {{ latest {{ num_versions: {SIDE_BY_SIDE} }} }}
input [
  {{
    name: "CLIP"
    data_type: TYPE_UINT8
    dims: [ {spec.frames}, {spec.crop}, {spec.crop}, 3 ]
  }}
]
output [
  {{
    name: "SCORES"
    data_type: TYPE_FP32
    dims: [ {len(served.labels)} ]
    label_filename: "labels.txt"
  }}
]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
dynamic_batching {{ }}
parameters [
{entries}
]
"""
