"""What every engine of the backend promises: the same test for all that this machine can run."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from triton_repo.backends.clip import clip_engines
from triton_repo.backends.clip.clip_engines import ENGINES, EngineError, StreamingEngine, engine_class, load_engine
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model
from triton_repo.zoo.export.spec import ClipSpec, NetworkSpec, Scoring, ServedNetwork

LAYERS = torch.nn.Conv2d(3, 6, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 4)
SERVED = NetworkSpec(
    torch.nn.Sequential(*LAYERS),
    "tiny",
    ClipSpec(kind="image", frames=1, stride=1, fps=30, resize=16, crop=16),
    ("a", "b", "c", "d"),
    (0.5,) * 3,
    (0.05,) * 3,
)
BACKEND = Path(clip_engines.__file__).parents[1]
MAX_BATCH = 4
CLOSE = {"f32": 1e-5, "bf16": 2e-2, "f16": 3e-3}


def config(engine: str, **more: str) -> dict[str, Any]:
    parameters = {"engine": engine, "precision": "f32"} | more
    return {
        "max_batch_size": MAX_BATCH,
        "input": [{"dims": [1, 16, 16, 3]}],
        "output": [{"dims": [4], "label_filename": "labels.txt"}],
        "parameters": {name: {"string_value": value} for name, value in parameters.items()},
    }


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """The name of each engine; skipped, with its own reason, where it cannot run."""
    try:
        engine_class(request.param).precisions()
    except EngineError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(SERVED, "tiny", tmp_path_factory.mktemp("models")) / "1"


@pytest.fixture
def version(engine: str, exported: Path) -> Path:
    """A version's folder with what the engine loads in each precision that this machine has."""
    for precision in engine_class(engine).precisions():
        if not (exported / engine_class(engine).file(precision)).exists():
            engine_files.make(engine, precision, SERVED, exported)
    return exported


def right(clips: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        scores: np.ndarray = ServedNetwork(SERVED).eval()(torch.from_numpy(clips.copy())).numpy()
    return scores


@pytest.mark.parametrize("batch", [1, 2, MAX_BATCH, MAX_BATCH + 3])
def test_every_clip_of_batch_gets_its_own_scores(engine: str, version: Path, batch: int) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, batch)
    first = loaded.infer(clips)
    second = loaded.infer(clips[::-1])
    assert (first.dtype, first.shape) == (np.float32, (batch, 4))
    np.testing.assert_allclose(first, right(clips), atol=1e-5)
    np.testing.assert_allclose(second, first[::-1], atol=1e-5)
    np.testing.assert_allclose(np.concatenate([loaded.infer(clip[None]) for clip in clips]), first, atol=1e-5)


