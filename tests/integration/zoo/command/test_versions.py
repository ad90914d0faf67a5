"""Versions of a model: added, served side by side, and removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.zoo.command.models_command import Run, invoke, texts
from triton_repo.backends.clip.clip_engines import load_engine
from triton_repo.zoo.repository.store import installed


def test_adding_an_existing_name_adds_a_version(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx(classes=3)
    assert add_onnx(classes=4).stdout.startswith("mine, version 2: ")
    model = installed(tmp_path / "models", "mine")
    assert (model.versions, model.served.name, len(model.labels)) == ((1, 2), "2", 4)
    assert load_engine(model.config, model.served).classes == 4
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["mine"]


def test_failed_version_keeps_the_old_one(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx(classes=3)
    folder = tmp_path / "models" / "mine"
    before = texts(folder)
    (folder / "2").write_text("a file in the way")
    assert add_onnx(classes=4).exit_code == 1
    (folder / "2").unlink()
    assert texts(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "labels.txt"]


def test_remove_deletes_only_that_model(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    shutil.copytree(tmp_path / "models" / "mine", tmp_path / "models" / "other")
    assert invoke("remove", "mine", "--models", tmp_path / "models").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".removed.json", "other"]


def policy(folder: Path) -> str:
    (line,) = [line for line in (folder / "config.pbtxt").read_text().splitlines() if "version_policy" in line]
    return line


def test_compatible_versions_are_served_side_by_side(add_onnx: Run, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    both, newest = (f"version_policy: {{ latest {{ num_versions: {count} }} }}" for count in (2, 1))
    for classes, wanted in ((3, both), (3, both), (4, newest), (4, both)):
        add_onnx(classes=classes)
        assert policy(folder) == wanted
    assert "1, 2, 3, 4 (3 and 4 are served)" in invoke("show", "mine", "--models", tmp_path / "models").stdout


def test_removed_version_restores_the_model(add_onnx: Run, tmp_path: Path) -> None:
    models = tmp_path / "models"
    add_onnx(classes=3)
    before = texts(models / "mine")
    add_onnx(classes=4)
    assert texts(models / "mine") != before
    result = invoke("remove", "mine@2", "--models", models)
    assert (result.exit_code, result.stdout) == (0, "removed mine@2\n")
    assert texts(models / "mine") == before
    assert installed(models, "mine").versions == (1,)


def test_version_numbers_are_never_reused(add_onnx: Run, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for versions in ((1,), (1, 2)):
        add_onnx()
        assert installed(models, "mine").versions == versions
    invoke("remove", "mine@2", "--models", models)
    add_onnx()
    assert installed(models, "mine").versions == (1, 3)
    invoke("remove", "mine", "--models", models)
    add_onnx()
    assert installed(models, "mine").versions == (4,)
    invoke("remove", "mine@4", "--models", models)
    assert not (models / "mine").exists()
