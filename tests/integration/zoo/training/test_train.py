"""`clipstack-models train` and `evaluate` with a few scanned digits and rendered films."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from app.settings import Settings
from triton_repo.zoo.architectures.trained import last_layer
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.operations.add import ClipOverrides
from triton_repo.zoo.repository.store import installed
from triton_repo.zoo.training.examples.digits import WORDS, write_digits
from triton_repo.zoo.training.examples.shapes import write_shapes
from triton_repo.zoo.transfer.backbones import load_backbone
from triton_repo.zoo.transfer.card import DIGITS, read_card
from triton_repo.zoo.transfer.examples import inspect, read_examples
from triton_repo.zoo.transfer.finetune import Side, finetune
from triton_repo.zoo.transfer.head import Head

COUNT = 10  # files of each digit


def invoke(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures/ of ten digits, and with the model `digits` that was trained on them."""
    folder = tmp_path_factory.mktemp("train")
    write_digits(folder / "pictures", COUNT, seed=0)
    result = train(folder, "digits", folder / "pictures")
    assert result.exit_code == 0, result.output
    return folder


def train(folder: Path, name: str, files: Path, *more: str | Path | int) -> Result:
    places = ("--models", folder / "models", "--cache", folder / "cache", "--report", folder / "report")
    return invoke("train", name, files, *places, *more)


def features(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "cache").rglob("*.npy")}


def test_digits_are_learned_and_the_version_has_a_model_card(folder: Path) -> None:
    model = installed(folder / "models", "digits")
    card = read_card(model.served)
    assert card
    assert (card.backbone, card.kind, card.train, card.held_out) == ("objects", "image", 80, 20)
    assert card.metrics["accuracy"] >= 0.6
    assert model.labels == tuple(sorted(WORDS))
    assert model.parameters["description"] == card.summary
    listed = invoke("list", "--models", folder / "models").stdout
    assert "digits  1        efficientnet_lite0  picture, 224 × 224  10" in listed


