"""Checks of models: complete, small enough for the slots, and answering a test clip."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.doctor.check import Checks, Finding, KnownIssue, ok
from deploy.doctor.context import Context, Skipped

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

MIB = 1 << 20
NETWORK_FILES = ("model.xml", "model.pt2", "model.onnx", "model.plan")  # one per engine; a version may have several

MODEL_INCOMPLETE = KnownIssue(
    name="model incomplete",
    symptom="/readyz names the model. 503 or 404 for requests to it.",
    message="{model}: {reason}.",
    fix="Add it again with clipstack-models. For a bundled model: rm .runtime/stamps/export-* and `make setup`.",
)
CLIP_TOO_LARGE = KnownIssue(
    name="clip larger than a slot",
    symptom="/readyz asks for a larger CLIPSTACK_SLOT_MB.",
    message="A clip of {model} has {clip:.1f} MiB, but a slot has {slot} MiB.",
    fix="Set CLIPSTACK_SLOT_MB to {need}, then run `make down` and `make up`. This needs more shared memory.",
)
CANARY_FAILED = KnownIssue(
    name="test clip not answered",
    symptom="/readyz is not ready, or names the model. 503 for requests to it.",
    message="{model} does not answer a test clip: {reason}.",
    fix="The watchdog restarts Triton if that can help; `make logs` shows the reason. For empty scores see the check "
    "of NumPy.",
)
NOT_LOADED = KnownIssue(
    name="model not loaded",
    symptom="404 or 503 for requests to the model.",
    message="Triton could not load {model}: {reason}.",
    fix="Repair the model's folder. The watchdog then loads it again.",
)

CHECKS = Checks()


@CHECKS.add("model folders", MODEL_INCOMPLETE)
def folders(context: Context) -> Iterator[Finding]:
    """Check that every model folder has a configuration, labels and a network."""
    context.require_triton()
    names = []
    for folder in model_folders(context):
        names.append(folder.name)
        for problem in _problems(folder):
            yield MODEL_INCOMPLETE.finding(model=folder.name, reason=problem)
    yield ok(f"complete: {', '.join(names)}")


@CHECKS.add("clip sizes", CLIP_TOO_LARGE)
def clip_sizes(context: Context) -> Iterator[Finding]:
    """Check that each model's clip fits into a slot."""
    context.require_triton()
    slot, largest = context.settings.slot_mb, 0
    for folder in model_folders(context):
        try:
            clip = _clip_bytes(_config(folder))
        except ValueError:
            continue  # the check of model folders reports it
        largest = max(largest, clip)
        if clip > slot * MIB:
            yield CLIP_TOO_LARGE.finding(model=folder.name, clip=clip / MIB, slot=slot, need=-(-clip // MIB))
    yield ok(f"the largest clip has {largest / MIB:.1f} MiB, a slot {slot} MiB")


@CHECKS.add("canaries", CANARY_FAILED, NOT_LOADED)
def canaries(context: Context) -> Iterator[Finding]:
    """Send a test clip to every model version."""
    from deploy.watchdog.prober import ModelProber, TritonUnreachable

    context.require_running()
    context.require_triton()
    prober = ModelProber(context.settings.triton_target, context.settings.triton_key, context.settings.triton_tls)
    try:
        report = prober.probe()
    except TritonUnreachable as error:
        raise Skipped(f"Triton does not answer: {error}") from error
    finally:
        prober.close()
    for model, canary in report.canaries.items():
        if canary.outcome != "answered":
            yield CANARY_FAILED.finding(model=model, reason=canary.reason)
    for model, reason in report.unloaded.items():
        yield NOT_LOADED.finding(model=model, reason=reason)
    yield ok(f"answered a test clip: {', '.join(report.canaries)}")


def model_folders(context: Context) -> list[Path]:
    """Return the folder of each model."""
    models = context.settings.model_dir
    return sorted(path for path in models.glob("*") if path.is_dir() and path.name[0] != ".")


def _problems(folder: Path) -> Iterator[str]:
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
            yield f"it has {count} labels for {output.dims[0]} outputs"
    versions = [path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()]
    if not versions:
        yield "it has not been exported, so it has no version"
    for version in versions:
        if not any((version / name).is_file() for name in NETWORK_FILES):
            yield f"version {version.name} has no network ({', '.join(NETWORK_FILES)})"


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
    return prod(max(1, dim) for dim in config.input[0].dims)
