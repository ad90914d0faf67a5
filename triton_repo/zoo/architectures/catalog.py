"""The published networks: where their weights are, the labels they know, the clip and preprocessing they were made for.

    X3D         PyTorchVideo, Kinetics-400
    ResNet      torchvision, ImageNet
    VIDEO       torchvision, Kinetics-400

Numbers and labels of torchvision's come from torchvision itself: `weights.transforms()` and `weights.meta`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from triton_repo.zoo.architectures.kinetics import kinetics_x3d
from triton_repo.zoo.architectures.x3d import x3d
from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.export.spec import ClipSpec
from triton_repo.zoo.repository.names import PUBLISHED, VIDEO, X3D

# As pytorchvideo.models.hub.x3d has it
X3D_ADDRESS = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}"
# Trained by the same program (PySlowFast) on the same list of classes as X3D, and published by torchvision
X3D_LABELS_OF = "mvit_v2_s"
EXACT = ("mvit_v2_s",)  # its weights hold a value for each place of the clip

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """One network as published; `smallest` is the least clip it takes."""

    name: str
    url: str
    labels: tuple[str, ...]
    spec: ClipSpec
    mean: Colours
    std: Colours
    smallest: tuple[int, int]  # frames, pixels

    def network(self, classes: int) -> nn.Module:
        """With random weights."""
        if self.name in X3D:
            return x3d(self.name, classes).eval()
        network: nn.Module = _models().get_model(self.name, weights=None, num_classes=classes)
        return network.eval()

    def check(self, spec: ClipSpec) -> None:
        """ModelError when the network cannot take such a clip."""
        frames, pixels = self.smallest
        if spec.kind == "image" and spec.frames != 1:
            raise ModelError(f"{self.name} looks at one picture: it takes no --frames.")
        if self.name in EXACT and (spec.frames, spec.crop) != (frames, pixels):
            raise ModelError(f"{self.name} needs clips of exactly {frames} frames of {pixels} x {pixels} pixels.")
        if spec.frames < frames or spec.crop < pixels:
            raise ModelError(
                f"{self.name} needs clips of at least {frames} frames of {pixels} x {pixels} pixels, "
                f"not {spec.frames} of {spec.crop} x {spec.crop}."
            )


def published(name: str, file: str | None = None) -> Published:
    """The network called `name`; of several published weights those whose file is `file`, else the newest."""
    if name not in PUBLISHED:
        raise ModelError(f"there is no published network {name!r}: known are {', '.join(PUBLISHED)}.")
    return _x3d(name) if name in X3D else _torchvision(name, file)


def _x3d(name: str) -> Published:
    served = kinetics_x3d(name, None, ("",))
    url = X3D_ADDRESS.format(file=f"{name.upper()}.pyth")
    labels = tuple(_models().get_model_weights(X3D_LABELS_OF).DEFAULT.meta["categories"])
    return Published(name, url, labels, served.spec, served.mean, served.std, (1, 32))


def _torchvision(name: str, file: str | None) -> Published:
    versions = _models().get_model_weights(name)
    weights = {Path(version.url).name: version for version in versions}.get(file or "", versions.DEFAULT)
    preset, meta = weights.transforms(), weights.meta
    # For video: height and width. Clipstack keeps a frame's shape, so the height is its short side.
    resize, crop = preset.resize_size[0], preset.crop_size[0]
    if name in VIDEO:
        spec = ClipSpec("video", int(_told(meta, "clip_len")), 1, _told(meta, "frame_rate"), resize, crop)
    else:
        spec = ClipSpec("image", 1, 1, 30, resize, crop)
    smallest = (int(meta.get("min_temporal_size", 1)), int(max(meta["min_size"])))
    mean, std = tuple(preset.mean), tuple(preset.std)
    return Published(name, weights.url, tuple(meta["categories"]), spec, mean, std, smallest)


def _told(meta: dict[str, Any], name: str) -> float:
    """A number of the clip, which torchvision tells in words only: "parameters `frame_rate=15`, ..."."""
    found = re.search(rf"`{name}=([\d.]+)`", meta["_docs"])
    if not found:
        raise ModelError(f"this torchvision does not tell the {name} of its weights: name the clip yourself.")
    return float(found[1])


def _models() -> Any:
    """torchvision.models, which takes a second to import."""
    import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
    from torchvision import models

    return models


__all__ = ["Published", "published"]
