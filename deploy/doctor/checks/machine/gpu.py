"""Checks of GPUs; a machine without one is fine unless a setting requires it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context
from deploy.gpu import discovery
from deploy.stack import preflight

DRIVER = Path("/proc/driver/nvidia/version")

GPU_UNUSABLE = KnownIssue(
    "GPU unusable", "warning", "models run on the CPU, and there is a GPU",
    "there is a driver, and no GPU can be used: {why}",
    "nvidia-smi says more; CUDA_VISIBLE_DEVICES may hide it, another may fill it; in Docker: deploy/compose.gpu.yml",
)  # fmt: skip
GPU_WANTED = KnownIssue(
    "GPU wanted", "wrong", "`make up` refuses, or web workers end at their start",
    "{setting} asks for a GPU, and {why}",
    "unset {setting}, or mend the driver: python -m deploy.gpu.discovery says what it sees",
)  # fmt: skip


def seen(patient: Context) -> Iterator[Finding]:
    """List the usable GPUs, and report a driver without any."""
    try:
        gpus = discovery.usable(environment=patient.environment)
    except discovery.NoGpu as error:
        if DRIVER.exists():
            yield GPU_UNUSABLE.found(why=error)
        yield fine(f"none, which is fine: models run on the CPU ({error})")
        return
    driver = DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "driver of an unknown version"
    yield fine("; ".join(map(str, gpus)) + f" ({driver.partition('  ')[0]})")


def wanted(patient: Context) -> Iterator[Finding]:
    """Check that the GPU required by a setting is usable."""
    settings = patient.settings
    for complaint in preflight.gpu_decoding(settings):
        why = complaint.partition(", and ")[2]
        yield GPU_WANTED.found(setting="CLIPSTACK_DECODER_DEVICE=cuda", why=why)
    if settings.transport == "cuda":
        try:
            discovery.usable(environment=patient.environment)
        except discovery.NoGpu as error:
            yield GPU_WANTED.found(setting="CLIPSTACK_TRANSPORT=cuda", why=f"there is none: {error}")
    yield fine("no setting asks for one that is not there")


CHECKS = (
    Check("GPU", seen, (GPU_UNUSABLE,)),
    Check("settings for a GPU", wanted, (GPU_WANTED,)),
)
