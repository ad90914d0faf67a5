"""Engines of an added model other than the one it is served by: what they load is made in a folder of their own."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from triton_repo.backends.clip.clip_engines import ENGINES, Engine, EngineError, engine_class, load_engine
from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.reference import Reference
from triton_repo.zoo.repository.store import InstalledModel


class Variant(NamedTuple):
    """A way to run a model."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"


def own(model: InstalledModel) -> Variant:
    """The one that the model's configuration names."""
    return Variant(model.parameters.get("engine", "openvino"), model.parameters.get("precision", "f32"))


def of_this_machine() -> tuple[list[Variant], dict[str, str]]:
    """What this machine can run, and why it cannot run the other engines."""
    can, cannot = [], {}
    for engine in ENGINES:
        try:
            can += [Variant(engine, precision) for precision in engine_class(engine).precisions()]
        except EngineError as error:
            cannot[engine] = str(error)
    return can, cannot


@contextmanager
def workshop(model: InstalledModel) -> Iterator[Path]:
    """An empty version's folder, gone afterwards, for files that the served version has not."""
    with tempfile.TemporaryDirectory(prefix="clipstack-models-") as name:
        labels = model.config["output"][0]["label_filename"]
        shutil.copyfile(model.folder / labels, Path(name, labels))
        version = Path(name, "1")
        version.mkdir()
        yield version


def load(model: InstalledModel, variant: Variant, origin: Reference | None, version: Path) -> Engine:
    """The model in another engine or precision; what it needs is made in `version` unless the served one has it.

    ModelError when this machine cannot run it, or its file cannot be made: without an origin nothing can.
    """
    try:
        chosen = engine_class(variant.engine)
        chosen.precisions()  # raises before the long work
        if (model.served / chosen.file(variant.precision)).is_file():
            version = model.served
        elif not (version / chosen.file(variant.precision)).is_file() and variant.engine != "openvino":
            if origin is None:
                raise ModelError("the file it was made from is gone")
            engine_files.make(*variant, origin.made_of, version)
        return load_engine(configured(model, variant), version)
    except (EngineError, ModelError) as error:
        raise ModelError(f"{model.name} cannot be run by {variant}: {error}") from error


def configured(model: InstalledModel, variant: Variant) -> dict[str, object]:
    """The model's configuration with another engine; a device is that of the engine it was chosen for."""
    config = copy.deepcopy(model.config)
    parameters = config["parameters"]
    if variant.engine != own(model).engine:
        parameters.pop("device", None)
    parameters |= {name: {"string_value": value} for name, value in variant._asdict().items()}
    return config


__all__ = ["Variant", "configured", "load", "of_this_machine", "own", "workshop"]
