"""Triton's model repository on machines with GPUs: the same models, placed on the GPUs.

The model folder itself stays unchanged, so one folder serves machines with and without GPUs. In the run folder each
model gets a `config.pbtxt` with its GPU instances, and links to all other files. All models are written at each start
of Triton, and a single model when the watchdog reloads it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

TEMPORARY_PREFIX = ".making-"
PLACEMENT_FILE = ".placing.json"
DEFAULT_ENGINE = "openvino"  # for models without a configured engine; it cannot run on a GPU
ON_GPU = {"torch": "model.pt2"}  # engine that replaces the default one on a GPU, and the file it needs
TAKES_REFERENCES = ("torch",)  # engines that read a clip from GPU memory directly


@dataclass(frozen=True)
class GpuPlacement:
    """CUDA indices of the GPUs, and the settings for models on them."""

    gpus: tuple[int, ...]
    processes: int
    precision: str
    batch: int


def folder(run_dir: Path) -> Path:
    """Return the folder of the placed models."""
    return run_dir / "gpu" / "models"


def write_all(models: Path, run_dir: Path, gpu_placement: GpuPlacement) -> list[str]:
    """Place every model of the folder `models` and return one line per model that says where it runs."""
    remove_all(run_dir)
    target = folder(run_dir)
    target.mkdir()
    (target / PLACEMENT_FILE).write_text(json.dumps(asdict(gpu_placement)))
    names = sorted(path.parent.name for path in models.glob("*/config.pbtxt") if path.parent.name[0] != ".")
    return [write(models / name, target, gpu_placement) for name in names]


def remove_all(run_dir: Path) -> None:
    """Remove the placed models of an earlier start."""
    shutil.rmtree(folder(run_dir), ignore_errors=True)


def place_again(model: Path, run_dir: Path) -> None:
    """Place `model` again before Triton reloads it; do nothing when Triton runs without GPUs."""
    target = folder(run_dir)
    if not (target / PLACEMENT_FILE).exists():
        return
    if model.is_dir():
        params = json.loads((target / PLACEMENT_FILE).read_text())
        write(model, target, GpuPlacement(**params | {"gpus": tuple(params["gpus"])}))
    else:
        shutil.rmtree(target / model.name, ignore_errors=True)


def write(model: Path, target: Path, gpu_placement: GpuPlacement) -> str:
    """Replace the model's folder in `target` and return a line that says where the model runs.

    The new folder is renamed into place. A model with a damaged configuration, or without a GPU engine, is linked as it
    is: it runs on the CPU, or Triton reports its error.
    """
    new = target / f"{TEMPORARY_PREFIX}{model.name}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for entry in model.iterdir():
        if entry.name != "config.pbtxt" and entry.name[0] != ".":
            (new / entry.name).symlink_to(entry.resolve())
    text, description = placed(model, gpu_placement)
    (new / "config.pbtxt").write_text(text, encoding="utf-8")
    old = target / f"{TEMPORARY_PREFIX}old-{model.name}"
    shutil.rmtree(old, ignore_errors=True)
    if (target / model.name).exists():
        (target / model.name).rename(old)
    new.rename(target / model.name)
    shutil.rmtree(old, ignore_errors=True)
    return f"{model.name}: {description}"


def placed(model: Path, gpu_placement: GpuPlacement) -> tuple[str, str]:
    """Return the model's configuration with its GPU instances, and a description of where it runs."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    try:
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        return text, f"as it is: {error}"
    engine, device = (config.parameters[name].string_value for name in ("engine", "device"))
    if device == "cpu":
        return text, "on the CPU, as its configuration says"
    if engine in ("", DEFAULT_ENGINE):
        chosen = next((name for name, file in ON_GPU.items() if _versions_have(model, config, file)), None)
        if chosen is None:
            return text, f"on the CPU: its version has no {' or '.join(ON_GPU.values())} (docs/gpu.md)"
        engine = chosen
        config.parameters["engine"].string_value = engine
        config.parameters["precision"].string_value = gpu_placement.precision
    if not device:
        config.parameters.pop("device", None)  # the lookup above created an empty entry
    _place(config, engine, gpu_placement)
    precision = config.parameters["precision"].string_value
    gpus = ", ".join(map(str, gpu_placement.gpus))
    return text_format.MessageToString(config), f"{engine} {precision} on GPU {gpus}, {gpu_placement.processes} on each"


def _place(config: ModelConfig, engine: str, gpu_placement: GpuPlacement) -> None:
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    del config.instance_group[:]
    config.instance_group.add(kind=ModelInstanceGroup.KIND_GPU, count=gpu_placement.processes, gpus=gpu_placement.gpus)
    if engine in TAKES_REFERENCES:
        config.max_batch_size = gpu_placement.batch  # an exported torch program has no batch limit
        _take_references(config)


def _take_references(config: ModelConfig) -> None:
    """Let a request have a reference to a clip on a GPU instead of the clip (app/shm/cuda_region.py).

    Triton's own GPU tensors stay off: its Python backend opens their memory again for every request, and the model's
    process ends when that fails.
    """
    from tritonclient.grpc.model_config_pb2 import TYPE_UINT8

    for tensor in config.input:
        tensor.optional = True
    from app.shm import cuda_region  # imports asyncio: only programs that place models on a GPU should take the time

    config.input.add(name=cuda_region.INPUT, data_type=TYPE_UINT8, dims=[cuda_region.REFERENCE.size], optional=True)


def _versions_have(model: Path, config: ModelConfig, file: str) -> bool:
    """Return whether every served version of the model has `file`."""
    versions = sorted((int(path.name) for path in model.iterdir() if path.name.isdecimal()), reverse=True)
    served: Sequence[int] = versions[: max(1, config.version_policy.latest.num_versions)]
    return bool(served) and all((model / str(version) / file).is_file() for version in served)
