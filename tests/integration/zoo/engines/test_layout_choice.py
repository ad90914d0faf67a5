"""The choice of a layout on a GPU, with a fake recorder and a fake clock."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deploy.watchdog.watchdog import STUCK_CPU_S, STUCK_S
from tests.support.networks import served_video
from triton_repo.backends.clip.clip_engines import layout_choice, torch_engine
from triton_repo.backends.clip.clip_engines.layout_choice import Choice, LayoutCache, choose, recording
from triton_repo.backends.clip.clip_engines.torch_batches import Batches, Network, Run
from triton_repo.backends.clip.clip_engines.torch_engine import TorchEngine
from triton_repo.backends.clip.clip_engines.torch_program import LAYOUTS
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model

CLIPS = torch.ones(3, 2, dtype=torch.uint8)
KEY = {"gpu": "H100", "torch": "2.13"}


class FakeRecorder:
    """A recorder that records nothing: every run calculates again."""

    recorded: list[int] = []

    def __init__(self, device: torch.device) -> None:
        pass

    def __call__(self, network: Network, clips: Tensor) -> Run:
        self.recorded.append(len(clips))
        return lambda: network(clips)


def batches(layout: str, absent: str | None = None) -> Batches:
    if layout == absent:
        raise RuntimeError("cuDNN: CUDNN_STATUS_NOT_SUPPORTED")
    wrong = {"wrong": 0.2, "NaN": float("nan")}.get(layout, 0.0)
    return Batches((2,), 4, torch.device("cpu"), lambda clips: clips + wrong, FakeRecorder(torch.device("cpu")))


def timed(*seconds: float) -> Iterator[float]:
    """Return the clock's times: one for a clip and one for a full batch of each layout."""
    for one in seconds:
        yield from (one, 4 * one)


def test_fastest_layout_is_chosen() -> None:
    times = timed(0.003, 0.001, 0.002)
    choice = choose(["first", "second", "third"], batches, lambda run: next(times), CLIPS)
    assert choice.layout == "second" and list(choice.seconds) == ["first", "second", "third"]


def test_layout_that_is_not_supported_is_skipped(capfd: pytest.CaptureFixture[str]) -> None:
    times = timed(0.002)
    choice = choose(["first", "second"], lambda name: batches(name, "first"), lambda run: next(times), CLIPS)
    assert choice.layout == "second"
    assert "no layout first here: cuDNN: CUDNN_STATUS_NOT_SUPPORTED" in capfd.readouterr().err


@pytest.mark.parametrize("layout", ["wrong", "NaN"])
def test_layout_with_other_scores_is_not_chosen(layout: str, capfd: pytest.CaptureFixture[str]) -> None:
    times = timed(0.003, 0.002)
    choice = choose(["first", layout, "third"], batches, lambda run: next(times), CLIPS)
    assert list(choice.seconds) == ["first", "third"] and choice.layout == "third"
    assert f"no layout {layout} here: its scores differ by " in capfd.readouterr().err


def test_no_supported_layout_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="NOT_SUPPORTED"):
        choose(["only"], lambda name: batches(name, "only"), lambda run: 1.0, CLIPS)


def test_no_layout_is_tried_after_the_limit(capfd: pytest.CaptureFixture[str]) -> None:
    seconds = iter([0.0, 1.0, layout_choice.CHOICE_LIMIT_S + 1])
    choice = choose(["first", "second", "third"], batches, lambda run: 1.0, CLIPS, lambda: next(seconds))
    assert list(choice.seconds) == ["first", "second"]
    assert "layout third is not tried: 40 s are over" in capfd.readouterr().err


def test_choice_is_cached_by_its_key(tmp_path: Path) -> None:
    LayoutCache(tmp_path, KEY).write(Choice("products", batches(""), {"products": 0.1}))
    assert LayoutCache(tmp_path, KEY).read() == "products"
    assert LayoutCache(tmp_path, KEY | {"torch": "2.14"}).read() is None
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"layout": "products", "key": {}}'])
def test_damaged_cache_is_ignored(tmp_path: Path, content: str) -> None:
    cache = LayoutCache(tmp_path, KEY)
    cache.write(Choice("products", batches(""), {}))
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    assert cache.read() is None


