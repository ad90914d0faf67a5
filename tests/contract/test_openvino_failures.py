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


@pytest.mark.parametrize("values", [BADS[:1], [GOOD, BADS[0], GOOD], BADS[:9]], ids=["lone", "among others", "all"])
def test_the_next_are_inferred(folder: Path, values: list[int]) -> None:
    engine = OpenVinoEngine(folder, {}, 4)
    for _ in range(3):
        with pytest.raises(RuntimeError, match=REASON):
            engine.infer(clips(*values))
        np.testing.assert_allclose(engine.infer(clips(*[GOOD] * 5)), right(5))
        np.testing.assert_allclose(engine.infer(clips(GOOD)), right(1))
