"""Making an int8 version of an installed model, and installing it."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import ClipstackError
from app.settings import Settings
from triton_repo.backends.clip.clip_engines import Engine, EngineError, engine_class, load_engine
from triton_repo.backends.clip.clip_engines.accuracy import Agreement, compare_scores, is_close
from triton_repo.backends.clip.clip_engines.interface import Clips, Scores
from triton_repo.backends.clip.clip_engines.precision import FILE as BF16_RECORD
from triton_repo.zoo import ModelError
from triton_repo.zoo.benchmark import engines, timing
from triton_repo.zoo.benchmark.clips import clips_of_files
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.export import int8
from triton_repo.zoo.names import BUILT_IN
from triton_repo.zoo.operations.add import Target, install
from triton_repo.zoo.repository import engine_config
from triton_repo.zoo.repository.int8_record import BOUND, Int8Record
from triton_repo.zoo.repository.store import TEXTS, InstalledModel

MIN_FILES = 8
MAX_CLIPS, MAX_BYTES = 400, 1 << 30  # of all clips together
HELD_OUT = 4  # every fourth file is compared on, the others calibrate
COPIED = ("model.xml", "model.bin", "source.json", "weights.safetensors", "training.json")


@dataclass(frozen=True)
class QuantizationData:
    """Clips uint8 (1, T, H, W, 3): those to calibrate on, and those of other files to compare on."""

    calibration: Sequence[Clips]
    held_out: Sequence[Clips]


def check(model: InstalledModel) -> None:
    """Raise ModelError if the model cannot have an int8 version; nothing is decoded before."""
    int8.require_nncf()
    if model.name in BUILT_IN:
        raise ModelError(f"{model.name} is built in, and `make setup` makes it: add a model under a name of its own.")
    engine = engines.own(model).engine
    if engine != "openvino":
        raise ModelError(
            f"{model.name} is served by {engine}; int8 is for OpenVINO on the CPU: set `engine` to openvino first."
        )
    if not (model.served / "model.xml").is_file():
        raise ModelError(f"{model.served} has no model.xml: int8 is for models that OpenVINO can run on the CPU.")


def decode(
    folder: Path, model: InstalledModel, settings: Settings, refused: Callable[[Path, ClipstackError], None]
) -> QuantizationData:
    """Decode clips of the folder's files as the service does, at most MAX_CLIPS of all and MAX_BYTES.

    `refused` receives each file that the service would refuse, and the error.

    Raises:
        ModelError: The folder is missing, or has fewer than MIN_FILES files that the model could look at.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder: --data names a folder of at least {MIN_FILES} files.")
    most = max(MIN_FILES, min(MAX_CLIPS, MAX_BYTES // math.prod(model.clip_shape)))
    files = sorted(path for path in folder.iterdir() if path.is_file())
    files = files[:: -(-len(files) // most)] if files else []
    each = max(1, min(settings.max_clips, most // max(1, len(files))))
    skipped: list[Path] = []

    def skip(file: Path, error: ClipstackError) -> None:
        skipped.append(file)
        refused(file, error)

    compared_on = files[HELD_OUT - 1 :: HELD_OUT]
    parts = [[file for file in files if file not in compared_on], compared_on]
    calibration, held_out = (clips_of_files(part, model, each, settings, skip) if part else [] for part in parts)
    usable = len(files) - len(skipped)
    if usable < MIN_FILES or not calibration or not held_out:
        raise ModelError(
            f"{folder} has {usable} files that {model.name} could look at, and {MIN_FILES} are needed, "
            "better some hundred: of the kind that the service gets."
        )
    return QuantizationData(calibration, held_out)


def make(
    model: InstalledModel, data: QuantizationData, seconds: float, version: Path, say: Callable[[str], None]
) -> Int8Record:
    """Write the int8 version into the folder `version`, measure it and return its record.

    `seconds` is the time to measure the speed.

    Raises:
        ModelError: The model cannot be quantized, or OpenVINO cannot run the result.
    """
    if (model.served / BF16_RECORD).is_file():  # says how layers calculate that are not quantized
        shutil.copyfile(model.served / BF16_RECORD, version / BF16_RECORD)
    file = version / engine_class("openvino").file("int8")
    say(f"calibrating on {len(data.calibration)} clips")
    int8.quantize(model.served / "model.xml", data.calibration, file)
    agreement, ready = _compared(model, data, version)
    if not is_close(agreement, BOUND):
        say("looking for the layers that must not be quantized")
        int8.quantize(model.served / "model.xml", data.calibration, file, int8.MAX_DROP)
        agreement, ready = _compared(model, data, version)
    say(f"measuring for {seconds:g} s")
    record = Int8Record(agreement, len(data.calibration), _rates(model, ready, data.held_out, seconds))
    record.write(version)
    return record


def install_int8(target: Target, model: InstalledModel, made: Path) -> int:
    """Install the version in the folder `made` beside the weights it came from; return its number."""
    labels, config = (_text(model, name) for name in TEXTS)
    config = engine_config.with_engine(config, "openvino", "int8")

    def write(making: Path, version: int) -> None:
        folder = making / target.name
        shutil.copytree(made, folder / str(version))
        for name in COPIED:
            if (model.served / name).is_file():
                shutil.copyfile(model.served / name, folder / str(version) / name)
        for name, text in zip(TEXTS, (labels, config), strict=True):
            (folder / name).write_text(text, encoding="utf-8")

    return install(target, write)


def _text(model: InstalledModel, name: str) -> str:
    return (model.folder / name).read_text(encoding="utf-8")


def _compared(model: InstalledModel, data: QuantizationData, version: Path) -> tuple[Agreement, dict[str, Engine]]:
    """Return the agreement of int8 with f32 on the held-out clips, and an engine for each precision."""
    precisions = engine_class("openvino").precisions()
    ready = {name: engines.load(model, Variant("openvino", name), None, version) for name in precisions}
    try:  # the served version may have an int8 file of its own
        ready["int8"] = load_engine(engines.configured(model, Variant("openvino", "int8")), version)
    except EngineError as error:
        raise ModelError(f"OpenVINO cannot run {model.name} in int8: {error}") from error
    return compare_scores(_scores(ready["int8"], data.held_out), _scores(ready["f32"], data.held_out)), ready


def _scores(engine: Engine, clips: Sequence[Clips]) -> Scores:
    return np.concatenate([engine.infer(clip) for clip in clips])


def _rates(model: InstalledModel, ready: dict[str, Engine], clips: Sequence[Clips], seconds: float) -> dict[str, float]:
    """Return the clips per second of each precision, in the largest batch that all were measured with."""
    most = model.max_batch
    batch = np.concatenate([clips[number % len(clips)] for number in range(most)])
    by_variant = {Variant("openvino", name): engine for name, engine in ready.items()}
    for engine in ready.values():
        engine.warm_up()
    timings = timing.measure(by_variant, batch, sorted({1, most}), seconds)
    size = max(set.intersection(*(set(timing.rates) for timing in timings.values())))
    return {variant.precision: timing.rate(size) for variant, timing in timings.items()}
