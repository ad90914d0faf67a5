"""Checks of models: complete, small enough for the slots, and answering a canary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import preflight

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

MIB = 1 << 20
FILES = ("model.xml", "model.pt2", "model.onnx", "model.plan")  # one per engine; a version may have several

NO_DEFAULT_MODEL = KnownIssue(
    "no default model", "wrong", "`make up` refuses; 404 model_not_found for requests that name no model",
    "{complaint}",
    "`make setup` exports the models that come with it; or set CLIPSTACK_MODEL to one of `ls {folder}`",
)  # fmt: skip
MODEL_INCOMPLETE = KnownIssue(
    "model incomplete", "wrong", "/readyz names the model; 503 or 404 for requests to it",
    "{model}: {why}",
    "add it again with clipstack-models; of the models that come with it: rm .runtime/stamps/export-*, `make setup`",
)  # fmt: skip
CLIP_TOO_LARGE = KnownIssue(
    "clip larger than a slot", "wrong", "/readyz says that a clip needs a larger CLIPSTACK_SLOT_MB",
    "a clip of {model} has {clip:.1f} MiB, and a slot {slot} MiB",
    "set CLIPSTACK_SLOT_MB to {need}, and look at shared memory; then `make down` and `make up`",
)  # fmt: skip
CANARY_FAILED = KnownIssue(
    "canary not answered", "wrong", "/readyz says not ready, or names the model; 503 for requests to it",
    "{model} does not answer: {why}",
    "the watchdog restarts Triton when it must; `make logs` says why. Empty scores: see NumPy",
)  # fmt: skip
NOT_LOADED = KnownIssue(
    "model not loaded", "wrong", "404 or 503 for requests to the model",
    "Triton could not load {model}: {why}",
    "mend what it says, in the model's folder; the watchdog then has it loaded again, or restart triton",
)  # fmt: skip


def default(patient: Context) -> Iterator[Finding]:
    """Check that the default model has been exported."""
    here(patient)
    for complaint in preflight.models(patient.settings):
        yield NO_DEFAULT_MODEL.found(complaint=complaint.partition(":")[0], folder=patient.settings.model_dir)
    yield fine(f"{patient.settings.model} is there")


def folders(patient: Context) -> Iterator[Finding]:
    """Check that every model folder has a configuration, labels and a network."""
    here(patient)
    names = []
    for folder in folders_of(patient):
        names.append(folder.name)
        for why in _missing(folder):
            yield MODEL_INCOMPLETE.found(model=folder.name, why=why)
    yield fine(f"{', '.join(names)}: configuration, labels and network")


def clips(patient: Context) -> Iterator[Finding]:
    """Check that each model's clip fits into a slot."""
    here(patient)
    largest = 0
    for folder in folders_of(patient):
        try:
            clip = _clip_bytes(_config(folder))
        except ValueError:
            continue  # the check of model folders reports it
        largest = max(largest, clip)
        if clip > patient.settings.slot_mb * MIB:
            slot, need = patient.settings.slot_mb, -(-clip // MIB)
            yield CLIP_TOO_LARGE.found(model=folder.name, clip=clip / MIB, slot=slot, need=need)
    yield fine(f"the largest has {largest / MIB:.1f} MiB, a slot {patient.settings.slot_mb} MiB")


def canaries(patient: Context) -> Iterator[Finding]:
    """Send a canary to every model version."""
    from deploy.watchdog.prober import ModelProber, TritonUnreachable

    patient.running()
    here(patient)
    prober = ModelProber(patient.settings.triton_target, patient.settings.triton_key)
    try:
        report = prober.ask()
    except TritonUnreachable as error:
        raise Skipped(f"Triton does not answer: {error}") from error
    finally:
        prober.close()
    for model, canary in report.canaries.items():
        if canary.outcome != "answered":
            yield CANARY_FAILED.found(model=model, why=canary.why)
    for model, why in report.unloaded.items():
        yield NOT_LOADED.found(model=model, why=why)
    yield fine(f"{', '.join(report.canaries)} answered a black clip")


def here(patient: Context) -> None:
    """Raise Skipped when the models are in another container."""
    if not patient.has_triton:
        raise Skipped("models are in another container")


def folders_of(patient: Context) -> list[Path]:
    """Return the folder of each model."""
    models = patient.settings.model_dir
    return sorted(path for path in models.glob("*") if path.is_dir() and path.name[0] != ".")


def _missing(folder: Path) -> Iterator[str]:
    try:
        config = _config(folder)
    except ValueError as error:
        yield str(error)
        return
    for output in config.output:
        labels = folder / output.label_filename
        if not output.label_filename or not labels.is_file():
            yield "it has no labels"
        elif (count := len(labels.read_text().strip().splitlines())) != output.dims[0]:
            yield f"it has {count} labels and {output.dims[0]} outputs"
    versions = [path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()]
    if not versions:
        yield "it was not exported: it has no version"
    for version in versions:
        if not any((version / name).is_file() for name in FILES):
            yield f"version {version.name} has no network ({', '.join(FILES)})"


def _config(folder: Path) -> ModelConfig:
    """Return the model's configuration; raise ValueError when it cannot be read."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    path = folder / "config.pbtxt"
    if not path.is_file():
        raise ValueError("it has no config.pbtxt")
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"config.pbtxt cannot be read: {error}") from error


def _clip_bytes(config: ModelConfig) -> int:
    """Return the size of a uint8 clip in bytes; raise ValueError when the model has no input."""
    if not config.input:
        raise ValueError("it has no input")
    count = 1
    for dim in config.input[0].dims:
        count *= max(1, dim)
    return count


CHECKS = (
    Check("default model", default, (NO_DEFAULT_MODEL,)),
    Check("model folders", folders, (MODEL_INCOMPLETE,)),
    Check("clips and slots", clips, (CLIP_TOO_LARGE,)),
    Check("canaries", canaries, (CANARY_FAILED, NOT_LOADED)),
)
