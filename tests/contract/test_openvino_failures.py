"""An inference that fails in OpenVINO: who asked is told, and those who come later are answered."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from tests.failing_model import BADS, GOOD, REASON, clips, right, write_network
from tests.stack.running import until
from triton_repo.backends.clip.clip_engines import EngineError
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failing")
    write_network(folder)
    return folder


@pytest.fixture
def engine(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine(folder, {}, 4)


@pytest.mark.parametrize("values", [BADS[:1], [GOOD, BADS[0], GOOD], BADS[:9]], ids=["lone", "among others", "all"])
def test_the_next_are_inferred(engine: OpenVinoEngine, values: list[int]) -> None:
    for _ in range(3):
        with pytest.raises(EngineError, match=REASON):
            engine.infer(clips(*values))
        np.testing.assert_allclose(engine.infer(clips(*[GOOD] * 5)), right(5))
        np.testing.assert_allclose(engine.infer(clips(GOOD)), right(1))


def test_only_those_whose_clips_fail_are_told_so(engine: OpenVinoEngine) -> None:
    requests = [clips(GOOD), clips(BADS[0], GOOD), clips(GOOD, GOOD), clips(BADS[1]), clips(GOOD)]
    told = [SimpleQueue[np.ndarray | EngineError]() for _ in requests]
    engine.submit([(each, answer.put) for each, answer in zip(requests, told, strict=True)])
    engine.drain()
    answers = [answer.get_nowait() for answer in told]
    assert [isinstance(answer, EngineError) for answer in answers] == [False, True, False, True, False]
    np.testing.assert_allclose(answers[2], right(2))
    assert all(answer.empty() for answer in told)


def test_a_failure_that_nobody_waits_for_is_told_by_the_next_call(engine: OpenVinoEngine) -> None:
    told = SimpleQueue[np.ndarray | EngineError]()
    engine.submit([(clips(*BADS[:2]), told.put)])

    def is_told() -> bool:
        engine.submit([])
        return not told.empty()

    until(is_told, 10)
    assert isinstance(told.get(), EngineError)
