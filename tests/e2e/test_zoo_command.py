"""Models added by `clipstack-models`, in the real Triton server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from tritonclient import grpc

from tests.support.checkpoints import labels_file, onnx_file
from tests.support.networks import select_f32, tiny_picture
from tests.support.triton_server import running_triton
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.benchmark.engines import workshop
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.export.openvino import write_model
from triton_repo.zoo.export.reference import origin
from triton_repo.zoo.operations import quantize as quantization
from triton_repo.zoo.operations.add import Target
from triton_repo.zoo.operations.quantize import QuantizationData
from triton_repo.zoo.repository.server import TritonServer
from triton_repo.zoo.repository.store import installed


def scores_of(
    triton: grpc.InferenceServerClient, clip: np.ndarray, parameters: dict[str, bool] | None = None
) -> np.ndarray:
    tensor = grpc.InferInput("CLIP", clip.shape, "UINT8")
    tensor.set_data_from_numpy(clip)
    return triton.infer("mine", [tensor], parameters=parameters).as_numpy("SCORES")


def test_latest_version_is_served_with_the_scores_of_its_source() -> None:
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
            metadata = triton.get_model_metadata("mine", as_json=True)
            assert metadata["versions"] == ["2"]
            scores = triton.infer("mine", [tensor]).as_numpy("SCORES")
        source = origin(installed(models, "mine"))
        np.testing.assert_allclose(scores, source.network(clips), atol=1e-5)


def test_quantized_version_replaces_the_running_one() -> None:
    with tempfile.TemporaryDirectory(prefix="triton-") as name:
        models = Path(name) / "models"
        write_model(tiny_picture(), "mine", models)
        clips = random_clips((1, 32, 32, 3), 8, seed=1)
        with running_triton(models, Path(name)) as triton, workshop(installed(models, "mine")) as made:
            exact = scores_of(triton, clips[0])
            model = installed(models, "mine")
            data = QuantizationData(clips[:6], clips[6:])
            quantization.make(model, data, 1, made, lambda words: None)
            target = Target(models, "mine", TritonServer(triton, 1 << 20), lambda words: None)
            assert quantization.install_int8(target, model, made) == 2
            difference = np.abs(scores_of(triton, clips[0]) - exact).max()
            assert triton.get_model_metadata("mine", as_json=True)["versions"] == ["2"]
            fingerprint = scores_of(triton, clips[0], {"clipstack_fingerprint": True}).ravel()
            assert bytes(fingerprint[33:].astype(np.uint8)).split()[0] == b"int8"
        assert 0 < difference < 0.3
