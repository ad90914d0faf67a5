"""Writes model folders that the backend `clip` serves.

    .venv/bin/python -m triton_repo.zoo.export.openvino frame_quality
    .venv/bin/python -m triton_repo.zoo.export.openvino frame_quality --gpu

A model folder holds `config.pbtxt`, `labels.txt` and `<version>/model.xml` with `model.bin`; where there is a GPU, or
for another machine that has one (--gpu), also `<version>/model.pt2`, by which the model can be placed on it. The
exported model is checked against the network it came from before it takes its place, and its accuracy in bf16 is
recorded in `precision.json`.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

# Disable OpenVINO's telemetry, as in the backend.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

from triton_repo.backends.clip.clip_engines import EngineError  # noqa: E402
from triton_repo.zoo import ModelError  # noqa: E402
from triton_repo.zoo.architectures.builtin import DEFAULTS  # noqa: E402
from triton_repo.zoo.export import engine_files, precision  # noqa: E402
from triton_repo.zoo.repository import engine_config  # noqa: E402
from triton_repo.zoo.repository.sources import Source  # noqa: E402
from triton_repo.zoo.spec import NetworkSpec, ServedNetwork, config_text  # noqa: E402

MODELS = Path(__file__).parents[2] / "models"
# Largest difference of a probability between the exported model and torch, both in float32. The order of additions
# alone makes 1.1e-4 in a ResNet-101; a mistake makes far more.
TOLERANCE = 1e-3


class ExportMismatch(Exception):
    """The exported model's scores differ from the network's."""


def example_clips(served: NetworkSpec | Source, count: int) -> NDArray[np.uint8]:
    """Return uint8 (count, frames, crop, crop, 3): smooth coloured noise, the same on every call."""
    spec = served.spec
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, spec.frames, 8, 8, 3), dtype=np.uint8)
    repeats = -(-spec.crop // 8)
    return coarse.repeat(repeats, axis=2).repeat(repeats, axis=3)[:, :, : spec.crop, : spec.crop].copy()


def convert(served: NetworkSpec) -> openvino.Model:
    """Return the served network in OpenVINO: uint8 (?, frames, crop, crop, 3) -> float32 (?, classes).

    The input is called `CLIP`, the output `SCORES`.
    """
    return convert_module(ServedNetwork(served).eval(), served)


def convert_module(network: nn.Module, served: NetworkSpec) -> openvino.Model:
    """Return a module in OpenVINO that takes the clips of `served`, uint8 (?, frames, crop, crop, 3).

    The input is called `CLIP`, the output `SCORES`.
    """
    example = torch.from_numpy(example_clips(served, 2))
    with torch.no_grad(), warnings.catch_warnings():
        # The converter uses torch.jit, which torch calls deprecated.
        warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
        # A clip's size is constant; only the number of clips varies.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python")
        # largest_difference checks the result; torch's own check doubles the time.
        traced = torch.jit.trace(network, example, strict=False, check_trace=False)
        model = openvino.convert_model(traced, example_input=example, input=(-1, *example.shape[1:]))
    model.inputs[0].set_names({"CLIP"})
    model.outputs[0].set_names({"SCORES"})
    return model


def largest_difference(served: NetworkSpec, path: Path) -> float:
    """Return the largest difference between the probabilities of the saved model and the network, over three clips."""
    clips = example_clips(served, 3)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    scores = openvino.Core().compile_model(path, "CPU", hints)(clips)["SCORES"]
    with torch.no_grad():
        expected = ServedNetwork(served).eval()(torch.from_numpy(clips)).numpy()
    return float(np.abs(scores - expected).max())


def write_model(served: NetworkSpec, name: str, models: Path, version: int = 1, gpu: bool | None = None) -> Path:
    """Write the model folder `models/name` and return it.

    The version is completed in a temporary folder and renamed into place, so no server sees half of it. An engine that
    was selected for the model stays selected, and its file is made too.

    Args:
        served: The network to export.
        name: Name of the model.
        models: Folder of the model folders.
        version: Number of the version.
        gpu: Whether to make the file for GPUs too; by default, if this machine has a GPU.

    Raises:
        ExportMismatch: The exported model's scores differ from the network's.
    """
    folder = models / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as making:
        new, final = Path(making, "new"), folder / str(version)
        new.mkdir()
        openvino.save_model(convert(served), new / "model.xml", compress_to_fp16=False)
        difference = largest_difference(served, new / "model.xml")
        if not difference <= TOLERANCE:
            raise ExportMismatch(f"the exported model is off by {difference:.2g}, allowed is {TOLERANCE:g}")
        precision.record(new, is_independent=served.scoring.kind == "sigmoid")
        config, text = folder / "config.pbtxt", config_text(name, served)
        engine = engine_config.engine_of(config.read_text(encoding="utf-8") if config.exists() else text)
        if engine[0] != "openvino":
            engine_files.make(*engine, served, new)
        if engine[0] != "torch" and (torch.cuda.is_available() if gpu is None else gpu):
            engine_files.make("torch", "f32", served, new)
        engine_config.write(folder / "labels.txt", "".join(f"{label}\n" for label in served.labels))
        engine_config.write(config, engine_config.with_engine(text, *engine))
        if final.exists():
            final.rename(Path(making, "old"))
        new.rename(final)
    return folder


def main() -> int:
    """Export the built-in model that the command line names and return the exit code."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("model", choices=DEFAULTS)
    parser.add_argument("--weights", type=Path, help="other weights than those that come with the model")
    parser.add_argument("--gpu", action="store_true", default=None, help="for a GPU too, also where there is none")
    parser.add_argument("--output", type=Path, default=MODELS, help="folder of the model folders")
    arguments = parser.parse_args()
    try:
        build = DEFAULTS[arguments.model]
        served = build(arguments.weights) if arguments.weights else build()
        folder = write_model(served, arguments.model, arguments.output, gpu=arguments.gpu)
    except (OSError, ValueError, RuntimeError, ExportMismatch, ModelError, EngineError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
