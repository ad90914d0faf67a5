"""Checks of model weights: complete, unchanged since the model was made, and present in the checkout."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.checks.service.models import model_folders
from deploy.doctor.context import Context, Skipped

LFS_POINTER = b"version https://git-lfs"
MAX_HASHED_BYTES = 1 << 30  # hashing that much takes a second or two

WEIGHTS_TRUNCATED = KnownIssue(
    name="weights truncated",
    symptom="The model does not load, and Triton's log mentions its weights.",
    message="{file} has {size} bytes, but its network {network} needs {need}.",
    fix="Check the disk, then add the model again. For a bundled model: rm .runtime/stamps/export-* and `make setup`.",
)
SOURCE_CHANGED = known_warning(
    name="source weights changed",
    symptom="clipstack-models verify refuses the model.",
    message="{model} was made from {file}, which has changed since.",
    fix="Restore the old file, or add the model again from the new one.",
)
NO_BUNDLED_WEIGHTS = KnownIssue(
    name="bundled weights missing",
    symptom="`make setup` cannot export the models.",
    message="{file} is {state}.",
    fix="Run `git lfs pull`, or get a complete checkout.",
)
DOWNLOAD_DAMAGED = known_warning(
    name="downloaded weights damaged",
    symptom="`make setup` downloads the weights of objects again.",
    message="{file} is not the file that {package} {version} has (SHA-256).",
    fix="Check the disk and delete the file. `make setup` downloads it again when it needs it.",
)

CHECKS = Checks()


@CHECKS.add("exported weights", WEIGHTS_TRUNCATED)
def exported(context: Context) -> Iterator[Finding]:
    """Check that each OpenVINO network's .bin file is as long as the network's references need."""
    context.require_triton()
    networks = [path for folder in model_folders(context) for path in folder.glob("[0-9]*/model.xml")]
    for network in networks:
        references = re.findall(r'offset="(\d+)" size="(\d+)"', network.read_text(errors="replace"))
        need = max((int(offset) + int(size) for offset, size in references), default=0)
        file = network.with_suffix(".bin")
        size = file.stat().st_size if file.exists() else 0
        if size < need:
            yield WEIGHTS_TRUNCATED.finding(file=file, size=size, network=network.name, need=need)
    yield ok(f"the weights of {len(networks)} networks are complete")


@CHECKS.add("source weights", SOURCE_CHANGED)
def sources(context: Context) -> Iterator[Finding]:
    """Check the files that added models were made from against the recorded checksums; a missing file is fine."""
    context.require_triton()
    checked = 0
    for path in (path for folder in model_folders(context) for path in folder.glob("[0-9]*/source.json")):
        record = json.loads(path.read_text())
        file = Path(record["weights"])
        if file.is_file() and file.stat().st_size <= MAX_HASHED_BYTES:
            checked += 1
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != record["sha256"]:
                    yield SOURCE_CHANGED.finding(model=path.parent.parent.name, file=file)
    yield ok(f"{checked} files of added models are unchanged" if checked else "no added model whose file is still here")


@CHECKS.add("bundled weights", NO_BUNDLED_WEIGHTS)
def bundled(context: Context) -> Iterator[Finding]:
    """Check that the weights of the bundled models are in the checkout; they cannot be downloaded elsewhere."""
    zoo = context.checkout / "triton_repo" / "zoo"
    if not zoo.is_dir():
        raise Skipped("an image contains exported models only")
    for name in ("camera_motion", "frame_quality"):
        file = zoo / "weights" / f"{name}.safetensors"
        if not file.is_file():
            yield NO_BUNDLED_WEIGHTS.finding(file=file, state="missing")
        elif _starts_with(file, LFS_POINTER):
            yield NO_BUNDLED_WEIGHTS.finding(file=file, state="only a pointer of Git LFS")
    yield ok("the weights of the bundled models are in the checkout")


@CHECKS.add("downloaded weights", DOWNLOAD_DAMAGED)
def downloaded(context: Context) -> Iterator[Finding]:
    """Check the downloaded weights of built-in models against the pinned checksums; a missing file is fine."""
    if not (context.checkout / "triton_repo" / "zoo").is_dir():
        raise Skipped("an image contains exported models only")
    from triton_repo.zoo.architectures.weight_packages import PACKAGES

    checked = 0
    for package in PACKAGES.values():
        file = context.checkout / ".runtime" / "weights" / Path(package.member).name
        if not file.is_file():
            continue
        checked += 1
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != package.sha256:
                yield DOWNLOAD_DAMAGED.finding(file=file, package=package.name, version=package.version)
    yield ok(f"{checked} downloaded files of weights are unchanged" if checked else "no downloaded weights are here")


def _starts_with(file: Path, prefix: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(prefix)) == prefix