def test_requests_of_one_that_streams_each_get_their_own_answer(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    if not isinstance(loaded, StreamingEngine):
        pytest.skip(f"{engine} answers all requests of a batch together")
    clips = example_clips(SERVED, 12)
    parts = [clips[:1], clips[1:6], np.zeros((2, 1, 8, 8, 3), np.uint8), clips[6:8], clips[8:]]
    for _ in range(3):  # what went wrong takes nothing away from those that come later
        told = [SimpleQueue[np.ndarray | EngineError]() for _ in parts]
        loaded.submit([(part, answer.put) for part, answer in zip(parts, told, strict=True)])
        answers = [answer.get(timeout=10) for answer in told]
        assert isinstance(answers.pop(2), EngineError)
        np.testing.assert_allclose(np.concatenate([answer[:, :4] for answer in answers]), right(clips), atol=1e-5)
        loaded.drain()
        assert all(answer.empty() for answer in told)


def test_concurrent_requests_get_their_own_scores(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    if not isinstance(loaded, StreamingEngine):
        pytest.skip(f"{engine} answers all requests of a batch together")
    clips = example_clips(SERVED, 12)
    asked = [clips[number % 10 : number % 10 + 1 + number % 3] for number in range(300)]
    told = [SimpleQueue[np.ndarray]() for _ in asked]
    for number, (item, answer) in enumerate(zip(asked, told, strict=True)):
        loaded.submit([(item, answer.put)])
        if number % 50 == 0:
            loaded.drain()  # what comes then is alone
            assert answer.qsize() == 1
    answers = [answer.get(timeout=10) for answer in told]
    loaded.drain()
    np.testing.assert_allclose(
        np.concatenate([answer[:, :4] for answer in answers]), right(np.concatenate(asked)), atol=1e-5
    )


def test_scores_are_probabilities_in_every_precision(engine: str, version: Path) -> None:
    clips = example_clips(SERVED, 3)
    for precision in engine_class(engine).precisions():
        scores = load_engine(config(engine, precision=precision), version).infer(clips)
        assert scores.dtype == np.float32, precision
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=CLOSE[precision], err_msg=precision)
        np.testing.assert_allclose(scores, right(clips), atol=CLOSE[precision], err_msg=precision)


def test_read_only_clips_are_not_copied(engine: str, version: Path) -> None:
    clips = example_clips(SERVED, 4)
    clips.flags.writeable = False
    before, every_other = clips.copy(), clips[::2]
    scores = load_engine(config(engine), version).infer(every_other)
    np.testing.assert_allclose(scores, right(before[::2]), atol=1e-5)
    np.testing.assert_array_equal(clips, before)


def test_a_process_may_begin_with_several_clips(engine: str, version: Path) -> None:
    # Libraries initialise at their first use, which may not be safe in two threads
    program = (
        "import json, pathlib, sys; import numpy; sys.setswitchinterval(1e-6)\n"
        "from triton_repo.backends.clip.clip_engines import load_engine\n"
        "engine = load_engine(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        f"print(engine.infer(numpy.zeros(({MAX_BATCH}, 1, 16, 16, 3), numpy.uint8)).shape)"
    )
    command = [sys.executable, "-c", program, json.dumps(config(engine)), str(version)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=BACKEND.parents[2])
    assert done.stdout.strip() == f"({MAX_BATCH}, 4)", done.stderr[-1000:]


def features_of(clips: np.ndarray) -> np.ndarray:
    headless = torch.nn.Sequential(*LAYERS[:-1])
    with torch.no_grad():
        network = ServedNetwork(replace(SERVED, network=headless)).eval()
        features: np.ndarray = network.logits(torch.from_numpy(clips.copy())).numpy()
    return features


@pytest.mark.parametrize("batch", [1, MAX_BATCH + 3])
def test_rows_are_scores_and_features(engine: str, version: Path, batch: int) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, batch)
    rows = loaded.infer_rows(clips)
    assert loaded.features == (6 if engine in ("openvino", "torch") else 0)
    assert rows.shape == (batch, 4 + loaded.features)
    np.testing.assert_allclose(rows[:, :4], right(clips), atol=1e-5)
    if loaded.features:
        np.testing.assert_allclose(rows[:, 4:], features_of(clips), atol=1e-4)


@pytest.mark.parametrize("scoring", [Scoring("sigmoid", 2.0), Scoring("softmax", 0.5)])
def test_features_are_found_behind_temperature_and_sigmoid(tmp_path: Path, scoring: Scoring) -> None:
    served = replace(SERVED, scoring=scoring)
    version = write_model(served, "tiny", tmp_path) / "1"
    engine_files.make("torch", "f32", served, version)
    clips = example_clips(SERVED, 2)
    for name in ("openvino", "torch"):
        rows = load_engine(config(name), version).infer_rows(clips)
        np.testing.assert_allclose(rows[:, 4:], features_of(clips), atol=1e-4, err_msg=name)


def test_network_without_last_linear_layer_has_no_features(tmp_path: Path) -> None:
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    served = replace(SERVED, network=torch.nn.Sequential(*layers))
    version = write_model(served, "tiny", tmp_path) / "1"
    engine_files.make("torch", "f32", served, version)
    for name in ("openvino", "torch"):
        loaded = load_engine(config(name), version)
        assert (loaded.features, loaded.infer_rows(example_clips(served, 2)).shape) == (0, (2, 4)), name


def test_earlier_answers_stay_what_they_were(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, 2)
    first = loaded.infer(clips[:1])
    kept = first.copy()
    loaded.infer(clips[1:])
    np.testing.assert_array_equal(first, kept)


def test_a_file_that_was_not_made_is_named(engine: str, version: Path) -> None:
    file = engine_class(engine).file("f32")
    with pytest.raises(EngineError, match=rf"2/{file} is missing: export the model first"):
        load_engine(config(engine), version.with_name("2"))


