"""Checks of GPUs; a machine without one is fine unless a setting requires it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, ok
from deploy.doctor.context import Context
from deploy.gpu import discovery

DRIVER = Path("/proc/driver/nvidia/version")

GPU_UNUSABLE = KnownIssue(
    name="GPU unusable",
    verdict="warning",
    symptom="Models run on the CPU although the machine has a GPU.",
    message="A GPU driver is installed, but no GPU can be used: {reason}.",
    fix="Run `nvidia-smi`. CUDA_VISIBLE_DEVICES may hide the GPU, or another program may fill its memory. In Docker "
    "add deploy/compose.gpu.yml.",
)
GPU_REQUIRED = KnownIssue(
    name="GPU required",
    symptom="Web workers exit at their start.",
    message="CLIPSTACK_TRANSPORT=cuda requires a GPU, but there is none: {reason}.",
    fix="Unset CLIPSTACK_TRANSPORT, or repair the driver: `python -m deploy.gpu.discovery` lists the GPUs.",
)


def usable(context: Context) -> Iterator[Finding]:
    """List the usable GPUs, and report a driver without any."""
    try:
        gpus = discovery.usable(environment=context.environment)
    except discovery.NoGpu as error:
        if DRIVER.exists():
            yield GPU_UNUSABLE.finding(reason=error)
        yield ok(f"no GPU; models run on the CPU ({error})")
        return
    driver = DRIVER.read_text().splitlines()[0] if DRIVER.exists() else "driver of an unknown version"
    yield ok("; ".join(map(str, gpus)) + f" ({driver.partition('  ')[0]})")


def required(context: Context) -> Iterator[Finding]:
    """Check that the GPU required by CLIPSTACK_TRANSPORT is usable."""
    if context.settings.transport == "cuda":
        try:
            discovery.usable(environment=context.environment)
        except discovery.NoGpu as error:
            yield GPU_REQUIRED.finding(reason=error)
    yield ok("the transport requires no missing GPU")


CHECKS = (
    Check("GPU", usable, (GPU_UNUSABLE,)),
    Check("GPU transport", required, (GPU_REQUIRED,)),
)