def test_folder_that_cannot_be_written_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cache = LayoutCache(tmp_path / "missing", KEY)
    cache.write(Choice("products", batches(""), {}))
    assert cache.read() is None
    assert "the layout is not cached: " in capfd.readouterr().err


def hold(folder: Path, alone: bool, held: str, end: str) -> None:
    with recording(folder, alone):
        os.open(folder / held, os.O_CREAT)
        while not (folder / end).exists():
            layout_choice.time.sleep(0.01)


@pytest.mark.parametrize(("first", "second", "waits"), [(True, False, True), (True, True, True), (False, False, False)])
def test_measurement_runs_alone(
    tmp_path: Path,
    first: bool,
    second: bool,
    waits: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(layout_choice, "LOCK_TIMEOUT_S", 0.2)
    other = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, first, "held", "end"))
    other.start()
    try:
        for _ in range(3000):
            if (tmp_path / "held").exists():
                break
            layout_choice.time.sleep(0.01)
        with recording(tmp_path, second):
            pass
        assert ("recorded beside other models" in capfd.readouterr().err) == waits
    finally:
        (tmp_path / "end").touch()
        other.join(30)
    with recording(tmp_path, alone=True):
        assert "beside" not in capfd.readouterr().err


def test_wait_for_the_lock_is_not_taken_for_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_choice, "LOCK_TIMEOUT_S", 1.0)
    began, cpu_s = layout_choice.time.monotonic(), layout_choice.time.process_time()
    with recording(tmp_path, alone=True), recording(tmp_path, alone=False):
        used_s = layout_choice.time.process_time() - cpu_s
    assert used_s / (layout_choice.time.monotonic() - began) > STUCK_CPU_S / STUCK_S


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_model(served_video(), "video", tmp_path_factory.mktemp("models")) / "1"
    engine_files.make("torch", "f32", served_video(), made)
    return made


def started(version: Path, monkeypatch: pytest.MonkeyPatch, **parameters: str) -> TorchEngine:
    """Start an engine on the CPU with the steps of a start on a GPU."""
    monkeypatch.setattr(torch_engine, "Recorder", FakeRecorder)
    FakeRecorder.recorded.clear()
    engine = TorchEngine(version, {"device": "cpu", "precision": "f32"} | parameters, 16)
    engine._record()
    return engine


def test_second_start_measures_nothing(version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([3.0, 3.0, 1.0, 1.0, *[3.0] * 4])
    monkeypatch.setattr(torch_engine, "seconds", lambda run, device: next(times))
    monkeypatch.setenv(layout_choice.CACHE_VARIABLE, str(tmp_path))
    first = started(version, monkeypatch)
    assert FakeRecorder.recorded == [16, 1] * len(first._layouts) + [4]
    (cached,) = tmp_path.glob("layout-*.json")
    assert json.loads(cached.read_text())["layout"] == first._layouts[1]
    second = started(version, monkeypatch)
    assert FakeRecorder.recorded == [16, 1, 4]
    clips = [torch.from_numpy(example_clips(served_video(), 3))]
    assert first._batches and second._batches
    torch.testing.assert_close(second._batches(clips), first._batches(clips))


def test_cached_layout_that_fails_is_measured_again(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_engine, "seconds", lambda run, device: 1.0)
    monkeypatch.setenv(layout_choice.CACHE_VARIABLE, str(tmp_path))
    started(version, monkeypatch)
    real, failures = TorchEngine._make_batches, iter([RuntimeError("out of memory")])

    def fail_once(engine: TorchEngine, layout: str) -> Batches:
        for error in failures:
            raise error
        return real(engine, layout)  # type: ignore[arg-type]

    monkeypatch.setattr(TorchEngine, "_make_batches", fail_once)
    engine = started(version, monkeypatch)
    assert engine._batches is not None
    assert "the cached layout fails: out of memory" in capfd.readouterr().err


def test_named_layout_is_not_measured(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(layout_choice.CACHE_VARIABLE, raising=False)
    started(version, monkeypatch, layout=LAYOUTS[-1])
    assert FakeRecorder.recorded == [16, 1, 4]
