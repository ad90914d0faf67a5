"""The whole path: a clip in a worker's slot, through the app's own client and Triton, to scores; by every transport."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.cuda_slots import open_pool
from app.inference import Triton
from app.settings import CHECKOUT
from app.slots import DEVICE_SUFFIX, SlotPool, is_stale, remove_stale_regions
from bench.gpu_networks import Subject
from deploy.ports import free_ports

WAYS = {"cuda": "cuda_shared_memory", "shm": "system_shared_memory", "inline": "inline"}
SENDERS = (1, 4, 16)
SLOTS = 32
START_S = 300.0
MEASURE_S = 3.0


class PathError(Exception):
    """The whole path does not do what it must; the message says what."""


@contextmanager
def running_triton(models: Path, run_dir: Path, batch: int, precision: str) -> Iterator[str]:
    """Triton's address, started by the stack's own command on a free port, with all models loaded."""
    for name in ("triton", "gpu"):
        (run_dir / name).mkdir(parents=True)
    for name, target in (("models", models), ("backends", CHECKOUT / ".runtime" / "triton" / "backends")):
        (run_dir / "triton" / name).symlink_to(target)
    port, metrics = free_ports(2)
    environment = os.environ | {
        "CLIPSTACK_RUN_DIR": str(run_dir),
        "CLIPSTACK_MODEL_DIR": str(models),
        "CLIPSTACK_TRITON_ADDRESS": f"127.0.0.1:{port}",
        "CLIPSTACK_TRITON_METRICS_PORT": str(metrics),
        "CLIPSTACK_GPU_BATCH": str(batch),
        "CLIPSTACK_GPU_PRECISION": precision,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    log = run_dir / "triton.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "deploy.launch", "triton"]
        server = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=out, stderr=out)
    try:
        _wait(f"127.0.0.1:{port}", server, log)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    deadline = time.monotonic() + START_S
    with InferenceServerClient(address) as client:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                if client.is_server_live():  # its port opens when the last model is loaded, or has failed to
                    if unready := [m.name for m in client.get_model_repository_index().models if m.state != "READY"]:
                        raise PathError(f"Triton does not serve {unready}:\n{_tail(log)}")
                    return
            except InferenceServerException:
                time.sleep(0.2)
    raise PathError(f"Triton does not start:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]


@asynccontextmanager
async def worker(address: str, transport: str, slot_bytes: int, gpu: int | None) -> AsyncIterator[tuple[SlotPool, Any]]:
    """A pool and a connection as a web worker has them."""
    pool = open_pool(transport, SLOTS, slot_bytes, gpu if transport == "cuda" else None)
    triton = Triton(address, pool, transport)
    try:
        await triton.models()
        yield pool, triton
    finally:
        await triton.close()
        pool.close()


async def ask(pool: SlotPool, triton: Triton, subject: Subject, number: int) -> tuple[NDArray[np.float32], str]:
    """Scores of one of the subject's clips, written into a slot as a decoder writes it, and the way it took."""
    clip = subject.clips[number % len(subject.clips)]
    (offset,) = await pool.acquire(1)
    try:
        pool.view(offset, clip.shape)[:] = clip
        answer = await triton.infer(subject.name, "1", offset, clip.shape)
    finally:
        pool.release(offset)
    return answer.values, answer.transport


async def _sent(pool: SlotPool, triton: Triton, subject: Subject, senders: int, seconds: float) -> list[float]:
    """Seconds of every request of `senders` that each send the next clip when they have the scores of the last."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        clip = subject.clips[number % len(subject.clips)]
        (offset,) = await pool.acquire(1)
        pool.view(offset, clip.shape)[:] = clip
        while (begun := time.perf_counter()) < end:
            await triton.infer(subject.name, "1", offset, clip.shape)
            times.append(time.perf_counter() - begun)
        pool.release(offset)

    await asyncio.gather(*(one(number) for number in range(senders)))
    return times


async def measure(address: str, subject: Subject, transport: str, gpu: int | None, allowed: float) -> dict[str, Any]:
    """Correctness first; then slot to scores for one sender and many. PathError when an answer is wrong."""
    async with worker(address, transport, subject.clips[0].nbytes + 4096, gpu) as (pool, triton):
        off = 0.0
        for number in range(2 * len(subject.clips)):
            scores, way = await ask(pool, triton, subject, number)
            if way != WAYS[transport]:
                raise PathError(f"{subject.name} went by {way} instead of {WAYS[transport]}")
            off = max(off, float(np.abs(scores - subject.right[number % len(subject.clips)]).max()))
        if not off <= allowed:
            raise PathError(f"{subject.name} by {transport} is off by {off:.2g}, allowed is {allowed:.2g}")
        answer: dict[str, Any] = {"largest_difference": off, "senders": {}}
        for senders in SENDERS:
            await _sent(pool, triton, subject, senders, MEASURE_S / 10)
            begun = time.perf_counter()
            times = await _sent(pool, triton, subject, senders, MEASURE_S)
            answer["senders"][str(senders)] = {
                "p50_ms": float(np.percentile(times, 50)) * 1e3,
                "p99_ms": float(np.percentile(times, 99)) * 1e3,
                "clips_per_s": len(times) / (time.perf_counter() - begun),
            }
    return answer


async def growth(
    address: str, subject: Subject, transport: str, gpu: int | None, used: Callable[[], int], requests: int
) -> dict[str, Any]:
    """Memory in use before and after so many requests, bytes, and what a worker's pool takes."""
    before_worker = used()
    async with worker(address, transport, subject.clips[0].nbytes + 4096, gpu) as (pool, triton):
        for number in range(50):
            await ask(pool, triton, subject, number)
        before = used()
        for number in range(requests):
            await ask(pool, triton, subject, number)
        after = used()
    return {"requests": requests, "worker_bytes": before - before_worker, "growth_bytes": after - before}


async def killed(
    address: str, subject: Subject, transport: str, gpu: int | None, used: Callable[[], int]
) -> dict[str, Any]:
    """A worker that is killed in the middle of its work; what is left when the reaper of another one has run."""
    before = used()
    words = [sys.executable, "-m", "bench.gpu_path", address, transport, str(gpu), str(subject.clips[0].nbytes)]
    victim = subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert victim.stdout
    name = victim.stdout.readline().strip()
    during = used()
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    remove_stale_regions()
    pool = SlotPool(1, 4096)
    triton = Triton(address, pool, "shm")
    names = await triton.regions()
    stale = [known for known in names if is_stale(known)]
    for known in stale:
        await triton.forget(known)
    left = [known for known in await triton.regions() if known.startswith(name)]
    await triton.close()
    pool.close()
    if not name or name not in [known.removesuffix(DEVICE_SUFFIX) for known in stale] or left:
        raise PathError(f"of the killed worker {name!r} Triton had {stale}, and has {left}")
    return {"regions": stale, "held_bytes": during - before, "left_bytes": used() - before}


async def _victim(address: str, transport: str, gpu: int | None, slot_bytes: int) -> None:
    """A worker that registers its regions, says its name, and waits to be killed."""
    pool = open_pool(transport, SLOTS, slot_bytes, gpu)
    triton = Triton(address, pool, transport)
    await triton.register()
    assert transport == "inline" or triton._registered, triton.transports.facts()
    print(pool.name, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    where, how, which, size = sys.argv[1:]
    asyncio.run(_victim(where, how, None if which == "None" else int(which), int(size)))
