"""Models of independent labels: every engine returns each label's own probability."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tests.support.checkpoints import labels_file, official_resnet, onnx_file
from triton_repo.backends.clip.clip_engines import ENGINES, EngineError, engine_class, load_engine
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model
from triton_repo.zoo.export.reference import origin
from triton_repo.zoo.repository.store import InstalledModel, installed
from triton_repo.zoo.spec import ClipSpec, NetworkSpec, Scoring

LAYERS = torch.nn.Conv2d(3, 6, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 4)
SERVED = NetworkSpec(
    torch.nn.Sequential(*LAYERS),
    "tiny",
    ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=16, crop=16),
    ("a", "b", "c", "d"),
    (0.5,) * 3,
    (0.05,) * 3,
    scoring=Scoring("sigmoid", 2.0, {"a": 0.5, "b": 0.25, "c": 0.125, "d": 1}),
)
F32 = {"INFERENCE_PRECISION_HINT": "f32"}
CLOSE = {"f32": 1e-5, "bf16": 3e-2, "f16": 3e-3}
Add = Callable[..., Result]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Add an ONNX model of pictures of 8 x 8 pixels as `mine`."""

    def run(*more: str | Path, **made: bool) -> Result:
        file = onnx_file(tmp_path / "3.onnx", (1, 3, 8, 8), 3, **made)
        labels = labels_file(tmp_path / "3.txt", 3)
        clip = ("--frames", 1, "--size", 8, "--models", tmp_path / "models")
        return invoke("add", "mine", "--onnx", file, "--labels", labels, *clip, *more)

    return run


def logits_of(model: InstalledModel, clips: np.ndarray) -> np.ndarray:
    """Return the logits of an added ONNX model, from its file."""
    import openvino

    network = openvino.Core().compile_model(origin(model).made_of.path, "CPU", F32)  # type: ignore[union-attr]
    pixels = (clips[:, 0] / 255).transpose(0, 3, 1, 2).astype(np.float32)
    return np.concatenate([network(pixel[None])[0] for pixel in pixels])


