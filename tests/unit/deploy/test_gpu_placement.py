"""Placement of models on GPUs: the repository that Triton gets."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from app.settings import Settings
from app.shm import cuda_region
from deploy.gpu import placement
from deploy.gpu.discovery import Driver
from deploy.gpu.placement import GpuPlacement, folder, place_again, write_all
from deploy.stack import launch
from tests.unit.deploy.test_gpu_discovery import FakeDriver

CONFIG = (Path(__file__).resolve().parents[3] / "triton_repo/models/camera_motion/config.pbtxt").read_text()
TWO = GpuPlacement(gpus=(0, 1), processes=3, precision="bf16", batch=16)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run" / "gpu").mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """One model with two versions, both of which torch can run."""
    for version in "12":
        (tmp_path / "models" / "seen" / version).mkdir(parents=True)
        for name in ("model.xml", "model.pt2"):
            (tmp_path / "models" / "seen" / version / name).write_text(f"{name} {version}")
    (tmp_path / "models" / "seen" / "config.pbtxt").write_text(CONFIG)
    (tmp_path / "models" / "seen" / "labels.txt").write_text("a\n")
    return tmp_path / "models"


def config_of(run_dir: Path, name: str = "seen") -> ModelConfig:
    return text_format.Parse((folder(run_dir) / name / "config.pbtxt").read_text(), ModelConfig())


def parameters(config: ModelConfig) -> dict[str, str]:
    return {name: value.string_value for name, value in config.parameters.items()}


def test_instances_per_gpu(models: Path, run_dir: Path) -> None:
    assert write_all(models, run_dir, TWO) == ["seen: torch bf16 on GPU 0, 1, 3 on each"]
    config = config_of(run_dir)
    (group,) = config.instance_group
    assert (group.kind, group.count, list(group.gpus)) == (ModelInstanceGroup.KIND_GPU, 3, [0, 1])
    assert config.max_batch_size == 16
    given = {"engine": "torch", "precision": "bf16"}
    own = text_format.Parse(CONFIG, ModelConfig())
    assert parameters(config) == parameters(own) | given
    assert list(config.output) == list(own.output)
    assert [(tensor.name, list(tensor.dims), tensor.optional) for tensor in config.input] == [
        ("CLIP", list(own.input[0].dims), True),
        (cuda_region.INPUT, [cuda_region.REFERENCE.size], True),
    ]


def test_other_settings_of_the_model_are_kept(models: Path, run_dir: Path) -> None:
    write_all(models, run_dir, TWO)
    place = folder(run_dir) / "seen"
    assert (place / "2" / "model.pt2").read_text() == "model.pt2 2"
    assert (place / "labels.txt").read_text() == "a\n"
    assert (models / "seen" / "config.pbtxt").read_text() == CONFIG


@pytest.mark.parametrize("version", ["1", "2"])
def test_model_too_large_for_every_gpu_is_not_placed(models: Path, run_dir: Path, version: str) -> None:
    (models / "seen" / version / "model.pt2").unlink()
    assert write_all(models, run_dir, TWO) == ["seen: on the CPU: its version has no model.pt2 (docs/gpu.md)"]
    assert (folder(run_dir) / "seen" / "config.pbtxt").read_text() == CONFIG


def with_parameters(**more: str) -> str:
    config = text_format.Parse(CONFIG, ModelConfig())
    for name, value in more.items():
        config.parameters[name].string_value = value
    return text_format.MessageToString(config)


def test_chosen_engine_and_precision_are_kept(models: Path, run_dir: Path) -> None:
    (models / "seen" / "config.pbtxt").write_text(with_parameters(engine="tensorrt", precision="f16"))
    assert write_all(models, run_dir, TWO) == ["seen: tensorrt f16 on GPU 0, 1, 3 on each"]
    config = config_of(run_dir)
    assert config.max_batch_size == 8  # the plan's batch size
    assert [tensor.name for tensor in config.input] == ["CLIP"]


def test_model_set_to_the_cpu_stays_there(models: Path, run_dir: Path) -> None:
    chosen = with_parameters(engine="torch", device="cpu")
    (models / "seen" / "config.pbtxt").write_text(chosen)
    assert write_all(models, run_dir, TWO) == ["seen: on the CPU, as its configuration says"]
    assert (folder(run_dir) / "seen" / "config.pbtxt").read_text() == chosen


def test_damaged_configuration_is_reported_by_triton(models: Path, run_dir: Path) -> None:
    (models / "seen" / "config.pbtxt").write_text("name: {")
    (line,) = write_all(models, run_dir, TWO)
    assert line.startswith("seen: as it is: ")
    assert (folder(run_dir) / "seen" / "config.pbtxt").read_text() == "name: {"


def test_changed_models_are_placed_again(models: Path, run_dir: Path) -> None:
    write_all(models, run_dir, TWO)
    (models / "seen").rename(models / "other")
    place_again(models / "seen", run_dir)
    place_again(models / "other", run_dir)
    assert not (folder(run_dir) / "seen").exists()
    assert config_of(run_dir, "other").instance_group[0].count == 3
    (models / "other" / "2" / "model.pt2").unlink()
    place_again(models / "other", run_dir)
    assert config_of(run_dir, "other").instance_group[0].kind == ModelInstanceGroup.KIND_CPU
    assert [path.name for path in folder(run_dir).glob("[!.]*")] == ["other"]


def test_nothing_is_placed_without_gpus(models: Path, run_dir: Path) -> None:
    place_again(models / "seen", run_dir)
    assert list((run_dir / "gpu").iterdir()) == []


@pytest.mark.parametrize(
    ("driver", "repository", "words"),
    [
        (FakeDriver(), "models", "no GPU, models run on the CPU: NVML: NVML Shared Library Not Found\n"),
        (FakeDriver(100, 1, 100), "../gpu/models", "seen: torch f16 on GPU 0, 2, 4 on each\n"),
    ],
    ids=["without", "with"],
)
def test_start_of_triton_places_models_again(
    models: Path,
    run_dir: Path,
    driver: Driver,
    repository: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    values = {"RUN_DIR": str(run_dir), "MODEL_DIR": str(models), "MAX_PROCESSES_PER_GPU": "4", "GPU_PRECISION": "f16"}
    settings = Settings.from_environment({f"CLIPSTACK_{name}": value for name, value in values.items()})
    write_all(models, run_dir, TWO)  # as an earlier start did
    assert launch.model_repository(settings, driver) == repository
    assert capsys.readouterr().out.count(words) == 1
    assert placement.folder(run_dir).exists() == (repository != "models")
