"""What a model folder is made from: a network, the clip it wants, its labels and its normalisation."""

import copy
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from triton_repo.zoo.repository.store import SIDE_BY_SIDE

MAX_BATCH = 8


@dataclass(frozen=True)
class ClipSpec:
    """The clip a network was trained on; a picture is a clip of one frame.

    `frames` frames, `stride` apart in a video of `fps` frames a second; short side scaled to `resize` pixels,
    of which the middle `crop` x `crop` pixels are used.
    """

    kind: Literal["video", "image"]
    frames: int
    stride: int
    fps: float
    resize: int
    crop: int


class ModelInfo(Protocol):
    """What a model folder's description is written from."""

    @property
    def architecture(self) -> str: ...

    @property
    def spec(self) -> ClipSpec: ...

    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Description:
    """`Described` and no more, for a model that is no network of torch."""

    architecture: str
    spec: ClipSpec
    labels: tuple[str, ...]


@dataclass(frozen=True)
class NetworkSpec:
    """A network ready to be exported. `network` gives logits (B, classes) for normalised float input:
    (B, 3, frames, crop, crop) when the kind is video, (B, 3, crop, crop) when it is image.

    `mean` and `std` are of the picture scaled to 0..1, one for each of red, green and blue.
    """

    network: nn.Module
    architecture: str
    spec: ClipSpec
    labels: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class ServedNetwork(nn.Module):
    """Decoded uint8 (B, frames, crop, crop, 3) -> probabilities float (B, classes): no client normalises.

    The network calculates in `dtype`, what is before and after it in float32.
    """

    def __init__(self, served: NetworkSpec, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        exact = dtype == torch.float32
        self.network = served.network if exact else copy.deepcopy(served.network).to(dtype)
        self.dtype = dtype
        self.image = served.spec.kind == "image"
        # (x / 255 - mean) / std as one multiplication and one addition.
        std = torch.tensor(served.std)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(served.mean) / std)

    def forward(self, clip: Tensor) -> Tensor:
        x = clip.float() * self.scale + self.shift
        x = x[:, 0].permute(0, 3, 1, 2) if self.image else x.permute(0, 4, 1, 2, 3)
        logits: Tensor = self.network(x.to(self.dtype))
        return logits.float().softmax(1)


def config_text(name: str, served: ModelInfo) -> str:
    """`config.pbtxt` of the model folder `name`: all that the server and the app know of the model."""
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
        "precision": "f32",
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


__all__ = ["MAX_BATCH", "ClipSpec", "ModelInfo", "Description", "NetworkSpec", "ServedNetwork", "config_text"]
