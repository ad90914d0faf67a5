"""`clipstack-models bench`, and its recommendation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.support.checkpoints import labels_file, official_resnet, onnx_file
from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark.accuracy import AccuracyRow, row
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.benchmark.timing import Result as Measured
from triton_repo.zoo.benchmark.timing import Timing, best, hopeless, measure
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.repository import engine_config
from triton_repo.zoo.repository.store import installed

WEIGHTS = Path(published("resnet18").url).name


def invoke(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of ResNet-18, and models/resnet18 made from them for small pictures."""
    folder = tmp_path_factory.mktemp("resnet")
    file = official_resnet(folder / WEIGHTS)
    result = invoke("add", "resnet18", "--from-file", file, "--size", 32, "--models", folder / "models")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def models(resnet: Path, tmp_path: Path) -> Path:
    return shutil.copytree(resnet / "models", tmp_path / "models")


def bench(models: Path, *more: str | int) -> Result:
    return invoke("bench", "resnet18", "--seconds", 1, "--clips", 4, "--models", models, *more)


def test_table_lists_engines_and_reasons(models: Path) -> None:
    config = (models / "resnet18" / "config.pbtxt").read_text()
    result = bench(models)
    assert result.exit_code == 0, result.output
    assert "openvino f32" in result.stdout
    assert "torch f32" in result.stdout
    assert "recommended: " in result.stderr
    assert "▶ " in result.stdout
    assert (models / "resnet18" / "config.pbtxt").read_text() == config, "nothing is changed without --apply"
    assert sorted(path.name for path in installed(models, "resnet18").served.iterdir()) == [
        "config.pbtxt",
        "labels.txt",
        "model.bin",
        "model.xml",
        "precision.json",
        "source.json",
    ]


