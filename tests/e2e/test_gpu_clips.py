"""Clips by reference in the real Triton, with NVIDIA's driver replaced by one that uses host memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient, InferenceServerException, InferInput
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from app.inference.client import ClipInput, Scores, Triton
from app.inference.transports import CUDA, SYSTEM
from app.settings import CHECKOUT
from app.shm import cuda_region
from app.shm.cuda_pool import CudaSlotPool
from deploy.gpu.placement import GpuPlacement, folder, write_all
from tests.support.cuda_driver import fake_library
from tests.support.cuda_fake import FakeCuda
from tests.support.networks import served_video
from tests.support.triton_server import BACKENDS, running_triton
from triton_repo.backends.clip.gpu_clips.driver import LIBRARY
from triton_repo.zoo.export import engine_files
from triton_repo.zoo.export.openvino import example_clips, write_model

MODEL, SHAPE = "video", (4, 48, 48, 3)
CLIP_BYTES = int(np.prod(SHAPE))
CLOSE_S = 10.0
WORKER = """
import sys
import numpy as np
from app.shm.cuda_pool import CudaSlotPool
from tests.support.cuda_fake import FakeCuda
cuda = FakeCuda()
pool = CudaSlotPool(1, {size}, cuda)
cuda.write(pool.device._address, bytes({size}))
print(pool.device.reference(0).hex(), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def triton() -> Iterator[InferenceServerClient]:
    with tempfile.TemporaryDirectory(prefix="triton-") as name:
        place = Path(name)
        version = write_model(served_video(), MODEL, place / "models") / "1"
        engine_files.make("torch", "f32", served_video(), version)
        (place / "run" / "gpu").mkdir(parents=True)
        write_all(place / "models", place / "run", GpuPlacement((0,), 1, "f32", 8))
        on_cpu(folder(place / "run") / MODEL / "config.pbtxt")
        with running_triton(folder(place / "run"), place / "triton", backends=backends(place)) as client:
            yield client


def on_cpu(config: Path) -> None:
    """Change a configuration for a GPU to run on the CPU."""
    parsed = text_format.Parse(config.read_text(), ModelConfig())
    del parsed.instance_group[0].gpus[:]
    parsed.instance_group[0].kind = ModelInstanceGroup.KIND_CPU
    config.write_text(text_format.MessageToString(parsed))


def backends(place: Path) -> Path:
    """The backends with another driver."""
    made = place / "backends"
    made.mkdir()
    (made / "python").symlink_to(BACKENDS / "python")
    shutil.copytree(CHECKOUT / "triton_repo" / "backends" / "clip", made / "clip")
    driver = made / "clip" / "gpu_clips" / "driver.py"
    assert driver.read_text().count(f'"{LIBRARY}"') == 1
    driver.write_text(driver.read_text().replace(f'"{LIBRARY}"', f'"{fake_library(place)}"'))
    return made


def address(client: InferenceServerClient) -> str:
    return str(client._channel._channel.target().decode())


def by_reference(*references: bytes) -> list[InferInput]:
    tensor = InferInput(cuda_region.INPUT, [len(references), cuda_region.REFERENCE.size], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(b"".join(references), np.uint8).reshape(len(references), -1))
    return [tensor]


def inline(clips: np.ndarray) -> list[InferInput]:
    tensor = InferInput("CLIP", clips.shape, "UINT8")
    tensor.set_data_from_numpy(clips)
    return [tensor]


@contextmanager
def worker() -> Iterator[tuple[bytes, subprocess.Popen[str]]]:
    """Start a process with a black clip; yields the clip's reference and the process."""
    command = [sys.executable, "-c", WORKER.format(size=CLIP_BYTES)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    try:
        yield bytes.fromhex(process.stdout.readline()), process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        for path in Path("/dev/shm").glob(f"clipstack-{process.pid}-*"):
            path.unlink()


def open_regions() -> int:
    """Return how many regions of FakeCuda the Python backends have open."""
    count = 0
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if b"triton_python_backend_stub" in maps.with_name("cmdline").read_bytes():
                count += maps.read_text().count("/memfd:gpu")
        except OSError:
            continue
    return count


def test_app_sends_clips_by_reference_and_gets_their_scores(triton: InferenceServerClient) -> None:
    clips = example_clips(served_video(), 3)
    right = triton.infer(MODEL, inline(clips)).as_numpy("SCORES")

    async def scenario() -> list[Scores]:
        pool = CudaSlotPool(3, CLIP_BYTES, FakeCuda())
        client = Triton(address(triton), pool, "auto")
        await client.models()
        offsets = await pool.acquire(3)
        for offset, clip in zip(offsets, clips, strict=True):
            pool.view(offset, SHAPE)[:] = clip
        answers = await asyncio.gather(*(client.infer(ClipInput(MODEL, "1", offset, SHAPE)) for offset in offsets))
        await client.close()
        pool.close()
        return answers

    answers = asyncio.run(scenario())
    assert [answer.transport for answer in answers] == [CUDA] * 3
    np.testing.assert_allclose([answer.values for answer in answers], right, atol=1e-5)


def test_dead_workers_handle_fails_one_request_and_not_the_model(triton: InferenceServerClient) -> None:
    with worker() as (reference, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(InferenceServerException, match="CUDA IPC: region .* cannot be opened: CUDA_ERROR_"):
            triton.infer(MODEL, by_reference(reference))
    clips = example_clips(served_video(), 1)
    assert triton.infer(MODEL, inline(clips)).as_numpy("SCORES").shape == (1, 5)


def test_app_falls_back_when_the_handle_cannot_be_opened(triton: InferenceServerClient) -> None:
    async def scenario() -> str:
        cuda = FakeCuda()
        pool = CudaSlotPool(1, CLIP_BYTES, cuda)
        pool.device.handle = bytes(64)
        client = Triton(address(triton), pool, "auto")
        await client.models()
        answer = await client.infer(ClipInput(MODEL, "1", 0, SHAPE))
        assert client.transports.refusals == {CUDA: 1}
        await client.close()
        pool.close()
        return answer.transport

    assert asyncio.run(scenario()) == SYSTEM


def test_memory_of_killed_workers_is_closed(triton: InferenceServerClient) -> None:
    for _ in range(3):
        with worker() as (reference, process):
            triton.infer(MODEL, by_reference(reference))
            assert open_regions() > 0
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    deadline = time.monotonic() + CLOSE_S
    while open_regions() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert open_regions() == 0


def test_hundred_requests_open_a_region_once(triton: InferenceServerClient) -> None:
    black = triton.infer(MODEL, inline(np.zeros((1, *SHAPE), np.uint8))).as_numpy("SCORES")
    with worker() as (reference, _):
        for _ in range(100):
            scores = triton.infer(MODEL, by_reference(reference)).as_numpy("SCORES")
        assert open_regions() == 1
    np.testing.assert_allclose(scores, black, atol=1e-5)


def test_mixed_requests_each_get_their_own_answer(triton: InferenceServerClient) -> None:
    clips = example_clips(served_video(), 1)
    right = triton.infer(MODEL, inline(clips)).as_numpy("SCORES")
    black = triton.infer(MODEL, inline(np.zeros((1, *SHAPE), np.uint8))).as_numpy("SCORES")
    with worker() as (good, _), worker() as (bad, process):
        process.kill()
        process.wait()
        inputs = [inline(clips), by_reference(good), by_reference(bad), by_reference(good, good)] * 10
        answers: list[object] = [None] * len(inputs)

        def keep(place: int):
            return lambda result, error: answers.__setitem__(place, error or result.as_numpy("SCORES"))

        for place, tensors in enumerate(inputs):
            triton.async_infer(MODEL, tensors, keep(place))
        deadline = time.monotonic() + 30
        while any(answer is None for answer in answers) and time.monotonic() < deadline:
            time.sleep(0.01)
    for place, answer in enumerate(answers):
        if place % 4 == 2:
            assert "CUDA IPC" in str(answer)
        else:
            np.testing.assert_allclose(
                answer, [right, black, None, np.concatenate([black, black])][place % 4], atol=1e-5
            )


def test_request_without_any_clip_is_refused(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException):
        triton.infer(MODEL, [])


@pytest.mark.parametrize("content", [b"", b"\xff"], ids=["zeros", "ones"])
def test_garbage_as_a_reference_is_refused(triton: InferenceServerClient, content: bytes) -> None:
    reference = content.ljust(1, b"\0") * cuda_region.REFERENCE.size
    with pytest.raises(InferenceServerException, match="CUDA IPC: .* is not the name of a region"):
        triton.infer(MODEL, by_reference(reference))
