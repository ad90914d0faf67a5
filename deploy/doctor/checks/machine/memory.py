"""Checks of shared memory: large enough, without leftovers, and registered with Triton."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import preflight, processes
from deploy.stack.places import triton_regions

MIB = 1 << 20
MOST_NAMED = 3

SHM_TOO_SMALL = KnownIssue(
    "shared memory too small", "wrong", "`make up` refuses; web workers end at their start (\"has no room\")",
    "{shm} has {size} MiB in all, and the settings need {need} MiB",
    "mount -o remount,size={need}m {shm} (in Docker: CLIPSTACK_SHM_SIZE); or lower CLIPSTACK_SLOTS, CLIPSTACK_SLOT_MB "
    "or CLIPSTACK_WEB_WORKERS",
)  # fmt: skip
SHM_FULL = KnownIssue(
    "shared memory full", "wrong", "`make up` refuses; a web worker that was restarted ends again and again",
    "{shm} has {free} MiB free and {need} MiB are needed; it holds {holders}",
    "stop or remove what fills it, or make it larger: mount -o remount,size=... {shm}",
)  # fmt: skip
STALE_REGIONS = KnownIssue(
    "stale regions", "warning", "/dev/shm fills up",
    "{count} regions of {size} MiB are left of processes that are dead: {names}",
    "the next start removes them; now: rm {names}",
)  # fmt: skip
TRITON_LEFT = KnownIssue(
    "memory left by Triton", "warning", "/dev/shm fills up",
    "{count} files of a Triton that was killed are left, {size} MiB: {names}",
    "the next start removes them; now: rm {names}",
)  # fmt: skip
UNKNOWN_REGIONS = KnownIssue(
    "regions that Triton does not know", "warning", "answers say \"transport\": \"inline\" and take longer",
    "Triton does not know the memory of {workers}: its clips travel inside the messages",
    "see the namespaces and Triton's flags below; `grep region` in the log of web says why; then restart web",
)  # fmt: skip


def size(patient: Context) -> Iterator[Finding]:
    """Check that shared memory is large enough for the settings."""
    patient.seen()
    memory = os.statvfs(patient.shm)
    total, free = memory.f_blocks * memory.f_frsize, memory.f_bavail * memory.f_frsize
    if not patient.has_web:
        raise Skipped("slots are in another container")
    need = preflight.needed_memory(patient.settings)
    # A running stack only needs memory for one more worker, which a reload starts before the old one ends.
    still = patient.settings.slots * patient.settings.slot_mb * MIB if patient.programs else need
    if total < need:
        yield SHM_TOO_SMALL.found(shm=patient.shm, size=total // MIB, need=-(-need // MIB))
    elif free < still:
        yield SHM_FULL.found(shm=patient.shm, free=free // MIB, need=still // MIB, holders=_holders(patient.shm))
    yield fine(f"{patient.shm} has {free // MIB} of {total // MIB} MiB free; the settings need {need // MIB} MiB")


def stale(patient: Context) -> Iterator[Finding]:
    """Report regions of dead processes."""
    from app.shm.pool import PREFIX, is_stale

    left = [path for path in patient.shm.glob(f"{PREFIX}-*") if is_stale(path.name)]
    if sizes := _sizes(left):
        yield STALE_REGIONS.found(count=len(sizes), size=sum(sizes.values()) // MIB, names=_names(sizes))
    yield fine("every region has a living owner")


def left_by_triton(patient: Context) -> Iterator[Finding]:
    """Report memory of a killed Triton; its name contains a hash of the run folder, and the next start removes it."""
    if not patient.has_triton:
        raise Skipped("Triton is in another container")
    sizes = _sizes(processes.unused(patient.shm.glob(f"{triton_regions(patient.run_dir)}*")))
    if sizes:
        yield TRITON_LEFT.found(count=len(sizes), size=sum(sizes.values()) // MIB, names=_names(sizes))
    yield fine("nothing is left of Triton")


def registered(patient: Context) -> Iterator[Finding]:
    """Check that Triton has opened every worker's region."""
    from app.shm.pool import PREFIX

    patient.running()
    if not patient.has_web or patient.settings.transport in ("inline", "cuda"):
        raise Skipped("no clip is to travel by shared memory of the host")
    open_regions = probes.regions(patient.settings)
    ours = {path.name: int(path.name.split("-")[1]) for path in patient.shm.glob(f"{PREFIX}-*")}
    unknown = {name: pid for name, pid in ours.items() if pid in patient.processes and name not in open_regions}
    if unknown:
        workers = ", ".join(f"pid {pid}" for pid in sorted(unknown.values()))
        yield UNKNOWN_REGIONS.found(workers=workers)
    yield fine("Triton knows every worker's region")


def _holders(shm: Path) -> str:
    """Return the largest users of `shm`, grouped by the beginning of the file name."""
    held: Counter[str] = Counter()
    for path, held_bytes in _sizes(list(shm.iterdir())).items():
        held[path.name.split("-")[0].split(".")[0]] += held_bytes
    largest = [f"{held_bytes // MIB} MiB of {name}*" for name, held_bytes in held.most_common(MOST_NAMED)]
    return ", ".join(largest) or "nothing that we can see"


def _sizes(paths: list[Path]) -> dict[Path, int]:
    """Return the bytes that each file takes; skip files that have vanished."""
    sizes = {}
    for path in paths:
        try:
            sizes[path] = path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return sizes


def _names(found: dict[Path, int]) -> str:
    largest = [str(path) for path in sorted(found, key=lambda path: -found[path])[:MOST_NAMED]]
    return " ".join(largest) + (" ..." if len(found) > MOST_NAMED else "")


CHECKS = (
    Check("shared memory", size, (SHM_TOO_SMALL, SHM_FULL)),
    Check("stale regions", stale, (STALE_REGIONS,)),
    Check("Triton's memory", left_by_triton, (TRITON_LEFT,)),
    Check("registered regions", registered, (UNKNOWN_REGIONS,)),
)
