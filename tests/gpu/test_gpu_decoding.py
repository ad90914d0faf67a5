"""Decoding on a real GPU: what NVDEC and torch make of real videos beside the CPU, and what stays on the GPU."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from app.decoding.pool import Decoder
from app.decoding.worker import DecodeTask
from app.media.types import ClipRequest, DecodeResult, Limits, Source
from app.sandbox import SandboxConfig
from app.settings import CHECKOUT
from app.shm.cuda_pool import CudaSlotPool
from app.shm.cuda_runtime import GpuRegionHandle
from bench.gpu.memory import PAGE_BYTES
from tests.support.cuda_here import real_cuda
from tests.support.films import numbered, write_video
from tests.support.regions import whole

SHAPE = (8, 224, 224, 3)
SLOT = math.prod(SHAPE) + 4096
TIMES = tuple(0.1 * number for number in range(SHAPE[0]))
TOLERANCE = 3.5  # as in tests/integration/media/test_device_reader.py


@pytest.fixture
def pool(gpu: int) -> Iterator[CudaSlotPool]:
    pool = CudaSlotPool(2, SLOT, real_cuda())
    yield pool
    pool.close()


async def decoded(decoder: Decoder, pool: CudaSlotPool, source: Source, offset: int, on_gpu: bool) -> DecodeResult:
    request = ClipRequest((TIMES,), 256, 224, (offset,), str(pool.path), on_gpu)
    clips = (await decoder.decode(DecodeTask(source, request))).clips
    assert clips is not None
    pool.device.mark_written(offset, clips.on_gpu)
    await pool.device.download(offset, math.prod(SHAPE))
    return clips


def running(pool: CudaSlotPool) -> Decoder:
    limits = Limits(36_000_000, 500_000, 3600)
    device = pool.device
    slots = GpuRegionHandle(device.device, device.handle, device.region_bytes)
    decoder = Decoder(1, 60, limits, SandboxConfig((), (str(pool.path),), gpu=slots))
    asyncio.run(decoder.start())
    return decoder


@pytest.mark.parametrize(
    ("name", "on_gpu"),
    [
        ("arm_wrestling.mp4", True),
        ("flipping_a_pancake.mkv", True),
        ("sintel.mp4", True),
        ("video_90.mov", True),
        ("av1.mkv", False),
    ],
)
def test_real_clips_agree_with_the_cpu(real_videos: Path, pool: CudaSlotPool, name: str, on_gpu: bool) -> None:
    async def scenario(decoder: Decoder) -> None:
        source = whole(real_videos / name)
        there = await decoded(decoder, pool, source, 0, on_gpu=True)
        here = await decoded(decoder, pool, source, SLOT, on_gpu=False)
        assert (there.on_gpu, bool(there.not_on_gpu)) == (on_gpu, not on_gpu)
        assert there.frames == here.frames
        ours, right = (pool.view(offset, SHAPE).astype(np.float64) for offset in (0, SLOT))
        assert np.abs(ours - right).mean() < TOLERANCE

    decoder = running(pool)
    try:
        asyncio.run(scenario(decoder))
    finally:
        decoder.stop()


def test_hundred_videos_take_no_more_memory_of_gpu(pool: CudaSlotPool, gpu: int, tmp_path: Path) -> None:
    film = whole(write_video(tmp_path / "film.mp4", (numbered(n % 256, 640, 360) for n in range(60))))

    async def scenario(decoder: Decoder) -> int:
        for _ in range(10):
            assert (await decoded(decoder, pool, film, 0, on_gpu=True)).on_gpu
        before = torch.cuda.mem_get_info(gpu)[0]
        for _ in range(100):
            await decoded(decoder, pool, film, 0, on_gpu=True)
        return before - torch.cuda.mem_get_info(gpu)[0]

    decoder = running(pool)
    try:
        assert asyncio.run(scenario(decoder)) <= PAGE_BYTES
    finally:
        decoder.stop()


@pytest.mark.timeout(600)
def test_measurement_runs_and_every_way_shows_same(gpu: int, tmp_path: Path) -> None:
    command = [sys.executable, "bench/gpu/decode.py", "--output", str(tmp_path / "decode.json")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    films = json.loads((tmp_path / "decode.json").read_text())["films"]
    assert all(film["ways"]["PyAV, NVDEC"]["at_once_1"]["clips_per_s"] > 0 for film in films.values())
