"""Published networks: address of their weights, labels, clip and preprocessing.

    X3D         PyTorchVideo, Kinetics-400
    LITE        Google, ImageNet
    ResNet      torchvision, ImageNet
    VIDEO       torchvision, Kinetics-400

Figures and labels of torchvision's networks come from its `weights.transforms()` and `weights.meta`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures import efficientnet_lite as lite
from triton_repo.zoo.architectures.weight_packages import PACKAGES
from triton_repo.zoo.architectures.x3d import VARIANTS, x3d
from triton_repo.zoo.names import LITE, PUBLISHED, VIDEO, X3D
from triton_repo.zoo.spec import ClipSpec, Summary

# Source: pytorchvideo.models.hub.x3d and its model zoo, whose strides count frames of a 30 fps video
X3D_FPS, X3D_MEAN, X3D_STD = 30, 0.45, 0.225
X3D_ADDRESS = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}"
# torchvision's network, trained by the same program (PySlowFast) on the same list of classes as X3D
X3D_LABELS_OF = "mvit_v2_s"
FIXED_CLIP = ("mvit_v2_s",)  # its weights hold one value for each position of the clip

Colours = tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """One published network; `smallest` is the smallest clip it takes."""

    name: str
    url: str
    labels: tuple[str, ...]
    spec: ClipSpec
    mean: Colours
    std: Colours
    smallest: tuple[int, int]  # frames, pixels

    @property
    def summary(self) -> Summary:
        """Return the text about the network with its published labels."""
        if self.spec.kind == "video":
            return Summary(description="What people do, in the 400 actions of Kinetics-400.")
        return Summary(description="The main thing in a picture, in the 1000 words of ImageNet.")

    def network(self, classes: int) -> nn.Module:
        """Return the network with random weights."""
        if self.name in X3D:
            return x3d(self.name, classes).eval()
        if self.name in LITE:
            return lite.EfficientNetLite(classes, lite.VARIANTS[self.name]).eval()
        network: nn.Module = _models().get_model(self.name, weights=None, num_classes=classes)
        return network.eval()

    def check(self, spec: ClipSpec) -> None:
        """Raise ModelError if the network cannot take this clip."""
        frames, pixels = self.smallest
        if spec.kind == "image" and spec.frames != 1:
            raise ModelError(f"{self.name} takes one picture: leave out --frames.")
        if self.name in FIXED_CLIP and (spec.frames, spec.crop) != (frames, pixels):
            raise ModelError(f"{self.name} needs clips of exactly {frames} frames of {pixels} x {pixels} pixels.")
        if spec.frames < frames or spec.crop < pixels:
            raise ModelError(
                f"{self.name} needs clips of at least {frames} frames of {pixels} x {pixels} pixels, "
                f"not {spec.frames} of {spec.crop} x {spec.crop}."
            )


def published(name: str, file: str | None = None) -> Published:
    """Return the network called `name`, with the weights whose file is `file` or else the newest.

    Raises:
        ModelError: The network is unknown.
    """
    if name not in PUBLISHED:
        raise ModelError(f"there is no published network {name!r}; published are {', '.join(PUBLISHED)}.")
    if name in LITE:
        return _lite(name)
    return _x3d(name) if name in X3D else _torchvision(name, file)


def _x3d(name: str) -> Published:
    size = VARIANTS[name]
    spec = ClipSpec("video", size.frames, size.stride, X3D_FPS, size.resize, size.crop)
    url = X3D_ADDRESS.format(file=f"{name.upper()}.pyth")
    labels = tuple(_models().get_model_weights(X3D_LABELS_OF).DEFAULT.meta["categories"])
    return Published(name, url, labels, spec, (X3D_MEAN,) * 3, (X3D_STD,) * 3, (1, 32))


def _lite(name: str) -> Published:
    variant = lite.VARIANTS[name]
    labels = tuple(_models().get_model_weights("resnet18").DEFAULT.meta["categories"])
    spec = ClipSpec("image", 1, 1, 30, variant.resize, variant.size)
    return Published(name, PACKAGES[name].url, labels, spec, (lite.MEAN,) * 3, (lite.STD,) * 3, (1, 32))


def _torchvision(name: str, file: str | None) -> Published:
    versions = _models().get_model_weights(name)
    weights = {Path(version.url).name: version for version in versions}.get(file or "", versions.DEFAULT)
    preset, meta = weights.transforms(), weights.meta
    # For video the sizes are height and width. Clipstack keeps a frame's aspect ratio, so the height is the short side.
    resize, crop = preset.resize_size[0], preset.crop_size[0]
    if name in VIDEO:
        frames, fps = int(_documented_number(meta, "clip_len")), _documented_number(meta, "frame_rate")
        spec = ClipSpec("video", frames, 1, fps, resize, crop)
    else:
        spec = ClipSpec("image", 1, 1, 30, resize, crop)
    smallest = (int(meta.get("min_temporal_size", 1)), int(max(meta["min_size"])))
    mean, std = tuple(preset.mean), tuple(preset.std)
    return Published(name, weights.url, tuple(meta["categories"]), spec, mean, std, smallest)


def _documented_number(meta: dict[str, Any], name: str) -> float:
    """Return a clip parameter that torchvision gives only in text: "parameters `frame_rate=15`, ..."."""
    match = re.search(rf"`{name}=([\d.]+)`", meta["_docs"])
    if not match:
        raise ModelError(
            f"this torchvision does not document the {name} of its weights: give --frames, --stride and --fps."
        )
    return float(match[1])


def _models() -> Any:
    """Return torchvision.models, which takes a second to import."""
    import triton_repo.zoo.architectures.torchvision_cpu  # noqa: F401  # isort: skip  (makes the next import work without CUDA)
    from torchvision import models

    return models
