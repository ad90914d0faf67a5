"""Checks of model weights: complete, unchanged since the model was made, and present in the checkout."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.checks.service.models import folders_of, here
from deploy.doctor.context import Context, Skipped

POINTER = b"version https://git-lfs"
MOST_HASHED = 1 << 30  # bytes; hashing takes a second or two

WEIGHTS_CUT_OFF = KnownIssue(
    "weights cut off", "wrong", "the model does not load, and Triton's log speaks of its weights",
    "{file} has {size} bytes, and the network in {network} needs {need}",
    "add the model again, after a look at the disk; one that comes with it: rm .runtime/stamps/export-*, `make setup`",
)  # fmt: skip
SOURCE_CHANGED = KnownIssue(
    "model made from another file", "warning", "clipstack-models verify refuses the model",
    "{model} was made from {file}, and what lies there now has another checksum",
    "put the file of then back, or add the model again from the one of now",
)  # fmt: skip
NO_COMMITTED_WEIGHTS = KnownIssue(
    "weights missing from the checkout", "wrong", "`make setup` cannot export the models",
    "{file} is {what}",
    "git lfs pull, or take a whole checkout: official weights are never needed for the models that come with it",
)  # fmt: skip


def exported(patient: Context) -> Iterator[Finding]:
    """Check that each OpenVINO network's .bin file is as long as the network's references need."""
    here(patient)
    networks = [path for folder in folders_of(patient) for path in folder.glob("[0-9]*/model.xml")]
    for network in networks:
        parts = re.findall(r'offset="(\d+)" size="(\d+)"', network.read_text(errors="replace"))
        need = max((int(offset) + int(size) for offset, size in parts), default=0)
        file = network.with_suffix(".bin")
        size = file.stat().st_size if file.exists() else 0
        if size < need:
            yield WEIGHTS_CUT_OFF.found(file=file, size=size, network=network.name, need=need)
    yield fine(f"{len(networks)} networks have all their weights")


def sources(patient: Context) -> Iterator[Finding]:
    """Check the files that added models were made from against the recorded checksums; a missing file is fine."""
    here(patient)
    checked = 0
    for path in (path for folder in folders_of(patient) for path in folder.glob("[0-9]*/source.json")):
        record = json.loads(path.read_text())
        file = Path(record["weights"])
        if file.is_file() and file.stat().st_size <= MOST_HASHED:
            checked += 1
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != record["sha256"]:
                    yield SOURCE_CHANGED.found(model=path.parent.parent.name, file=file)
    yield fine(f"{checked} files that models were made from have their checksums")


def committed(patient: Context) -> Iterator[Finding]:
    """Check that the weights of the bundled models are in the checkout; they cannot be downloaded elsewhere."""
    zoo = patient.checkout / "triton_repo" / "zoo"
    if not zoo.is_dir():
        raise Skipped("an image holds exported models only")
    for name in ("camera_motion", "frame_quality"):
        file = zoo / "weights" / f"{name}.safetensors"
        if not file.is_file():
            yield NO_COMMITTED_WEIGHTS.found(file=file, what="missing")
        elif _begins(file, POINTER):
            yield NO_COMMITTED_WEIGHTS.found(file=file, what="only a pointer of Git LFS")
    yield fine("the weights of the models that come with it are in the checkout")


def _begins(file: Path, words: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(words)) == words


CHECKS = (
    Check("exported weights", exported, (WEIGHTS_CUT_OFF,)),
    Check("files of added models", sources, (SOURCE_CHANGED,)),
    Check("committed weights", committed, (NO_COMMITTED_WEIGHTS,)),
)
