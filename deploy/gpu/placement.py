"""The folder of models as Triton sees it where there are GPUs: the same models, put on them.

The models' own folder stays as it is: it says what a model is, and the same one serves machines with and without GPUs.
In the run folder each model gets a `config.pbtxt` with its places on the GPUs, and links to everything else. Written
anew at every start of Triton, and for one model when that is loaded anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

MAKING = ".making-"
PLACING = ".placing.json"
DEFAULT_ENGINE = "openvino"  # of models for which nobody chose another; it has no GPU to run on
ON_GPU = {"torch": "model.pt2"}  # what takes its place there, and the file that this needs
TAKES_GPU_MEMORY = ("torch",)  # engines that are handed a clip where it is


@dataclass(frozen=True)
class GpuPlacement:
    """CUDA's numbers of the GPUs, and what the settings say of models on them."""

    gpus: tuple[int, ...]
    processes: int
    precision: str
    batch: int


def folder(run_dir: Path) -> Path:
    return run_dir / "gpu" / "models"


def write_all(models: Path, run_dir: Path, placing: GpuPlacement) -> list[str]:
    """Places all of the folder `models`; says of each where it runs."""
    remove_all(run_dir)
    target = folder(run_dir)
    target.mkdir()
    (target / PLACING).write_text(json.dumps(asdict(placing)))
    names = sorted(path.parent.name for path in models.glob("*/config.pbtxt") if path.parent.name[0] != ".")
    return [write(models / name, target, placing) for name in names]


def remove_all(run_dir: Path) -> None:
    """What an earlier start left, when there was a GPU."""
    shutil.rmtree(folder(run_dir), ignore_errors=True)


def follow(model: Path, run_dir: Path) -> None:
    """Before Triton loads a model anew: places it as it is now; nothing to do where Triton runs without GPUs."""
    target = folder(run_dir)
    if not (target / PLACING).exists():
        return
    if model.is_dir():
        told = json.loads((target / PLACING).read_text())
        write(model, target, GpuPlacement(**told | {"gpus": tuple(told["gpus"])}))
    else:
        shutil.rmtree(target / model.name, ignore_errors=True)


def write(model: Path, target: Path, placing: GpuPlacement) -> str:
    """Makes the model's folder in `target` anew, in one step; says in words where it runs.

    A model that cannot be placed, because its configuration is damaged or no engine of its has a GPU, is linked as it
    is: it runs on the CPU, or Triton says what is wrong with it.
    """
    making = target / f"{MAKING}{model.name}"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    for entry in model.iterdir():
        if entry.name != "config.pbtxt" and entry.name[0] != ".":
            (making / entry.name).symlink_to(entry.resolve())
    text, words = placed(model, placing)
    (making / "config.pbtxt").write_text(text, encoding="utf-8")
    old = target / f"{MAKING}old-{model.name}"
    shutil.rmtree(old, ignore_errors=True)
    if (target / model.name).exists():
        (target / model.name).rename(old)
    making.rename(target / model.name)
    shutil.rmtree(old, ignore_errors=True)
    return f"{model.name}: {words}"


def placed(model: Path, placing: GpuPlacement) -> tuple[str, str]:
    """The model's configuration with its places on the GPUs, and where it runs in words."""
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
        chosen = next((name for name, file in ON_GPU.items() if _served_have(model, config, file)), None)
        if chosen is None:
            return text, f"on the CPU: its version has no {' or '.join(ON_GPU.values())} (docs/gpu.md)"
        engine = chosen
        config.parameters["engine"].string_value = engine
        config.parameters["precision"].string_value = placing.precision
    if not device:
        config.parameters.pop("device", None)  # asking for it above made an empty one
    _place(config, engine, placing)
    precision = config.parameters["precision"].string_value
    numbers = ", ".join(map(str, placing.gpus))
    return text_format.MessageToString(config), f"{engine} {precision} on GPU {numbers}, {placing.processes} on each"


def _place(config: ModelConfig, engine: str, placing: GpuPlacement) -> None:
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    del config.instance_group[:]
    config.instance_group.add(kind=ModelInstanceGroup.KIND_GPU, count=placing.processes, gpus=placing.gpus)
    if engine in TAKES_GPU_MEMORY:
        config.max_batch_size = placing.batch  # a program of torch has no bound of its own
        # Else the server brings every clip back to the host first
        config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value = "no"


def _served_have(model: Path, config: ModelConfig, file: str) -> bool:
    """Whether the versions that are served have that file."""
    versions = sorted((int(path.name) for path in model.iterdir() if path.name.isdecimal()), reverse=True)
    served: Sequence[int] = versions[: max(1, config.version_policy.latest.num_versions)]
    return bool(served) and all(os.path.isfile(model / str(version) / file) for version in served)
