"""An inference that fails in OpenVINO is told, and those that come later are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.failing_model import BADS, GOOD, REASON, clips, right, write_network
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    write_network(folder)
    return folder


@pytest.mark.parametrize("pattern", ["bad", "good bad good", "bad " * 9], ids=["lone", "among others", "all"])
def test_the_next_are_inferred(folder: Path, pattern: str) -> None:
    engine, bads = OpenVinoEngine(folder, {}, 4), iter(BADS)  # each bad one once
    for _ in range(3):
        with pytest.raises(RuntimeError, match=REASON):
            engine.infer(clips(*[GOOD if word == "good" else next(bads) for word in pattern.split()]))
        np.testing.assert_allclose(engine.infer(clips(*[GOOD] * 5)), right(5))
        np.testing.assert_allclose(engine.infer(clips(GOOD)), right(1))
