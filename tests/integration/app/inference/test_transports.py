"""Transports of clips to Triton: the best one that works, the next one when it fails, and the first one again later."""

import math

import pytest

from app.errors import NotReady
from app.inference import transports
from app.inference.transports import CUDA, INLINE, SYSTEM, Transports
from tests.integration.app.inference.transports import CLIP, Worker, run
from tests.support.cuda_fake import LOST
from tests.support.triton_fake import CLIP_BYTES, MODEL

assert math.prod(CLIP) == CLIP_BYTES


@pytest.mark.parametrize(("transport", "used"), [("auto", CUDA), ("cuda", CUDA), ("shm", SYSTEM), ("inline", INLINE)])
def test_clip_uses_the_best_allowed_transport(transport: str, used: str) -> None:
    async def scenario(worker: Worker) -> None:
        assert [await worker.send(value) for value in (3, 200, 0)] == [used] * 3
        assert worker.triton.transports.clips == {used: 3}
        assert (worker.cuda.copied > 0) == (used == CUDA)
        if used == CUDA:
            assert worker.fake.devices == {worker.pool.name: 2}

    run(scenario, transport)


@pytest.mark.parametrize(("transport", "used"), [("auto", CUDA), ("shm", SYSTEM), ("inline", INLINE)])
def test_gpu_clip_is_copied_only_if_needed(transport: str, used: str) -> None:
    async def scenario(worker: Worker) -> None:
        assert await worker.send_from_gpu(7) == used
        assert worker.cuda.brought_back == (0 if used == CUDA else CLIP_BYTES)
        assert await worker.send(3) == used  # the slot is the host's again

    run(scenario, transport)


def test_gpu_clip_is_sent_when_triton_cannot_open_it() -> None:
    async def scenario(worker: Worker) -> None:
        worker.fake.can_open = False
        assert await worker.send_from_gpu(7) == SYSTEM
        assert not worker.triton.takes_clips_on_gpu(MODEL, "1")

    run(scenario)


def test_clip_lost_with_the_gpu_raises_not_ready() -> None:
    async def scenario(worker: Worker) -> None:
        worker.fake.can_open = False
        worker.cuda.fail("copy", LOST)
        with pytest.raises(NotReady, match="the GPU was lost"):
            await worker.send_from_gpu(7)

    run(scenario)


def test_gpu_models_get_gpu_clips() -> None:
    async def scenario(worker: Worker) -> None:
        assert worker.triton.takes_clips_on_gpu(MODEL, "1")
        worker.fake.on_gpu = False
        await worker.triton.models()
        assert not worker.triton.takes_clips_on_gpu(MODEL, "1")

    run(scenario)


def test_cpu_models_get_host_clips() -> None:
    async def scenario(worker: Worker) -> None:
        worker.fake.on_gpu = False
        await worker.triton.models()
        assert await worker.send(5) == SYSTEM
        assert worker.cuda.copied == 0

    run(scenario)


def test_unopenable_memory_is_logged_once_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(worker: Worker) -> None:
        worker.fake.can_open = False
        assert [await worker.send(1), await worker.send(2)] == [SYSTEM, SYSTEM]
        assert worker.triton.transports.refusals == {CUDA: 1}

    run(scenario)
    assert caplog.text.count("cuda_shared_memory refused") == 1


@pytest.mark.parametrize("where", ["copy", "over"])
def test_lost_gpu_fails_no_request(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(worker: Worker) -> None:
        assert await worker.send(1) == CUDA
        worker.cuda.fail(where, LOST)
        assert await worker.send(2) == SYSTEM
        worker.cuda.heal()
        assert await worker.send(3) == SYSTEM  # not retried at once
        monkeypatch.setattr(worker.triton.transports, "_clock", lambda: float("inf"))
        assert await worker.send(4) == CUDA

    run(scenario)


@pytest.mark.parametrize(
    "error",
    [
        "Failed to process the request(s) for model 'mean_0', message: Stub process 'mean_0_0' is not healthy.",
        "[request id: <id_unknown>] unexpected inference input 'GPU_CLIP' for model 'mean'",
    ],
    ids=["its process ended", "it was replaced by one on the CPU"],
)
def test_rejected_gpu_reference_fails_no_request(error: str) -> None:
    async def scenario(worker: Worker) -> None:
        worker.fake.infer_error = error
        assert [await worker.send(1), await worker.send(2)] == [SYSTEM, SYSTEM]
        assert worker.triton.transports.refusals == {CUDA: 1}

    run(scenario)


def test_refused_transports_are_retried_later() -> None:
    now = 0.0
    ways = Transports(transports.CHAINS["auto"], lambda: now)
    ways.record_refusal(CUDA, "lost")
    assert list(ways.usable(on_gpu=True)) == [SYSTEM, INLINE]
    ways.record_refusal(SYSTEM, "elsewhere")
    assert list(ways.usable(on_gpu=True)) == [INLINE]
    now = transports.RETRY_S
    assert list(ways.usable(on_gpu=True)) == [CUDA, SYSTEM, INLINE]


def test_transport_change_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    ways = Transports(transports.CHAINS["auto"])
    for used in (CUDA, CUDA, SYSTEM, SYSTEM):
        ways.record_use(used)
    assert [record.message for record in caplog.records] == [
        "clips go by cuda_shared_memory",
        "clips go by system_shared_memory, no longer by cuda_shared_memory",
    ]
    assert ways.facts() == {"last": SYSTEM, "clips": {CUDA: 2, SYSTEM: 2}, "refusals": {}}
