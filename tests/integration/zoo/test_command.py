"""`clipstack-models`: what is added, shown, verified and removed, from files in exactly the published layouts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tests.support.checkpoints import labels_file, normal_clips, official_resnet, official_x3d, onnx_file, state
from tests.support.films import numbered, write_video
from tests.support.networks import spread_out
from triton_repo.backends.clip.clip_engines import load_engine
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.benchmark import engines
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.repository.store import changing, installed

Run = Callable[..., Result]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def x3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with X3D_XS.pyth, and with models/x3d_xs made of it for small clips."""
    folder = tmp_path_factory.mktemp("x3d")
    file = official_x3d(folder / "X3D_XS.pyth")
    result = invoke("add", "x3d_xs", "--from-file", file, "--size", 32, "--frames", 2, "--models", folder / "models")
    assert result.exit_code == 0, result.output
    assert result.stdout == "x3d_xs, version 1: 2 frames in 0.4 s, 32 × 32, 400 labels\n"
    return folder


@pytest.fixture
def add_onnx(tmp_path: Path) -> Run:
    """Adds an ONNX model of two frames of 8 x 8 pixels as `mine`."""

    def add(*more: str | Path, classes: int = 3, shape: tuple[int, ...] = (1, 3, 2, 8, 8), **made: bool) -> Result:
        file = onnx_file(tmp_path / f"{classes}.onnx", shape, classes, **made)
        labels = labels_file(tmp_path / f"{classes}.txt", classes)
        clip = ("--frames", 2, "--size", 8, "--models", tmp_path / "models")
        return invoke("add", "mine", "--onnx", file, "--labels", labels, *clip, *more)

    return add


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_official_x3d_has_its_labels_and_clip(x3d: Path) -> None:
    model = installed(x3d / "models", "x3d_xs")
    assert (model.labels[0], model.labels[5], len(model.labels)) == ("abseiling", "archery", 400)
    assert (model.parameters["stride"], model.parameters["fps"]) == ("12", "30")
    assert "version_policy: { latest { num_versions: 2 } }" in (model.folder / "config.pbtxt").read_text()
    assert sorted(path.name for path in model.served.iterdir()) == [
        "config.pbtxt",
        "labels.txt",
        "model.bin",
        "model.xml",
        "precision.json",
        "source.json",
    ]


def test_verify_compares_with_the_network_in_torch(x3d: Path) -> None:
    result = invoke("verify", "x3d_xs", "--clips", 4, "--precision", "f32", "--models", x3d / "models")
    assert result.exit_code == 0, result.output
    header, row, _, last = (line.rstrip() for line in result.stdout.splitlines())
    assert header.split()[:3] == ["engine", "precision", "clips"]
    assert row.split()[:4] == ["openvino", "f32", "4", "random"]
    assert float(row.split()[4]) < 1e-3
    assert "100.0%" in row
    assert row.endswith("good")
    assert last == "version 1 against torch, seed 0"


def test_verify_compares_other_engines_and_removes_them(tmp_path: Path) -> None:
    file, models = official_resnet(tmp_path / Path(published("resnet18").url).name), tmp_path / "models"
    assert invoke("add", "resnet18", "--from-file", file, "--size", 32, "--models", models).exit_code == 0
    assert installed(models, "resnet18").labels == published("resnet18").labels
    engines = ("--engine", "torch", "--engine", "onnxruntime", "--engine", "openvino")
    result = invoke("verify", "resnet18", "--clips", 3, *engines, "--models", models)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[1:-2]] == ["torch", "onnxruntime", "openvino"]
    assert sorted(path.name for path in (models / "resnet18" / "1").iterdir()) == [
        "config.pbtxt",
        "labels.txt",
        "model.bin",
        "model.xml",
        "precision.json",
        "source.json",
    ]


