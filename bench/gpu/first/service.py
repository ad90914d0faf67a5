"""X3D-M in the real Triton: time to ready, slot to scores, workers that are killed under load, memory that stays.

python -m bench.gpu.first.service ADDRESS TRANSPORT GPU FILE        a worker that sends until it is killed
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.settings import CHECKOUT
from app.shm.pool import remove_stale_regions
from bench.gpu import memory, networks, path, server
from bench.gpu.first.report import Report

ALLOWED = 0.05  # of bf16: how close it is, the step `layouts` says
SECONDS, LOAD_S = 1.5, 1.5
VICTIMS = 3
SENDERS = 8
START_S = 20.0
BATCH = 16
REGIONS_CLOSED_S = 5.0  # the models' processes look for dead workers every 2 s
TELLING = re.compile(
    r"Forcing CPU|IPC|ipc|layout|healthy|terminate|Failed|failed|on GPU|pool|gpu_clips|libcuda|error", re.I
)


class Sender(NamedTuple):
    """As much of a BenchModel as a worker needs."""

    name: str
    clips: NDArray[np.uint8]


def run(report: Report, dry_run: bool) -> None:
    """Run all of it with one Triton, and start that once more at the end: the layout is cached then."""
    if (reason := server.missing()) is not None:
        report.add("left_out", reason)
        return
    name, device = ("x3d_s", "cpu") if dry_run else ("x3d_m", "cuda:0")
    subject = networks.subject(name, device, small=dry_run)
    report.add("network", name)
    with tempfile.TemporaryDirectory(prefix="clipstack-service-") as temporary:
        folder = Path(temporary)
        parameters = {"engine": "torch", "precision": "f32"} if dry_run else {}
        networks.write_model(subject, folder / "models", parameters)
        np.save(folder / "clips.npy", subject.clips)
        precision, batch = ("f32", 2) if dry_run else ("bf16", BATCH)
        for number in (1, 2):
            run_dir = folder / f"run-{number}"
            if number == 2:
                _keep_layouts(folder / "run-1" / "gpu", run_dir / "gpu")
            began = time.monotonic()
            with report.part(f"start {number}"):
                try:
                    with server.running_triton(folder / "models", run_dir, batch, precision) as address:
                        report.add(f"ready_s {number}", time.monotonic() - began)
                        report.add(f"placing {number}", server.placing(run_dir / "triton.log"))
                        if number == 1:
                            _use(report, address, subject, folder, dry_run)
                finally:
                    report.add(f"log {number}", _telling_lines(run_dir / "triton.log"))


def _keep_layouts(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for cached in source.glob("layout-*.json"):
        (target / cached.name).write_bytes(cached.read_bytes())


def _use(report: Report, address: str, subject: networks.BenchModel, folder: Path, dry_run: bool) -> None:
    gpu, used = (None, memory.of_host) if dry_run else (0, memory.of_gpu)
    transports = ["shm"] if dry_run else ["cuda", "shm"]
    seconds = SECONDS / 10 if dry_run else SECONDS
    before = used()
    for transport in transports:
        with report.part(transport):
            report.add(transport, asyncio.run(path.measure(address, subject, transport, gpu, ALLOWED, seconds)))
    report.add("growth_bytes", used() - before)
    before = used()
    for number in range(VICTIMS):
        with report.part(f"killed {number + 1}"):
            report.add(f"killed {number + 1}", _kill_under_load(address, transports[0], folder, subject, gpu, dry_run))
    time.sleep(REGIONS_CLOSED_S)
    report.add("left_by_killed_bytes", used() - before)
    with report.part("idle worker killed"):
        report.add("idle worker killed", asyncio.run(memory.killed(address, subject, transports[0], gpu, used)))


def _kill_under_load(
    address: str, transport: str, folder: Path, subject: networks.BenchModel, gpu: int | None, dry_run: bool
) -> dict[str, Any]:
    """Kill a worker that sends without pause; return the answers that another one gets afterwards."""
    words = [address, transport, str(gpu), str(folder / "clips.npy"), subject.name]
    command = [sys.executable, "-m", "bench.gpu.first.service", *words]
    worker = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    try:
        if "sends" not in worker.stdout.readline():
            raise path.PathError("the worker did not start")
        time.sleep(LOAD_S / 5 if dry_run else LOAD_S)
        os.kill(worker.pid, signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    remove_stale_regions()
    answers = {}
    for way in dict.fromkeys((transport, "shm")):
        measured = asyncio.run(path.measure(address, subject, way, gpu, ALLOWED, 0.2))
        answers[way] = measured["senders"]["1"]["p50_ms"]
    return {"answers_p50_ms": answers}


def _telling_lines(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line[:240] for line in lines if TELLING.search(line) and line[:1] not in "|+"][-40:]


async def _send_until_killed(address: str, transport: str, gpu: int | None, sender: Sender) -> None:
    async with path.worker(address, transport, sender, gpu) as (pool, triton):  # type: ignore[arg-type]
        await path.ask(pool, triton, sender, 0)  # type: ignore[arg-type]
        print("sends", flush=True)
        await path.send(pool, triton, sender, SENDERS, START_S)  # type: ignore[arg-type]


if __name__ == "__main__":
    where, how, which, file, model = sys.argv[1:]
    number = None if which == "None" else int(which)
    asyncio.run(_send_until_killed(where, how, number, Sender(model, np.load(file))))
