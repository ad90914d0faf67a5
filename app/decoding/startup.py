"""Checks of a new decoder pool: its sandbox, its GPU, and the warm-up of every process."""

import logging
import time

from pebble import ProcessPool

from app.decoding import worker
from app.sandbox import SandboxConfig, current_layers, report_missing
from app.video import gpu_decoding
from app.video.gpu_decoding import GpuUnavailable

START_TIMEOUT_S = 30.0
ROUND_S = 0.02

log = logging.getLogger(__name__)


def check_layers(pool: ProcessPool, confinement: SandboxConfig) -> None:
    """Check the sandbox of the first process, and its GPU if `confinement` names one.

    Raises:
        SandboxError: A required layer of the sandbox is unavailable.
        GpuUnavailable: Decoding on a GPU is configured but impossible.
    """
    report_missing(pool.schedule(current_layers).result(START_TIMEOUT_S), confinement)
    if confinement.gpu is None:
        return
    if reason := pool.schedule(gpu_decoding.unavailable_reason).result(START_TIMEOUT_S):
        raise GpuUnavailable(f"CLIPSTACK_DECODER_DEVICE is cuda, and no video can be decoded there: {reason}")


def wait_warm(pool: ProcessPool, processes: int) -> tuple[int, str]:
    """Wait until each process has reported its warm-up; repeated, because any free process may take a task.

    Returns:
        The number of warm processes, and why the others are not; the reason is empty if all are.
    """
    errors_by_pid: dict[int, str] = {}
    deadline = time.monotonic() + START_TIMEOUT_S
    while len(errors_by_pid) < processes and time.monotonic() < deadline:
        tasks = [pool.schedule(worker.warmup_error) for _ in range(processes)]
        errors_by_pid |= dict(task.result(START_TIMEOUT_S) for task in tasks)
        if len(errors_by_pid) < processes:
            time.sleep(ROUND_S)
    errors = sorted({error for error in errors_by_pid.values() if error})
    if len(errors_by_pid) < processes:
        errors.append(f"{len(errors_by_pid)} of its {processes} decoders have started")
    if errors:
        log.warning("decoders are not warm: %s", "; ".join(errors))
    return list(errors_by_pid.values()).count(""), "; ".join(errors)
