"""The real Triton on a folder of placed models: no GPU is needed to see that links and configuration are understood."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient import grpc
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from deploy.gpu.placement import GpuPlacement, folder, write_all
from tests.e2e.test_triton_backend import inline, wanted
from tests.support.networks import served_video
from tests.support.triton_server import running_triton
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model


def test_triton_serves_placed_model_by_torch_from_its_links(tmp_path: Path) -> None:
    served = served_video()
    version = write_model(served, "video", tmp_path / "models") / "1"
    engine_files.make("torch", "f32", served, version)
    (tmp_path / "run" / "gpu").mkdir(parents=True)
    write_all(tmp_path / "models", tmp_path / "run", GpuPlacement((0,), 2, "f32", 16))
    placed = folder(tmp_path / "run") / "video" / "config.pbtxt"
    config = text_format.Parse(placed.read_text(), ModelConfig())
    assert config.instance_group[0].kind == ModelInstanceGroup.KIND_GPU
    # The device cannot exist here
    del config.instance_group[0].gpus[:]
    config.instance_group[0].kind = ModelInstanceGroup.KIND_CPU
    placed.write_text(text_format.MessageToString(config))
    with running_triton(folder(tmp_path / "run"), tmp_path / "triton") as client:
        clips = example_clips(served, 3)
        scores = client.infer("video", inline(clips)).as_numpy("SCORES")
        loaded = client.get_model_config("video").config
    np.testing.assert_allclose(scores, wanted(served, clips), atol=1e-4)
    assert (loaded.instance_group[0].count, loaded.max_batch_size) == (2, 16)
    assert [tensor.name for tensor in loaded.input if tensor.optional] == ["CLIP", "GPU_CLIP"]


def test_gpu_model_is_refused_without_a_gpu(tmp_path: Path) -> None:
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("there is a GPU here")
    write_model(served_video(), "video", tmp_path / "models")
    config = tmp_path / "models" / "video" / "config.pbtxt"
    config.write_text(config.read_text().replace("kind: KIND_CPU", "kind: KIND_GPU gpus: [ 0 ]"))
    with running_triton(tmp_path / "models", tmp_path / "triton") as client:
        with pytest.raises(grpc.InferenceServerException):
            client.infer("video", inline(example_clips(served_video(), 1)))
        assert client.is_server_live()
    assert "GPU" in (tmp_path / "triton" / "triton.log").read_text()