def test_the_report_has_figures_mistakes_and_a_picture(folder: Path) -> None:
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["figures"]["files"] == 20
    wrong = 20 - round(report["figures"]["accuracy"] * 20)
    assert len(report["mistakes"]) == wrong
    page = (folder / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == wrong
    assert (folder / "report" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_finetuned_version_is_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower = count(0, -1)
    monkeypatch.setattr("triton_repo.zoo.transfer.finetune._calibrated_loss", lambda *_: float(next(lower)))
    result = train(folder, "tuned", folder / "pictures", "--finetune", "--epochs", 2)
    assert result.exit_code == 0, result.stderr
    plain, tuned = (installed(folder / "models", name) for name in ("digits", "tuned"))
    before, after = read_card(plain.served), read_card(tuned.served)
    assert before is not None and after is not None
    assert after.contents == before.contents, "the same files are held out"
    assert after.finetuned_epochs == 2 and "fine-tuned for 2 epochs" in after.summary
    assert after.backbone_digest != before.backbone_digest
    assert after.metrics["accuracy"] >= 0.5


def test_finetuning_lowers_the_loss_and_leaves_the_backbone(folder: Path) -> None:
    backbone = load_backbone("objects", "image", folder / "models", ClipOverrides())
    kept = {name: tensor.clone() for name, tensor in backbone.served.network.state_dict().items()}
    examples = inspect(read_examples(folder / "pictures", False), False, lambda: None).examples
    targets = np.eye(len(WORDS), dtype=np.float32)[[sorted(WORDS).index(e.labels[0]) for e in examples]]
    sides = [Side(examples[start::2], targets[start::2]) for start in (0, 1)]
    width = last_layer(backbone.served.network).in_features
    head = Head(torch.zeros(len(WORDS), width), torch.zeros(len(WORDS)), 0)
    tuned = finetune(
        backbone,
        head,
        *sides,
        clips=1,
        epochs=2,
        multi_label=False,
        seed=0,
        settings=Settings(),
        start=lambda *_: lambda: None,
    )
    assert tuned.before == pytest.approx(math.log(len(WORDS)), abs=1e-3)
    assert tuned.after < tuned.before and tuned.epochs > 0
    state = tuned.backbone.served.network.state_dict()
    same = [name for name, tensor in kept.items() if name in state and torch.equal(tensor, state[name])]
    assert any("weight" in name for name in same), "the first layers are frozen"
    assert len(same) < len(kept) - 2, "the last ones are not"
    now = backbone.served.network.state_dict()
    assert all(torch.equal(tensor, now[name]) for name, tensor in kept.items())


def test_finetuning_refuses_clips_beyond_its_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triton_repo.zoo.transfer.finetune.MAX_BYTES", 1 << 20)
    result = train(folder, "tuned", folder / "pictures", "--finetune", "--force")
    assert result.exit_code == 1
    assert "leave out --finetune" in result.stderr


def test_the_served_graph_answers_as_the_trained_layer(folder: Path) -> None:
    card = read_card(installed(folder / "models", "digits").served)
    assert card
    table = folder / "held_out.csv"
    held_out = [e for e in digests(folder) if card.contents[e[0]]]
    write_list(table, [(file, label) for _, file, label in held_out])
    result = invoke("evaluate", "digits", table, "--json", "--models", folder / "models")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["accuracy"] == pytest.approx(card.metrics["accuracy"])
    assert invoke("verify", "digits", "--clips", 2, "--precision", "f32", "--models", folder / "models").exit_code == 0


def test_second_run_reuses_features_and_worse_version_needs_force(folder: Path) -> None:
    before, card = features(folder), read_card(installed(folder / "models", "digits").served)
    assert card
    # Wrong labels for training files, right labels for held-out files
    wrong = {word: WORDS[(number + 1) % 10] for number, word in enumerate(WORDS)}
    rows = [(file, label if card.contents[sha] else wrong[label]) for sha, file, label in digests(folder)]
    write_list(folder / "wrong.csv", rows)
    refused = train(folder, "digits", folder / "wrong.csv")
    assert refused.exit_code == 1
    assert "the new version of digits is worse and was not added" in refused.stderr
    assert installed(folder / "models", "digits").versions == (1,)
    assert features(folder) == before
    forced = train(folder, "digits", folder / "wrong.csv", "--force")
    assert forced.exit_code == 0, forced.output
    assert installed(folder / "models", "digits").side_by_side == (1, 2)


def test_a_file_with_several_labels_gets_several_scores(folder: Path) -> None:
    kinds = {word: ["odd" if number % 2 else "even"] for number, word in enumerate(WORDS)}
    for word in ("zero", "six", "eight", "nine"):
        kinds[word].append("round")
    rows = [(file, label) for _, file, word in digests(folder) for label in kinds[word]]
    write_list(folder / "kinds.csv", rows)
    assert "say --multi-label" in train(folder, "kinds", folder / "kinds.csv").stderr
    result = train(folder, "kinds", folder / "kinds.csv", "--multi-label")
    assert result.exit_code == 0, result.output
    model = installed(folder / "models", "kinds")
    card = read_card(model.served)
    assert card
    assert (model.parameters["scores"], model.labels) == ("sigmoid", ("even", "odd", "round"))
    assert [float(word) for word in model.parameters["thresholds"].split(",")] == [
        pytest.approx(card.thresholds[label], rel=1e-4) for label in model.labels
    ]
    assert card.metrics["mean_average_precision"] >= 0.7
    result = invoke("evaluate", "kinds", folder / "kinds.csv", "--json", "--models", folder / "models")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["mean_average_precision"] >= 0.7


def test_films_are_learned_from_their_frames(folder: Path) -> None:
    write_shapes(folder / "films", 3, seed=1)
    clip = ("--clips", 1, "--frames", 4, "--stride", 16)
    result = train(folder, "shapes", folder / "films", *clip)
    assert result.exit_code == 0, result.output
    assert "fewer than 10 files" in result.stderr
    model = installed(folder / "models", "shapes")
    assert (model.parameters["architecture"], model.parameters["frames"]) == ("efficientnet_lite0_frames", "4")


def test_spans_of_one_film_are_one_content(folder: Path) -> None:
    write_shapes(folder / "few", 2, seed=2)
    films = sorted((folder / "few").rglob("*.mp4"))
    with (folder / "spans.csv").open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(("file", "label", "start_s", "end_s"))
        for film in films:
            rows.writerows((film, film.parent.name, start, start + 1) for start in (0, 1))
    result = train(folder, "spans", folder / "spans.csv", "--backbone", "camera_motion")
    assert result.exit_code == 0, result.output
    card = read_card(installed(folder / "models", "spans").served)
    assert card
    assert (card.train, card.held_out, card.metrics["files"]) == (5, 5, 10)


@pytest.fixture
def refused(folder: Path, tmp_path: Path) -> Callable[..., str]:
    """Run `train`, check that it fails cleanly, and return its message."""

    def run(name: str, files: Path, *more: str) -> str:
        result = train(tmp_path, name, files, *more)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        models = tmp_path / "models"
        assert not models.exists() or not list(models.iterdir()), "nothing half-installed"
        return result.stderr

    return run


def test_names_of_other_models_are_refused(folder: Path, refused: Callable[..., str]) -> None:
    assert "objects is built in" in refused("objects", folder / "pictures")
    assert "x3d_m is the name of a published network" in refused("x3d_m", folder / "pictures")
    assert "is no name for a model" in refused("../up", folder / "pictures")


def test_unusable_folders_are_refused(folder: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "does not exist" in refused("mine", tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has no examples" in refused("mine", empty)
    (empty / "one").mkdir()
    (empty / "one" / "note.txt").write_text("no picture")
    assert "no file is a picture or a video" in refused("mine", empty)
    (empty / "one" / "1.png").write_bytes((folder / "pictures" / "one").glob("*.png").__next__().read_bytes())
    assert "there is one label only (one)" in refused("mine", empty)


def test_pictures_do_not_fit_a_network_for_films(folder: Path, refused: Callable[..., str]) -> None:
    words = refused("mine", folder / "pictures", "--backbone", "camera_motion")
    assert "camera_motion looks at films, and these are pictures" in words
    assert "there is no model 'nobody'" in refused("mine", folder / "pictures", "--backbone", "nobody")


def test_damaged_pictures_are_left_out_and_odd_labels_are_kept(folder: Path, tmp_path: Path) -> None:
    for label, word in (("zwölf $x$", "one"), ("東京", "two")):
        (tmp_path / "files" / label).mkdir(parents=True)
        for file in sorted((folder / "pictures" / word).iterdir())[:4]:
            os.link(file, tmp_path / "files" / label / file.name)
    broken = tmp_path / "files" / "東京" / "broken.png"
    broken.write_bytes((folder / "pictures" / "two").glob("*.png").__next__().read_bytes()[:300])
    places = ("--models", tmp_path / "models", "--cache", folder / "cache", "--report", tmp_path / "report")
    result = invoke("train", "mine", tmp_path / "files", *places)
    assert result.exit_code == 0, result.output
    assert "1 files are left out because they cannot be decoded: broken.png: " in result.stderr
    assert installed(tmp_path / "models", "mine").labels == ("zwölf $x$", "東京")
    assert "zwölf $x$" in (tmp_path / "report" / "report.html").read_text()


def digests(folder: Path) -> list[tuple[str, Path, str]]:
    """Return the start of the digest, the file and the label of each picture."""
    from triton_repo.zoo.architectures.downloads import sha256_of

    return [(sha256_of(e.file)[:DIGITS], e.file, e.labels[0]) for e in read_examples(folder / "pictures", False)]


def write_list(table: Path, rows: list[tuple[Path, str]]) -> None:
    with table.open("w", newline="") as text:
        csv.writer(text).writerows([("file", "label"), *rows])