def test_verify_uses_real_clips(x3d: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", [numbered(number) for number in range(20)], 30)
    (tmp_path / "two.txt").write_text("no video")
    words = ("verify", "x3d_xs", "--clips", 1, "--models", x3d / "models", "--videos")
    result = invoke(*words, tmp_path)
    assert result.exit_code == 0, result.output
    assert [line.split()[2:4] for line in result.stdout.splitlines()[1:-2]] == [["1", "random"], ["8", "real"]]
    assert "two.txt: this is text" in result.stderr
    nothing = invoke(*words, tmp_path / "two.txt")
    assert nothing.exit_code == 1
    assert "that x3d_xs could look at" in nothing.stderr


def test_verify_uses_the_moved_file_only(x3d: Path, tmp_path: Path) -> None:
    moved, models = tmp_path / "moved.pyth", tmp_path / "models"
    shutil.copytree(x3d / "models", models)
    shutil.copy(x3d / "X3D_XS.pyth", moved)
    source = models / "x3d_xs" / "1" / "source.json"
    source.write_text(source.read_text().replace("X3D_XS.pyth", "gone.pyth"))
    gone = invoke("verify", "x3d_xs", "--models", models)
    assert gone.exit_code == 1
    assert "gone.pyth, which x3d_xs was made from, is gone: say where it is with --weights." in gone.stderr
    assert invoke("verify", "x3d_xs", "--clips", 1, "--weights", moved, "--models", models).exit_code == 0
    with moved.open("ab") as file:
        file.write(b"more")
    assert (
        "is not the file that x3d_xs was made from"
        in invoke("verify", "x3d_xs", "--weights", moved, "--models", models).stderr
    )


def test_show_and_list_say_what_is_there(x3d: Path) -> None:
    shown = invoke("show", "x3d_xs", "--models", x3d / "models").stdout
    assert "input        2 frames in 0.4 s, 32 × 32\n" in shown
    assert f"source       {x3d / 'X3D_XS.pyth'}\n" in shown
    listed = invoke("list", "--models", x3d / "models").stdout
    assert "x3d_xs  1        x3d_xs   2 frames in 0.4 s, 32 × 32  400" in listed
    assert "can be added: x3d_s, x3d_m, x3d_l, efficientnet_lite0, efficientnet_lite1" in listed


def test_show_describes_a_published_model(tmp_path: Path) -> None:
    shown = invoke("show", "resnet50", "--models", tmp_path).stdout
    assert "input     picture, 224 × 224" in shown
    assert "frame     short side scaled to 232" in shown
    assert f"url       {published('resnet50').url}" in shown


def test_torchvision_video_model_from_its_file(tmp_path: Path) -> None:
    file, models = tmp_path / Path(published("mc3_18").url).name, tmp_path / "models"
    torch.save(state("mc3_18", 400, (8, 3, 2, 16, 16)), file)
    clip = ("--size", 16, "--frames", 2)
    result = invoke("add", "mc3_18", "--from-file", file, *clip, "--models", models)
    assert result.exit_code == 0, result.output
    assert installed(models, "mc3_18").labels == published("mc3_18").labels
    assert invoke("verify", "mc3_18", "--clips", 3, "--models", models).exit_code == 0


def test_own_checkpoint_answers_as_network_did_in_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = spread_out(published("x3d_xs").network(3), normal_clips((8, 3, 2, 32, 32)))
    wrapped = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 7}, tmp_path / "best.ckpt")
    words = labels_file(tmp_path / "labels.txt", 3)
    clip = ("--frames", 2, "--size", 32, "--mean", "0.5", "--std", "0.2,0.25,0.3", "--models", tmp_path)
    result = invoke("add", "own", "--arch", "x3d_xs", "--weights", tmp_path / "best.ckpt", "--labels", words, *clip)
    assert result.exit_code == 0, result.output
    model = installed(tmp_path, "own")
    clips = np.concatenate(random_clips((2, 32, 32, 3), 3, seed=1))
    normal = (torch.from_numpy(clips) / 255 - 0.5) / torch.tensor([0.2, 0.25, 0.3])
    with torch.no_grad():
        wanted = network(normal.permute(0, 4, 1, 2, 3)).softmax(1).numpy()
    assert wanted.std(axis=0).max() > 0.1, "the scores must differ for the comparison to mean anything"
    exact = engines.load(model, Variant("openvino", "f32"), None, model.served)
    np.testing.assert_allclose(exact.infer(clips), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("layout", "shape", "frames"),
    [("NCTHW", (1, 3, 2, 8, 8), 2), ("NTCHW", (1, 2, 3, 8, 8), 2), ("NTHWC", (1, 2, 8, 8, 3), 2),
     ("NCHW", (1, 3, 8, 8), 1), ("NHWC", (1, 8, 8, 3), 1)],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_onnx_in_every_layout(layout: str, shape: tuple[int, ...], frames: int, add_onnx: Run, tmp_path: Path) -> None:
    result = add_onnx("--layout", layout, "--frames", frames, "--mean", "0.4", "--std", "0.2,0.3,0.4", shape=shape)
    assert result.exit_code == 0, result.output
    engines = ("--engine", "openvino", "--engine", "onnxruntime")
    verdict = invoke("verify", "mine", *engines, "--models", tmp_path / "models")
    assert verdict.exit_code == 0, verdict.output
    assert "against the ONNX file" in verdict.stdout


def test_precision_is_automatic_unless_it_is_chosen(add_onnx: Run, tmp_path: Path) -> None:
    for options, precision in (((), "auto"), (("--precision", "f32"), "f32")):
        assert add_onnx(*options).exit_code == 0
        assert installed(tmp_path / "models", "mine").parameters["precision"] == precision
    shown = invoke("show", "mine", "--models", tmp_path / "models").stdout
    assert re.search(r"bf16 +(close to|too far from) f32 \((measured|emulated)\): differs by ", shown)


def test_verify_measures_a_version_without_record(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    version = installed(tmp_path / "models", "mine").served
    record = (version / "precision.json").read_text()
    (version / "precision.json").unlink()
    assert invoke("verify", "mine", "--clips", 2, "--models", tmp_path / "models").exit_code == 0
    assert (version / "precision.json").read_text() == record


def test_onnx_with_probabilities_keeps_them(add_onnx: Run, tmp_path: Path) -> None:
    assert add_onnx("--scores", "probabilities", softmax=True).exit_code == 0
    for engine in ("openvino", "onnxruntime"):
        assert invoke("verify", "mine", "--engine", engine, "--models", tmp_path / "models").exit_code == 0
    torch = invoke("verify", "mine", "--engine", "torch", "--models", tmp_path / "models")
    assert "torch does not run models that came from ONNX" in torch.stderr


def test_adding_an_existing_name_adds_a_version(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx(classes=3)
    assert add_onnx(classes=4).stdout.startswith("mine, version 2: ")
    model = installed(tmp_path / "models", "mine")
    assert (model.versions, model.served.name, len(model.labels)) == ((1, 2), "2", 4)
    assert load_engine(model.config, model.served).classes == 4
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["mine"]


def test_failed_version_leaves_the_old_one(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx(classes=3)
    folder = tmp_path / "models" / "mine"
    before = texts(folder)
    (folder / "2").write_text("a file in the way")
    assert add_onnx(classes=4).exit_code == 1
    (folder / "2").unlink()
    assert texts(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "labels.txt"]


def test_two_commands_at_once(add_onnx: Run, tmp_path: Path) -> None:
    with changing(tmp_path / "models"):
        result = add_onnx()
    assert result.exit_code == 1
    assert "another clipstack-models is changing" in result.stderr
    assert add_onnx().exit_code == 0


def test_damaged_model_is_told_and_others_listed(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    for name, text in (("foreign", 'name: "foreign" output [ { label_filename: "labels.txt" } ]'), ("torn", "name: {")):
        shutil.copytree(tmp_path / "models" / "mine", tmp_path / "models" / name)
        (tmp_path / "models" / name / "config.pbtxt").write_text(text)
    result = invoke("list", "--models", tmp_path / "models")
    assert "mine   1        onnx" in result.stdout
    assert "foreign is damaged (config.pbtxt has no crop, fps" in result.stderr
    assert "torn is damaged" in result.stderr
    assert invoke("remove", "torn", "--models", tmp_path / "models").exit_code == 0


def test_what_a_killed_process_left_is_tidied_up(add_onnx: Run, tmp_path: Path) -> None:
    (tmp_path / "models" / ".making-dead" / "mine").mkdir(parents=True)
    assert add_onnx().exit_code == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]


def test_verify_finds_model_that_is_not_its_source(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    add_onnx("--std", "0.1")
    folder = tmp_path / "models" / "mine"
    for name in ("model.xml", "model.bin"):
        shutil.copy(folder / "1" / name, folder / "2" / name)
    result = invoke("verify", "mine", "--models", tmp_path / "models")
    assert result.exit_code == 1
    assert "differs" in result.stdout
    assert "mine differs from its source" in result.stderr


def test_remove_takes_everything_of_model_and_nothing_else(add_onnx: Run, tmp_path: Path) -> None:
    add_onnx()
    shutil.copytree(tmp_path / "models" / "mine", tmp_path / "models" / "other")
    assert invoke("remove", "mine", "--models", tmp_path / "models").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".removed.json", "other"]


def policy(folder: Path) -> str:
    (line,) = [line for line in (folder / "config.pbtxt").read_text().splitlines() if "version_policy" in line]
    return line


def test_versions_that_fit_one_description_are_served_side_by_side(add_onnx: Run, tmp_path: Path) -> None:
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


def test_no_number_is_given_twice(add_onnx: Run, tmp_path: Path) -> None:
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


def test_a_clip_larger_than_a_slot_is_told(add_onnx: Run) -> None:
    result = add_onnx("--frames", 40, "--size", 224, shape=(1, 3, 40, 224, 224), classes=2)
    assert result.exit_code == 0, result.output
    assert "Restart with CLIPSTACK_SLOT_MB=6" in result.stderr
