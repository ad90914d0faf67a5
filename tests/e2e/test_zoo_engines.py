"""An X3D, a ResNet, and engines other than OpenVINO, in one real Triton server; nightly has every other size."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tritonclient import grpc

from tests.support.checkpoints import official
from tests.support.networks import select_f32
from tests.support.triton_server import running_triton
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.export.reference import origin
from triton_repo.zoo.names import X3D
from triton_repo.zoo.operations import apply
from triton_repo.zoo.repository.store import installed

SIZE, FRAMES = 64, 4  # small for speed: tests/support/parity.py compares the published sizes
OTHERS = [Variant("torch", "f32"), Variant("onnxruntime", "f32")]
SMALL = ("x3d_xs", "resnet18")
CLONED = "x3d_xs"  # also served by each engine


def add(name: str, folder: Path) -> None:
    frames = FRAMES if name in X3D else 1
    file = official(folder, name, replace(published(name).spec, frames=frames, crop=SIZE))
    clip = ["--size", SIZE, *(["--frames", frames] if name in X3D else [])]
    words = ["add", name, "--from-file", file, *clip, "--models", folder / "models"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    select_f32(folder / "models" / name)


def clone(models: Path, variant: Variant) -> None:
    """Copy the model and set another engine, as `bench --apply` does."""
    name = f"{CLONED}_{variant.engine}"
    config = shutil.copytree(models / CLONED, models / name) / "config.pbtxt"
    config.write_text(config.read_text().replace(f'name: "{CLONED}"', f'name: "{name}"'))
    model = installed(models, name)
    with engines.workshop(model) as version:
        engines.load(model, variant, origin(model), version)
        apply.apply(models, model, variant, version)


@contextmanager
def served(names: Sequence[str], variants: Sequence[Variant] = ()) -> Iterator[tuple[grpc.InferenceServerClient, Path]]:
    """Serve these models, and CLONED by these engines; yields a client and the model folder."""
    with tempfile.TemporaryDirectory(prefix="triton-") as name:
        folder = Path(name)
        for model in names:
            add(model, folder)
        for variant in variants:
            clone(folder / "models", variant)
        with running_triton(folder / "models", folder) as client:
            yield client, folder / "models"


def compare_with_source(triton: grpc.InferenceServerClient, models: Path, name: str) -> None:
    model = installed(models, name)
    clips = np.concatenate(random_clips((FRAMES if "x3d" in name else 1, SIZE, SIZE, 3), 3, seed=2))
    tensor = grpc.InferInput("CLIP", clips.shape, "UINT8")
    tensor.set_data_from_numpy(clips)
    scores = triton.infer(name, [tensor]).as_numpy("SCORES")
    wanted = origin(model).network(clips)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-2, "the scores must differ for the comparison to mean anything"
    np.testing.assert_allclose(scores, wanted, atol=1e-3)


@pytest.fixture(scope="module")
def triton() -> Iterator[tuple[grpc.InferenceServerClient, Path]]:
    with served(SMALL, OTHERS) as server:
        yield server


@pytest.mark.timeout(900)  # the first one waits for all to be exported and loaded
@pytest.mark.parametrize("name", [*SMALL, *(f"{CLONED}_{variant.engine}" for variant in OTHERS)])
def test_scores_from_server_are_those_of_source(triton: tuple[grpc.InferenceServerClient, Path], name: str) -> None:
    compare_with_source(*triton, name)