def test_a_damaged_file_is_refused(engine: str, version: Path) -> None:
    damaged, file = version.with_name(f"3-{engine}"), engine_class(engine).file("f32")
    damaged.mkdir(exist_ok=True)
    (damaged / file).write_text("<net")
    with pytest.raises(EngineError, match=f"3-{engine}/{file}"):
        load_engine(config(engine), damaged)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("precision", "f7", "precision is 'f7', known are f32, "),
        ("device", "abacus", "device is 'abacus', known are "),
    ],
)
def test_parameters_that_no_engine_knows_are_refused(
    engine: str, version: Path, name: str, value: str, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        load_engine(config(engine, **{name: value}), version)


def test_missing_precision_is_never_replaced_silently(engine: str, version: Path) -> None:
    lacking = [name for name in ("bf16", "f16") if name not in engine_class(engine).precisions()]
    for precision in lacking:
        with pytest.raises(EngineError, match=f"precision is '?{precision}"):
            load_engine(config(engine, precision=precision), version)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("input", [{"dims": [1, 8, 8, 3]}], r"clips of \(1, 8, 8, 3\), the model takes \(1, 16, 16, 3\)"),
        ("output", [{"dims": [5], "label_filename": "labels.txt"}], "says 5 classes, the model gives 4"),
    ],
    ids=["clip", "classes"],
)
def test_a_config_that_contradicts_the_model_is_refused(
    engine: str, version: Path, part: str, value: object, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        load_engine(copy.deepcopy(config(engine)) | {part: value}, version)


def test_an_engine_that_nobody_knows_is_refused(exported: Path) -> None:
    with pytest.raises(EngineError, match="engine is 'abacus', known are openvino, torch, onnxruntime, tensorrt"):
        load_engine(config("abacus"), exported)


def test_an_engine_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.delitem(sys.modules, "triton_repo.backends.clip.clip_engines.tensorrt_engine", raising=False)
    with pytest.raises(EngineError, match="the engine tensorrt needs a package that is not installed here: .*tensorrt"):
        load_engine(config("tensorrt"), exported)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_tensorrt_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    # A fake package with the one name that is read before the GPU
    installed = ModuleType("tensorrt")
    installed.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, severity: None})  # type: ignore[attr-defined]
    module = "triton_repo.backends.clip.clip_engines.tensorrt_engine"
    monkeypatch.setitem(sys.modules, "tensorrt", installed)
    monkeypatch.delitem(sys.modules, module, raising=False)
    try:
        with pytest.raises(EngineError, match="TensorRT needs an NVIDIA GPU, and torch finds none"):
            load_engine(config("tensorrt"), exported)
    finally:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_nothing_is_reported_to_maker_of_engine(name: str, exported: Path, tmp_path: Path) -> None:
    # Telemetry first stores an id: a new home folder must stay empty
    pytest.importorskip(name)
    if name != "openvino" and not (exported / "model.onnx").exists():
        engine_files.make(name, "f32", SERVED, exported)
    code = (
        f"import sys, json; from pathlib import Path; sys.path.insert(0, {str(BACKEND)!r})\n"
        "from clip_engines import load_engine\n"
        "load_engine(json.loads(sys.argv[1]), Path(sys.argv[2])).warm_up()"
    )
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    words = [sys.executable, "-B", "-c", code, json.dumps(config(name)), str(exported)]
    subprocess.run(words, check=True, timeout=120, env={"PATH": os.environ["PATH"]} | places)
    assert list(tmp_path.rglob("*")) == []


def test_openvino_is_served_without_importing_other_engines(exported: Path) -> None:
    # A new process, with the backend's folder on the path as in the server
    code = (
        f"import sys, json; from pathlib import Path; sys.path.insert(0, {str(BACKEND)!r})\n"
        "from clip_engines import load_engine\n"
        "load_engine(json.loads(sys.argv[1]), Path(sys.argv[2]))\n"
        "print({'torch', 'onnxruntime', 'tensorrt', 'triton_repo', 'app'} & set(sys.modules))"
    )
    words = [sys.executable, "-I", "-c", code, json.dumps(config("openvino")), str(exported)]
    assert subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout == "set()\n"
