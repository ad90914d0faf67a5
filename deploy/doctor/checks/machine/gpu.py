"""Checks of GPUs; a machine without one is fine unless a setting requires it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, ok
from deploy.doctor.context import Context
from deploy.gpu import discovery
from deploy.stack import preflight

DRIVER = Path("/proc/driver/nvidia/version")

GPU_UNUSABLE = KnownIssue(
    name="GPU unusable",
    verdict="warning",
    symptom="Models run on the CPU although the machine has a GPU.",
    message="A GPU driver is installed, but no GPU can be used: {why}.",
    fix="Run `nvidia-smi`. CUDA_VISIBLE_DEVICES may hide the GPU, or another program may fill its memory. In Docker "
    "add deploy/compose.gpu.yml.",
)
GPU_REQUIRED = KnownIssue(
    name="GPU required",
    symptom="`make up` refuses to start, or web workers exit at their start.",
    message="{setting} requires a GPU, but {why}.",
    fix="Unset {setting}, or repair the driver: `python -m deploy.gpu.discovery` lists the GPUs.",
)


def usable(context: Context) -> Iterator[Finding]:
    """List the usable GPUs, and report a driver without any."""
    try:
        gpus = discovery.usable(environment=context.environment)
    except discovery.NoGpu as error:
        if DRIVER.exists():
            yield GPU_UNUSABLE.finding(why=error)
        yield ok(f"no GPU; models run on the CPU ({error})")
        return
    driver = DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "driver of an unknown version"
    yield ok("; ".join(map(str, gpus)) + f" ({driver.partition('  ')[0]})")


def required(context: Context) -> Iterator[Finding]:
    """Check that the GPU required by a setting is usable."""
    for reason in preflight.missing_for_gpu_decoding(context.settings):
        yield GPU_REQUIRED.finding(setting="CLIPSTACK_DECODER_DEVICE=cuda", why=reason)
    if context.settings.transport == "cuda":
        try:
            discovery.usable(environment=context.environment)
        except discovery.NoGpu as error:
            yield GPU_REQUIRED.finding(setting="CLIPSTACK_TRANSPORT=cuda", why=f"there is none: {error}")
    yield ok("no setting requires a missing GPU")


CHECKS = (
    Check("GPU", usable, (GPU_UNUSABLE,)),
    Check("GPU settings", required, (GPU_REQUIRED,)),
)
