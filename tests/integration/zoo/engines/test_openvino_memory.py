"""Memory of a model that OpenVINO has compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.networks import served_picture
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine
from triton_repo.zoo.export.openvino import example_clips, write_model


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(served_picture(), "picture", tmp_path_factory.mktemp("models")) / "1"


def resident_kib(file: Path) -> int:
    """Return the resident memory of this process that maps the file."""
    held, is_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            is_file = line.endswith(str(file))
        elif is_file and name == "Rss:":
            held += int(values[0])
    return held


@pytest.mark.parametrize("through_link", [False, True])
def test_file_of_weights_leaves_memory_once_model_is_warm(version: Path, tmp_path: Path, through_link: bool) -> None:
    folder = tmp_path / "linked"
    folder.symlink_to(version)
    engine = OpenVinoEngine(folder if through_link else version, {"precision": "f32"}, 4)
    clips = example_clips(served_picture(), 4)
    before = engine.infer(clips)
    weights = version / "model.bin"
    assert resident_kib(weights) * 1024 > 0.9 * weights.stat().st_size
    engine.warm_up()
    assert resident_kib(weights) * 1024 < 0.1 * weights.stat().st_size
    np.testing.assert_allclose(engine.infer(clips), before, atol=1e-6)
    np.testing.assert_allclose(engine.infer(clips[:1]), before[:1], atol=1e-6)
    assert resident_kib(weights) * 1024 < 0.1 * weights.stat().st_size
