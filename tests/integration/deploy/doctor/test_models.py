"""Faults of models, planted."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.doctor.checks.service import models, weights
from deploy.doctor.checks.software import config
from deploy.doctor.context import Context
from tests.support.doctor import altered, found, healthy, named, words, write_model
from triton_repo.zoo.architectures.builtin import OBJECTS
from triton_repo.zoo.architectures.weight_packages import PACKAGES


@pytest.fixture
def context() -> Iterator[Context]:
    with tempfile.TemporaryDirectory(prefix="d-") as folder:  # a path of pytest's may be too long for sockets
        yield healthy(Path(folder))


def test_healthy_models_have_no_finding(context) -> None:
    assert found(context, [*models.CHECKS, *weights.CHECKS]) == set()


def test_no_default_model(context) -> None:
    shutil.rmtree(context.settings.model_dir / "camera")
    assert "'camera'" in words(context, named("start", config), config.CANNOT_START)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("labels.txt", "left\n", "1 labels for 2 outputs"),
        ("labels.txt", None, "no labels"),
        ("config.pbtxt", "name: what", "cannot be read"),
        ("config.pbtxt", None, "no config.pbtxt"),
        ("1/model.xml", None, "version 1 has no network"),
    ],
)
def test_a_model_that_is_incomplete(context, file: str, content: str | None, why: str) -> None:
    write_model(context.settings.model_dir / "other")
    path = context.settings.model_dir / "other" / file
    path.unlink() if content is None else path.write_text(content)
    assert f"other: {'it' if why.startswith('no ') else ''}" in words(context, models.CHECKS, models.MODEL_INCOMPLETE)
    assert why in words(context, models.CHECKS, models.MODEL_INCOMPLETE)


def test_weights_cut_off(context) -> None:
    (context.settings.model_dir / "camera" / "1" / "model.bin").write_bytes(bytes(79))
    assert "has 79 bytes" in words(context, weights.CHECKS, weights.WEIGHTS_TRUNCATED)


@pytest.mark.parametrize("changed", [True, False])
def test_a_model_made_from_another_file(context, tmp_path, changed: bool) -> None:
    file = tmp_path / "best.pth"
    file.write_bytes(b"of then")
    source = {"weights": str(file), "sha256": hashlib.sha256(b"of then").hexdigest()}
    (context.settings.model_dir / "camera" / "1" / "source.json").write_text(json.dumps(source))
    file.write_bytes(b"of now" if changed else b"of then")
    assert bool(words(context, weights.CHECKS, weights.SOURCE_CHANGED)) == changed


@pytest.mark.parametrize("pointer", [True, False])
def test_weights_that_are_not_in_the_checkout(context, pointer: bool) -> None:
    file = context.checkout / "triton_repo/zoo/weights/camera_motion.safetensors"
    file.write_bytes(weights.LFS_POINTER + b".com/spec/v1\n") if pointer else file.unlink()
    result = words(context, weights.CHECKS, weights.NO_BUNDLED_WEIGHTS)
    assert ("pointer" if pointer else "missing") in result


@pytest.mark.parametrize("damaged", [True, False])
def test_downloaded_weights_that_are_damaged(context, monkeypatch: pytest.MonkeyPatch, damaged: bool) -> None:
    package = replace(PACKAGES[OBJECTS], sha256=hashlib.sha256(b"published").hexdigest())
    monkeypatch.setitem(PACKAGES, OBJECTS, package)
    file = context.checkout / ".runtime" / "weights" / Path(package.member).name
    file.parent.mkdir()
    file.write_bytes(b"publish" if damaged else b"published")
    findings = words(context, weights.CHECKS, weights.DOWNLOAD_DAMAGED)
    assert (str(file) in findings) == damaged


def test_a_clip_larger_than_a_slot(context) -> None:
    altered(context.settings.model_dir / "camera" / "config.pbtxt", "[ 8, 56, 56, 3 ]", "[ 64, 224, 224, 3 ]")
    assert "Set CLIPSTACK_SLOT_MB to 10" in words(context, models.CHECKS, models.CLIP_TOO_LARGE)