def sigmoid(logits: np.ndarray) -> np.ndarray:
    scores: np.ndarray = 1 / (1 + np.exp(-logits))
    return scores


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(SERVED, "tiny", tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("engine", list(ENGINES))
def test_every_engine_answers_independent_probabilities(tiny: Path, engine: str) -> None:
    try:
        precisions = engine_class(engine).precisions()
    except EngineError as error:
        pytest.skip(str(error))
    clips = example_clips(SERVED, 3)
    with torch.inference_mode():
        pixels = (torch.from_numpy(clips[:, 0]).permute(0, 3, 1, 2) / 255 - 0.5) / 0.05
        expected = (SERVED.network.eval()(pixels) / 2).sigmoid().numpy()
    assert np.abs(expected.sum(axis=1) - 1).max() > 0.1
    for precision in precisions:
        if not (tiny / "1" / engine_class(engine).file(precision)).exists():
            engine_files.make(engine, precision, SERVED, tiny / "1")
        model = installed(tiny.parent, "tiny")
        loaded = load_engine(engines.configured(model, Variant(engine, precision)), tiny / "1")
        np.testing.assert_allclose(loaded.infer(clips), expected, atol=CLOSE[precision])


def test_configuration_has_scoring_and_thresholds(tiny: Path) -> None:
    parameters = installed(tiny.parent, "tiny").parameters
    assert {name: parameters[name] for name in ("scores", "temperature", "thresholds")} == {
        "scores": "sigmoid",
        "temperature": "2",
        "thresholds": "0.5, 0.25, 0.125, 1",
    }
    plain = write_model(dataclasses.replace(SERVED, scoring=Scoring()), "plain", tiny.parent)
    assert not {"scores", "temperature", "thresholds"} & installed(plain.parent, "plain").parameters.keys()


def test_added_onnx_model_is_a_sigmoid_and_is_verified(add: Add, tmp_path: Path) -> None:
    result = add("--scores", "sigmoid", "--temperature", 4)
    assert result.exit_code == 0, result.output
    model = installed(tmp_path / "models", "mine")
    clips = np.concatenate(random_clips((1, 8, 8, 3), 4, seed=0))
    expected = sigmoid(logits_of(model, clips) / 4)
    np.testing.assert_allclose(origin(model).network(clips), expected, atol=1e-5)
    every = ("--engine", "openvino", "--engine", "onnxruntime", "--precision", "f32")
    verified = invoke("verify", "mine", "--clips", 4, *every, "--models", tmp_path / "models")
    assert verified.exit_code == 0, verified.output
    assert verified.stdout.count("good") == 2
    assert "same labels at 0.5 or above" in verified.stdout
    shown = invoke("show", "mine", "--models", tmp_path / "models")
    assert "sigmoid, temperature 4" in shown.stdout


def test_bench_handles_a_sigmoid(add: Add, tmp_path: Path) -> None:
    assert add("--scores", "sigmoid").exit_code == 0
    words = ("bench", "mine", "--engine", "openvino", "--seconds", 1, "--clips", 4, "--json", "--models")
    result = invoke(*words, tmp_path / "models")
    assert result.exit_code == 0, result.output
    engine, *_ = [one for one in json.loads(result.stdout)["engines"] if one["precision"] == "f32"]
    assert (engine["good"], engine["same_top_1"]) == (True, 1.0)


def test_added_checkpoint_keeps_its_scoring(tmp_path: Path) -> None:
    file = official_resnet(tmp_path / "resnet18.pth")
    (tmp_path / "thresholds.json").write_text(json.dumps({f"label {n}": n / 1000 for n in range(1000)}))
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"label {n}\n" for n in range(1000)))
    words = ("add", "mine", "--arch", "resnet18", "--weights", file, "--labels", labels, "--size", 32)
    scoring = ("--scores", "sigmoid", "--thresholds", tmp_path / "thresholds.json", "--models", tmp_path / "models")
    result = invoke(*words, *scoring)
    assert result.exit_code == 0, result.output
    model = installed(tmp_path / "models", "mine")
    assert model.parameters["thresholds"].split(", ")[:3] == ["0", "0.001", "0.002"]
    scores = origin(model).network(random_clips((1, 32, 32, 3), 1, seed=0)[0])
    loaded = load_engine(engines.configured(model, Variant("openvino", "f32")), model.served)
    np.testing.assert_allclose(loaded.infer(random_clips((1, 32, 32, 3), 1, seed=0)[0]), scores, atol=1e-3)
    assert abs(scores.sum() - 1) > 0.1


@pytest.mark.parametrize(
    ("thresholds", "more", "message"),
    [
        ("[0.5]", (), "must look like"),
        ('{"class 0": true}', (), "must look like"),
        ("{", (), "is not JSON"),
        ('{"class 0": 0.5}', (), "have none for class 1, class 2"),
        ('{"class 0": 0.5, "class 1": 0.5, "class 2": 0.5, "x": 0.5}', (), "thresholds name x"),
        ('{"class 0": 0.5, "class 1": 0.5, "class 2": 1.5}', (), "class 2 are not from 0 to 1"),
        (None, ("--scores", "sigmoid", "--output", "probabilities"), "they are logits, so leave out --output"),
        (None, ("--scores", "probabilities", "--output", "logits"), "contradict each other"),
        (None, ("--output", "probabilities", "--temperature", "2"), "a temperature needs logits"),
    ],
)
def test_unfit_scoring_is_refused(
    add: Add, tmp_path: Path, thresholds: str | None, more: tuple[str, ...], message: str
) -> None:
    if thresholds is not None:
        (tmp_path / "thresholds.json").write_text(thresholds)
        more = ("--thresholds", str(tmp_path / "thresholds.json"))
    result = add(*more)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "models" / "mine").exists()


def test_probabilities_declared_as_logits_are_refused(add: Add, tmp_path: Path) -> None:
    result = add("--scores", "sigmoid", softmax=True)
    assert "it has a sigmoid already: say --output probabilities" in " ".join(result.stderr.split())
    assert add("--scores", "sigmoid", "--output", "probabilities", softmax=True).exit_code == 0