def test_apply_serves_the_recommended_engine(models: Path) -> None:
    result = bench(models, "--engine", "torch", "--apply", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert {entry["engine"] for entry in facts["engines"]} == {"torch"}
    model = installed(models, "resnet18")
    assert model.parameters["engine"] == facts["recommended"]["engine"] == "torch"
    assert model.parameters["precision"] == facts["recommended"]["precision"]
    assert (model.served / "model.pt2").is_file()
    assert "resnet18 now uses torch" in result.stderr
    assert invoke("verify", "resnet18", "--clips", 2, "--models", models).exit_code == 0
    assert sorted(path.name for path in models.iterdir()) == ["resnet18"]


def test_only_existing_engines_are_measured_without_source(models: Path) -> None:
    source = models / "resnet18" / "1" / "source.json"
    source.write_text(source.read_text().replace(WEIGHTS, "gone.pth"))
    result = bench(models, "--engine", "openvino", "--engine", "torch", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert {entry["engine"] for entry in facts["engines"]} == {"openvino"}
    assert "gone.pth, which resnet18 was made from, is gone" in facts["absent"]["torch f32"]


def test_inaccurate_engine_is_not_recommended(tmp_path: Path) -> None:
    file, labels = onnx_file(tmp_path / "m.onnx", (1, 3, 2, 8, 8), 3), labels_file(tmp_path / "l.txt", 3)
    add = ("add", "mine", "--onnx", file, "--labels", labels, "--frames", 2, "--size", 8, "--models", tmp_path)
    assert invoke(*add).exit_code == 0
    assert invoke(*add, "--std", "0.1").exit_code == 0
    for name in ("model.xml", "model.bin"):
        shutil.copy(tmp_path / "mine" / "1" / name, tmp_path / "mine" / "2" / name)
    config = (tmp_path / "mine" / "config.pbtxt").read_text()
    words = ("bench", "mine", "--seconds", 1, "--models", tmp_path, "--engine", "openvino", "--apply")
    result = invoke(*words)
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert "the scores of every engine differ from the source of mine: none is recommended" in result.stderr
    assert (tmp_path / "mine" / "config.pbtxt").read_text() == config


# --- The recommendation ---


class Engines:
    """Engines with given times, by a clock that only they advance."""

    def __init__(self, **seconds: float) -> None:
        self.now_s = 0.0
        self.batches: dict[str, list[int]] = {name: [] for name in seconds}
        self.engines = {Variant(name, "f32"): self.engine(name, item) for name, item in seconds.items()}

    def engine(self, name: str, seconds: float) -> object:
        def infer(clips: np.ndarray) -> np.ndarray:
            self.batches[name].append(len(clips))
            self.now_s += seconds * len(clips)
            return np.full((len(clips), 2), 0.5, np.float32)

        return SimpleNamespace(infer=infer)


def measured(engine: str, lone_s: float, rate: float, largest: float = 0.0) -> Measured:
    timing = Timing([lone_s] * 3, {1: [1 / lone_s] * 3, 8: [rate] * 3})
    return Measured(
        Variant(engine, "f32"), timing, AccuracyRow(engine, "f32", "random", 4, 0, largest, largest, 1.0, 1.0)
    )


def test_engines_take_turns_at_every_batch() -> None:
    made = Engines(quick=1e-3, slow=0.05)
    timings = measure(made.engines, np.zeros((8, 1, 2, 2, 3), np.uint8), (1, 4, 8), 0.6, lambda: made.now_s)
    assert set(made.batches["quick"]) == {1, 4, 8}
    assert set(made.batches["slow"]) == {1}, "a batch of 4 takes longer than its share, 0.1 s"
    quick = timings[Variant("quick", "f32")]
    assert len(quick.lone_s) == made.batches["quick"].count(1)
    assert (quick.p(50), quick.rate(8), quick.spread) == pytest.approx((1, 1000, 0))
    assert 0.3 < made.now_s < 0.7


def test_engine_too_slow_to_win_is_skipped() -> None:
    fast, slow, slower = (Variant(name, "f32") for name in ("fast", "slow", "slower"))
    assert hopeless({fast: 0.1, slow: 0.4, slower: 3.0}, seconds=10) == {slower}
    assert hopeless({fast: 0.001, slow: 0.1}, seconds=10) == set(), "there is time for it"


def test_fastest_accurate_engine_wins() -> None:
    present = Variant("openvino", "f32")
    slow, fast, wrong = (
        measured("openvino", 0.02, 60),
        measured("torch", 0.01, 120),
        measured("onnxruntime", 0.001, 1e3, largest=0.1),
    )
    assert best([slow, fast, wrong], present) is fast
    assert best([wrong], present) is None


def test_current_engine_stays_unless_another_is_clearly_faster() -> None:
    present, near = measured("openvino", 0.0102, 98), measured("torch", 0.01, 100)
    assert best([present, near], present.variant) is present
    assert best([present, near], Variant("onnxruntime", "f32")) is near


def test_near_ties_are_reported_and_not_counted() -> None:
    right = np.array([[0.6, 0.3, 0.1], [0.41, 0.4, 0.19], [0.2, 0.7, 0.1]], np.float32)
    swapped = right[:, [1, 0, 2]]
    answers = np.stack([right[0], swapped[1], right[2]])
    result = row(Variant("openvino", "bf16"), "random", answers, right)
    assert (result.clips, result.ties, result.top_1, round(result.same, 2)) == (3, 1, 1.0, 0.67)
    assert result.good
    clear = row(Variant("openvino", "bf16"), "random", swapped, right)
    assert (clear.top_1, clear.good) == (0.0, False)
    only_ties = row(Variant("openvino", "bf16"), "random", right[1:2], right[1:2])
    assert not only_ties.good, "nothing was checked"


RIGHT = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]], np.float32)


@pytest.mark.parametrize(
    ("precision", "once", "always"),
    [("f32", 2e-3, 2e-3), ("f16", 0.06, 6e-3), ("bf16", 0.12, 0.03), ("int8", 0.12, 0.03)],
)
def test_same_labels_with_other_scores_are_not_good(precision: str, once: float, always: float) -> None:
    one_clip, all_clips = RIGHT.copy(), RIGHT + np.array([always, 0, -always], np.float32)
    one_clip[2] += np.array([once, 0, -once], np.float32)
    for scores in (one_clip, all_clips):
        compared = row(Variant("openvino", precision), "random", scores, RIGHT)
        assert (compared.top_1, compared.good) == (1.0, False)
    slightly = row(Variant("openvino", precision), "random", RIGHT + np.float32(always / 10), RIGHT)
    assert slightly.good
    assert not row(Variant("openvino", precision), "random", RIGHT * np.float32("nan"), RIGHT).good


def test_apply_changes_only_the_engine(models: Path) -> None:
    text = (models / "resnet18" / "config.pbtxt").read_text()
    changed = engine_config.with_engine(text, "torch", "bf16")
    assert engine_config.engine_of(changed) == ("torch", "bf16")
    assert engine_config.with_engine(changed, "openvino", "auto") == text
    with pytest.raises(ModelError, match='set "engine" to "torch"'):
        engine_config.with_engine('name: "mine"', "torch", "bf16")
