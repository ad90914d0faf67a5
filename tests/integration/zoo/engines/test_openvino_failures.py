"""A failed inference in OpenVINO: its request gets the error, and later requests are answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from tests.support.failing_model import BADS, GOOD, REASON, clips, expected_scores, write_network
from triton_repo.backends.clip.clip_engines import EngineError
from triton_repo.backends.clip.clip_engines.openvino_engine import OpenVinoEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "1"
    write_network(folder)
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[OpenVinoEngine]:
    engine = OpenVinoEngine(folder, {}, 4)
    yield engine
    engine.drain()


@pytest.mark.parametrize("pattern", ["bad", "good bad good", "bad " * 9], ids=["lone", "among others", "all"])
def test_later_requests_are_inferred(engine: OpenVinoEngine, pattern: str) -> None:
    bads = iter(BADS)  # each bad one once
    for _ in range(3):
        with pytest.raises(EngineError, match=REASON):
            engine.infer(clips(*[GOOD if word == "good" else next(bads) for word in pattern.split()]))
        np.testing.assert_allclose(engine.infer(clips(*[GOOD] * 5)), expected_scores(5))
        np.testing.assert_allclose(engine.infer(clips(GOOD)), expected_scores(1))


def test_only_requests_with_failing_clips_fail(engine: OpenVinoEngine) -> None:
    requests = [clips(GOOD), clips(BADS[0], GOOD), clips(GOOD, GOOD), clips(BADS[1]), clips(GOOD)]
    results = [SimpleQueue[np.ndarray | EngineError]() for _ in requests]
    engine.submit([(request, answer.put) for request, answer in zip(requests, results, strict=True)])
    answers = [answer.get(timeout=10) for answer in results]  # without another request
    assert [isinstance(answer, EngineError) for answer in answers] == [False, True, False, True, False]
    np.testing.assert_allclose(answers[2], expected_scores(2))
    engine.drain()
    assert all(answer.empty() for answer in results)
