"""The networks that both sides of a comparison serve: of published sizes, made here, the same weights for all.

No weights are fetched: random ones are given statistics of their own (bench/gpu_networks.py), so that answers differ
from clip to clip, and written once to .runtime/bench/networks/NAME as `weights.safetensors` and `facts.json`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.settings import CHECKOUT
from bench import gpu_networks
from bench.gpu_networks import random_clips, resnet50, spread
from triton_repo.zoo import served as service
from triton_repo.zoo.served import ClipSpec, Described, Served, config_text
from triton_repo.zoo.x3d import x3d

FOLDER = CHECKOUT / ".runtime" / "bench"
MEAN, STD = (0.45,) * 3, (0.225,) * 3
SAMPLES = 4
VIDEO, PICTURE, LARGE = "x3d_m", "resnet50", "large"


class Large(nn.Module):
    """0.4 GB of weights and little to calculate: logits (B, classes) of (B, 3, 224, 224)."""

    WIDTH, DEPTH = 4096, 6

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(16), nn.Flatten(), nn.Linear(3 * 16 * 16, self.WIDTH)]
        for _ in range(self.DEPTH):
            layers += [nn.ReLU(), nn.Linear(self.WIDTH, self.WIDTH)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Linear(self.WIDTH, classes))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


_VIDEO_SPEC = ClipSpec("video", 16, 5, 30, 256, 224)  # X3D-M as the paper trains it: 16 x 224 x 224, 2.4 MB
_PICTURE_SPEC = ClipSpec("image", 1, 1, 30, 256, 224)
_MAKERS: dict[str, tuple[Callable[[], nn.Module], ClipSpec, int]] = {
    VIDEO: (lambda: x3d(VIDEO, 400), _VIDEO_SPEC, 400),
    PICTURE: (lambda: resnet50(1000), _PICTURE_SPEC, 1000),
    LARGE: (lambda: Large(10), _PICTURE_SPEC, 10),
}


def renew(folder: Path = FOLDER) -> None:
    """Takes away what was made by other code than this."""
    stamp, sources = folder / "stamp", [Path(__file__), Path(gpu_networks.__file__), Path(service.__file__)]
    sources += [CHECKOUT / "triton_repo" / "zoo" / "x3d.py", CHECKOUT / "bench" / "questions" / "transport.py"]
    now = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if not stamp.exists() or stamp.read_text() != now:
        for made_before in ("networks", "models"):
            shutil.rmtree(folder / made_before, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(now)


def made(name: str, folder: Path = FOLDER) -> Served:
    """The network with its weights from the file, which is written first where it is not there yet."""
    network, spec, classes = _MAKERS[name][0](), *_MAKERS[name][1:]
    file = folder / "networks" / name / "weights.safetensors"
    served = Served(network, name, spec, tuple(f"label {number}" for number in range(classes)), MEAN, STD)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network.load_state_dict(_MAKERS[name][0]().state_dict())
        spread(served, torch.from_numpy(random_clips(spec, SAMPLES, seed=1)), "cpu")
        facts = {"frames": spec.frames, "stride": spec.stride, "fps": spec.fps, "resize": spec.resize}
        told = facts | {"crop": spec.crop, "kind": spec.kind, "classes": classes, "mean": MEAN[0], "std": STD[0]}
        (file.parent / "facts.json").write_text(json.dumps(told) + "\n")
        save_file(network.state_dict(), file.with_suffix(".new"))
        file.with_suffix(".new").rename(file)
    network.load_state_dict(load_file(file))
    network.eval()
    return served


def repository(name: str, folder: Path = FOLDER) -> Path:
    """A model folder for our stack that holds this network alone, exported once by the zoo's own export."""
    models = folder / "models" / name
    if not (models / name / "1" / "model.xml").exists():
        from triton_repo.zoo.export import write_model

        shutil.rmtree(models, ignore_errors=True)
        write_model(made(name, folder), name, models)
    return models


class _Scored(nn.Module):
    """Probabilities (B, classes) of normalised float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x).softmax(1)
        return scores


def float_repository(name: str, folder: Path = FOLDER) -> Path:
    """The same network as NAME_float, which takes normalised float32 (3, T, crop, crop), for clients that normalise."""
    models = folder / "models" / f"{name}_float"
    if not (models / f"{name}_float" / "1" / "model.xml").exists():
        served = made(name, folder)
        spec = served.spec
        example = torch.zeros(1, 3, spec.frames, spec.crop, spec.crop)
        write_as_it_is(_Scored(served.network).eval(), example, f"{name}_float", served, models)
    return models


def write_as_it_is(module: nn.Module, example: Tensor, name: str, described: Described, models: Path) -> None:
    """A model folder for a module that takes clips like `example` (1, ...) and gives scores, nothing put before it."""
    import openvino

    kind = {torch.uint8: "TYPE_UINT8", torch.float32: "TYPE_FP32"}[example.dtype]
    with torch.no_grad():
        model = openvino.convert_model(module, example_input=example, input=[(-1, *example.shape[1:])])
    model.inputs[0].set_names({"CLIP"})
    model.outputs[0].set_names({"SCORES"})
    spec = described.spec
    text = config_text(name, described)
    usual = f"TYPE_UINT8\n    dims: [ {spec.frames}, {spec.crop}, {spec.crop}, 3 ]"
    if usual not in text:
        raise ValueError("the description of a model has another form than is replaced here")
    folder = models / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "1").mkdir(parents=True)
    dims = ", ".join(map(str, example.shape[1:]))
    (folder / "config.pbtxt").write_text(text.replace(usual, f"{kind}\n    dims: [ {dims} ]"))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in described.labels))
    openvino.save_model(model, folder / "1" / "model.xml", compress_to_fp16=False)


__all__ = ["FOLDER", "LARGE", "PICTURE", "VIDEO", "float_repository", "made", "renew", "repository", "write_as_it_is"]
