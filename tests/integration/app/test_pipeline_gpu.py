"""A worker that must decode on a GPU and has none fails at start with a reason, and leaves nothing behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.pipeline.worker import Pipeline
from app.settings import InvalidSetting, Settings
from app.shm.pool import PREFIX, SHM
from app.video.gpu_decoding import GpuUnavailable


def settings(tmp_path: Path, **changed: str) -> Settings:
    values = {"run_dir": str(tmp_path), "slots": "8", "slot_mb": "1", "decoder_device": "cuda"} | changed
    return Settings.from_environment({f"CLIPSTACK_{name.upper()}": value for name, value in values.items()})


def test_a_worker_without_a_gpu_is_refused(tmp_path: Path) -> None:
    before = set(SHM.glob(f"{PREFIX}-*"))
    with pytest.raises(GpuUnavailable, match="DECODER_DEVICE is cuda, and this worker's slots are not on a GPU"):
        Pipeline(settings(tmp_path)).start(None)
    assert "pipeline" not in [thread.name for thread in threading.enumerate()]
    assert set(SHM.glob(f"{PREFIX}-*")) <= before


def test_sandbox_that_is_required_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_SANDBOX is required, .* on the GPU cannot have every layer"):
        settings(tmp_path, sandbox="required")


@pytest.mark.parametrize("transport", ["shm", "inline"])
def test_transport_without_gpu_is_refused(tmp_path: Path, transport: str) -> None:
    with pytest.raises(InvalidSetting, match="CLIPSTACK_TRANSPORT.*keeps clips"):
        settings(tmp_path, transport=transport)
