"""Backbones: networks whose features a new last layer is trained on."""

import copy
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from torch import Tensor, nn

from app.media.formats import Kind
from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.builtin import DEFAULTS
from triton_repo.zoo.architectures.trained import (
    FRAMES_SUFFIX,
    frame_statistics,
    last_layer,
    last_layer_name,
    replace_last_layer,
)
from triton_repo.zoo.export.openvino import convert_module
from triton_repo.zoo.names import LITE, RESNETS, X3D
from triton_repo.zoo.operations.add import ClipOverrides
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.sources import read_source
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, ServedNetwork

FILM = ClipSpec("video", 8, 8, 30, 256, 224)  # frames of a film for a backbone that takes pictures: 8 in 1.9 s
FORMAT = "1"  # of the cached features; a new number invalidates the cache

Clips = NDArray[np.uint8]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Backbone:
    """A network with its weights, and the clip that it is shown.

    Attributes:
        name: Name of the model that it is taken from.
        served: The network, whose last layer has no meaning, with clip and normalisation.
        digest: Digest of the weights and the clip; the same digest gives the same features.
    """

    name: str
    served: NetworkSpec
    digest: str

    @property
    def width(self) -> int:
        """Return the number of features of a clip."""
        return last_layer(self.served.network).in_features

    def with_layer(self, weight: Tensor, bias: Tensor, labels: tuple[str, ...]) -> NetworkSpec:
        """Return the network with the trained last layer, ready to be exported.

        Args:
            weight: float32 (classes, width).
            bias: float32 (classes,).
            labels: The labels in the order of the rows of `weight`.
        """
        network = copy.deepcopy(self.served.network)
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        replace_last_layer(network, layer)
        return replace(self.served, network=network.eval(), labels=labels)


class FeatureExtractor:
    """A backbone without its last layer, compiled by OpenVINO in float32."""

    def __init__(self, backbone: Backbone) -> None:
        network = copy.deepcopy(backbone.served.network)
        replace_last_layer(network, nn.Identity())
        module = _Features(replace(backbone.served, network=network.eval())).eval()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = convert_module(module, backbone.served)
        self._compiled = openvino.Core().compile_model(model, "CPU", hints)

    def __call__(self, clips: Clips) -> Features:
        """Return features float32 (B, width) for clips uint8 (B, frames, crop, crop, 3)."""
        return np.concatenate([np.asarray(self._compiled(clip[None])[0], np.float32) for clip in clips])


class _Features(ServedNetwork):
    """Network with normalisation and without softmax: uint8 clips -> features float32 (B, width)."""

    def forward(self, clip: Tensor) -> Tensor:
        return self.logits(clip)


def load_backbone(name: str, kind: Kind, models: Path, overrides: ClipOverrides) -> Backbone:
    """Return the backbone that is taken from a built-in or an added model.

    Films are shown to a network for pictures frame by frame.

    Raises:
        ModelError: The model does not exist, cannot be a backbone, or does not fit the kind of files.
    """
    served = DEFAULTS[name]() if name in DEFAULTS else _added(name, models)
    if kind == "image" and served.spec.kind == "video":
        raise ModelError(f"{name} looks at films, and these are pictures: choose --backbone objects.")
    if kind == "video" and served.spec.kind == "image":
        architecture = served.architecture + FRAMES_SUFFIX
        spec = replace(FILM, resize=served.spec.resize, crop=served.spec.crop)
        served = replace(served, network=frame_statistics(served.network, 1), architecture=architecture, spec=spec)
    elif name in DEFAULTS and name != "objects":
        served = replace(served, architecture=name)  # the networks of these two are their own
    if kind == "image" and (overrides.frames or 1) != 1:
        raise ModelError("a picture has one frame: leave out --frames.")
    served = replace(served, spec=overrides.spec(served.spec))
    return Backbone(name, served, _digest(served))


def _added(name: str, models: Path) -> NetworkSpec:
    model = store.installed(models, name)
    source = read_source(model.served)
    if source is None or source.architecture not in X3D + LITE + RESNETS:
        usable = ", ".join((*DEFAULTS, *X3D, *LITE, *RESNETS))
        raise ModelError(
            f"{name} cannot be a backbone: it can be {usable}, or a checkpoint of your own with one of these networks "
            "that was added with `clipstack-models add`."
        )
    file = source.file(model.served)
    if not file.is_file():
        raise ModelError(f"{file}, which {name} was made from, is gone: add {name} again.")
    return source.network(model.labels, file)


def _digest(served: NetworkSpec) -> str:
    layer = last_layer_name(served.network) + "."
    facts = (FORMAT, served.architecture, served.spec, served.mean, served.std)
    digest = hashlib.sha256(repr(facts).encode())
    for name, tensor in served.network.state_dict().items():
        if not name.startswith(layer):
            digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
