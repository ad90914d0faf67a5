"""Other engines of an installed model; their files are made in a temporary folder."""

import copy
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from triton_repo.backends.clip.clip_engines import ENGINES, Engine, EngineError, engine_class, load_engine
from triton_repo.backends.clip.clip_engines.interface import Clips
from triton_repo.backends.clip.clip_engines.precision import AUTO, automatic_precision, read_record
from triton_repo.zoo import ModelError
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.precision import has_bf16
from triton_repo.zoo.export.precision import record as make_record
from triton_repo.zoo.export.reference import Reference
from triton_repo.zoo.repository.store import InstalledModel


class Variant(NamedTuple):
    """Engine and precision to run a model with."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def own(model: InstalledModel) -> Variant:
    """Return the variant that the model's configuration selects on this machine."""
    engine = model.parameters.get("engine", "openvino")
    return Variant(engine, own_precision(model, engine))


def own_precision(model: InstalledModel, engine: str) -> str:
    """Return the precision that the model's configuration selects for `engine` on this machine."""
    precision = model.parameters.get("precision", "f32")
    return automatic(model, engine) if precision == AUTO else precision


def automatic(model: InstalledModel, engine: str) -> str:
    """Return the precision that `auto` stands for on this machine; f32 for an engine that it cannot run."""
    try:
        return automatic_precision(engine, engine_class(engine).precisions(), model.served)
    except EngineError:
        return "f32"


def update_record(model: InstalledModel, clips: Sequence[Clips] = ()) -> None:
    """Measure the served version's accuracy in bf16 if it has no record of what this CPU's instructions give.

    Clips of real videos are a reason to measure again.
    """
    if not os.access(model.served, os.W_OK):
        return  # the models belong to another user
    record = read_record(model.served)
    if clips or record is None or (has_bf16() and not record.is_native):
        make_record(model.served, clips, is_independent=model.is_independent)


def of_this_machine() -> tuple[list[Variant], dict[str, str]]:
    """Return the variants that this machine can run, and the reason for each engine that it cannot run."""
    variants, reasons = [], {}
    for engine in ENGINES:
        try:
            variants += [Variant(engine, precision) for precision in engine_class(engine).precisions()]
        except EngineError as error:
            reasons[engine] = str(error)
    return variants, reasons


def quantized(model: InstalledModel) -> list[Variant]:
    """Return the int8 variant of a version that `clipstack-models quantize` made."""
    return [Variant("openvino", "int8")] if (model.served / engine_class("openvino").file("int8")).is_file() else []


@contextmanager
def workshop(model: InstalledModel) -> Iterator[Path]:
    """Yield a temporary version folder for files that the served version lacks."""
    with tempfile.TemporaryDirectory(prefix="clipstack-models-") as name:
        labels = model.config["output"][0]["label_filename"]
        shutil.copyfile(model.folder / labels, Path(name, labels))
        version = Path(name, "1")
        version.mkdir()
        yield version


def load(model: InstalledModel, variant: Variant, origin: Reference | None, version: Path) -> Engine:
    """Load the model in another engine or precision; missing files are made in `version`.

    Raises:
        ModelError: This machine cannot run the variant, or its file cannot be made (without `origin` none can).
    """
    try:
        cls = engine_class(variant.engine)
        cls.precisions()  # fail before the long export
        if (model.served / cls.file(variant.precision)).is_file():
            version = model.served
        elif not (version / cls.file(variant.precision)).is_file() and variant.engine != "openvino":
            if origin is None:
                raise ModelError("the file it was made from is gone")
            engine_files.make(*variant, origin.made_of, version)
        return load_engine(configured(model, variant), version)
    except (EngineError, ModelError) as error:
        raise ModelError(f"{model.name} cannot be run by {variant}: {error}") from error


def configured(model: InstalledModel, variant: Variant) -> dict[str, object]:
    """Return the model's configuration with the variant's engine; another engine drops the parameter `device`."""
    config = copy.deepcopy(model.config)
    parameters = config["parameters"]
    if variant.engine != own(model).engine:
        parameters.pop("device", None)
    parameters |= {name: {"string_value": value} for name, value in variant._asdict().items()}
    return config
