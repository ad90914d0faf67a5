"""Models added by `clipstack-models`, in the real Triton server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from tritonclient import grpc

from tests.support.checkpoints import labels_file, onnx_file
from tests.support.networks import select_f32
from tests.support.triton_server import running_triton
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.export.reference import origin
from triton_repo.zoo.repository.store import installed


def test_the_latest_version_is_served_and_answers_as_its_source() -> None:
    with tempfile.TemporaryDirectory(prefix="triton-") as name:
        folder = Path(name)
        models = folder / "models"
        for classes in (3, 4):
            file = onnx_file(folder / f"{classes}.onnx", (1, 3, 2, 8, 8), classes)
            labels = labels_file(folder / f"{classes}.txt", classes)
            words = ["add", "mine", "--onnx", file, "--labels", labels, "--frames", 2, "--size", 8, "--models", models]
            result = CliRunner().invoke(main, [str(word) for word in words])
            assert result.exit_code == 0, result.output
        select_f32(models / "mine")
        clips = np.concatenate(random_clips((2, 8, 8, 3), 3, seed=0))
        tensor = grpc.InferInput("CLIP", clips.shape, "UINT8")
        tensor.set_data_from_numpy(clips)
        with running_triton(models, folder) as triton:
            told = triton.get_model_metadata("mine", as_json=True)
            assert told["versions"] == ["2"]
            scores = triton.infer("mine", [tensor]).as_numpy("SCORES")
        source = origin(installed(models, "mine"))
        np.testing.assert_allclose(scores, source.network(clips), atol=1e-5)
