"""All engines of the backend: one test for each that this machine can run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from tests.integration.zoo.engines.engine_model import BACKEND, MAX_BATCH, SERVED, TOLERANCE, config, expected_scores
from triton_repo.backends.clip.clip_engines import EngineError, StreamingEngine, engine_class, load_engine
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips


@pytest.mark.parametrize("batch", [1, 2, MAX_BATCH, MAX_BATCH + 3])
def test_every_clip_of_batch_gets_its_own_scores(engine: str, version: Path, batch: int) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, batch)
    first = loaded.infer(clips)
    second = loaded.infer(clips[::-1])
    assert (first.dtype, first.shape) == (np.float32, (batch, 4))
    np.testing.assert_allclose(first, expected_scores(clips), atol=1e-5)
    np.testing.assert_allclose(second, first[::-1], atol=1e-5)
    np.testing.assert_allclose(np.concatenate([loaded.infer(clip[None]) for clip in clips]), first, atol=1e-5)


def test_streamed_requests_get_their_own_scores(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    if not isinstance(loaded, StreamingEngine):
        pytest.skip(f"{engine} answers all requests of a batch together")
    clips = example_clips(SERVED, 12)
    parts = [clips[:1], clips[1:6], np.zeros((2, 1, 8, 8, 3), np.uint8), clips[6:8], clips[8:]]
    for _ in range(3):  # a failed request must not affect later ones
        results = [SimpleQueue[np.ndarray | EngineError]() for _ in parts]
        loaded.submit([(part, answer.put) for part, answer in zip(parts, results, strict=True)])
        answers = [answer.get(timeout=10) for answer in results]
        assert isinstance(answers.pop(2), EngineError)
        np.testing.assert_allclose(
            np.concatenate([answer[:, :4] for answer in answers]), expected_scores(clips), atol=1e-5
        )
        loaded.drain()
        assert all(answer.empty() for answer in results)


def test_concurrent_requests_get_their_own_scores(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    if not isinstance(loaded, StreamingEngine):
        pytest.skip(f"{engine} answers all requests of a batch together")
    clips = example_clips(SERVED, 12)
    requests = [clips[number % 10 : number % 10 + 1 + number % 3] for number in range(300)]
    results = [SimpleQueue[np.ndarray]() for _ in requests]
    for number, (item, answer) in enumerate(zip(requests, results, strict=True)):
        loaded.submit([(item, answer.put)])
        if number % 50 == 0:
            loaded.drain()  # the next request runs alone
            assert answer.qsize() == 1
    answers = [answer.get(timeout=10) for answer in results]
    loaded.drain()
    np.testing.assert_allclose(
        np.concatenate([answer[:, :4] for answer in answers]), expected_scores(np.concatenate(requests)), atol=1e-5
    )


def test_scores_are_probabilities_in_every_precision(engine: str, version: Path) -> None:
    clips = example_clips(SERVED, 3)
    for precision in engine_class(engine).precisions():
        scores = load_engine(config(engine, precision=precision), version).infer(clips)
        assert scores.dtype == np.float32, precision
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=TOLERANCE[precision], err_msg=precision)
        np.testing.assert_allclose(scores, expected_scores(clips), atol=TOLERANCE[precision], err_msg=precision)


def test_read_only_clips_are_not_copied(engine: str, version: Path) -> None:
    clips = example_clips(SERVED, 4)
    clips.flags.writeable = False
    before, every_other = clips.copy(), clips[::2]
    scores = load_engine(config(engine), version).infer(every_other)
    np.testing.assert_allclose(scores, expected_scores(before[::2]), atol=1e-5)
    np.testing.assert_array_equal(clips, before)


def test_first_request_of_a_process_may_hold_several_clips(engine: str, version: Path) -> None:
    # Libraries initialise at their first use, which may not be safe in two threads
    program = (
        "import json, pathlib, sys; import numpy; sys.setswitchinterval(1e-6)\n"
        "from triton_repo.backends.clip.clip_engines import load_engine\n"
        "engine = load_engine(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        f"print(engine.infer(numpy.zeros(({MAX_BATCH}, 1, 16, 16, 3), numpy.uint8)).shape)"
    )
    command = [sys.executable, "-c", program, json.dumps(config(engine)), str(version)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=BACKEND.parents[2])
    assert done.stdout.strip() == f"({MAX_BATCH}, 4)", done.stderr[-1000:]


def test_earlier_scores_are_not_overwritten(engine: str, version: Path) -> None:
    loaded = load_engine(config(engine), version)
    loaded.warm_up()
    clips = example_clips(SERVED, 2)
    first = loaded.infer(clips[:1])
    kept = first.copy()
    loaded.infer(clips[1:])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_engines_send_no_telemetry(name: str, exported: Path, tmp_path: Path) -> None:
    # Telemetry first stores an id: a new home folder must stay empty
    pytest.importorskip(name)
    if name != "openvino" and not (exported / "model.onnx").exists():
        engine_files.make(name, "f32", SERVED, exported)
    code = (
        f"import sys, json; from pathlib import Path; sys.path.insert(0, {str(BACKEND)!r})\n"
        "from clip_engines import load_engine\n"
        "load_engine(json.loads(sys.argv[1]), Path(sys.argv[2])).warm_up()"
    )
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(tmp_path))
    words = [sys.executable, "-B", "-c", code, json.dumps(config(name)), str(exported)]
    subprocess.run(words, check=True, timeout=120, env={"PATH": os.environ["PATH"]} | places)
    assert list(tmp_path.rglob("*")) == []


def test_openvino_is_served_without_importing_other_engines(exported: Path) -> None:
    # A new process, with the backend's folder on the path as in the server
    code = (
        f"import sys, json; from pathlib import Path; sys.path.insert(0, {str(BACKEND)!r})\n"
        "from clip_engines import load_engine\n"
        "load_engine(json.loads(sys.argv[1]), Path(sys.argv[2]))\n"
        "print({'torch', 'onnxruntime', 'tensorrt', 'triton_repo', 'app'} & set(sys.modules))"
    )
    words = [sys.executable, "-I", "-c", code, json.dumps(config("openvino")), str(exported)]
    assert subprocess.run(words, check=True, capture_output=True, text=True, timeout=120).stdout == "set()\n"
