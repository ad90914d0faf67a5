"""Checks of GPUs; a machine without one is fine unless a setting requires it."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context
from deploy.gpu import discovery, driver_link

DRIVER = Path("/proc/driver/nvidia/version")

GPU_UNUSABLE = known_warning(
    name="GPU unusable",
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


NO_LIBCUDA = KnownIssue(
    name="GPU driver's library",
    symptom='Triton\'s log has "Forcing CPU only input tensors", or responses do not have "transport": '
    '"cuda_shared_memory".',
    message="{program} cannot load {library}: {reason}.",
    fix="Restart triton with supervisorctl, which links the driver's library for it. Where there is no libcuda.so.1, "
    "install the driver's libraries; in Docker set NVIDIA_DRIVER_CAPABILITIES=compute,utility.",
)
LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"

CHECKS = Checks()


@CHECKS.add("GPU", GPU_UNUSABLE)
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


@CHECKS.add("GPU transport", GPU_REQUIRED)
def required(context: Context) -> Iterator[Finding]:
    """Check that the GPU required by CLIPSTACK_TRANSPORT is usable."""
    if context.settings.transport == "cuda":
        try:
            discovery.usable(environment=context.environment)
        except discovery.NoGpu as error:
            yield GPU_REQUIRED.finding(reason=error)
    yield ok("the transport requires no missing GPU")


@CHECKS.add("GPU driver", NO_LIBCUDA)
def library(context: Context) -> Iterator[Finding]:
    """Check that Triton finds the GPU driver's library under the name that it loads."""
    context.require_triton()
    try:
        discovery.usable(environment=context.environment)
    except discovery.NoGpu:
        yield ok("no GPU needs the driver's library")
        return
    program, name, path = "Python", driver_link.LIBRARY, context.environment.get("LD_LIBRARY_PATH", "")
    if pid := context.programs["triton"].pid if "triton" in context.programs else 0:
        program, name = "Triton", driver_link.LINK
        with suppress(psutil.AccessDenied):
            path = psutil.Process(pid).environ().get("LD_LIBRARY_PATH", "")
    loaded = probes.output([sys.executable, "-c", LOAD, name], {"LD_LIBRARY_PATH": path})
    if loaded.returncode:
        reason = (loaded.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix("OSError: ")
        yield NO_LIBCUDA.finding(program=program, library=name, reason=reason)
    yield ok(f"{program} can load {name}")
