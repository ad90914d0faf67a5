"""Checks of shared memory: large enough, without leftovers, and registered with Triton."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import preflight, processes
from deploy.stack.paths import triton_regions

MIB = 1 << 20
MAX_NAMES = 3  # files named in one message

SHM_TOO_SMALL = KnownIssue(
    name="shared memory too small",
    symptom='`make up` refuses to start. Web workers exit at their start ("has no room").',
    message="{shm} has {size} MiB in all, but the settings need {need} MiB.",
    fix="Run `mount -o remount,size={need}m {shm}` (in Docker set CLIPSTACK_SHM_SIZE), or lower CLIPSTACK_SLOTS, "
    "CLIPSTACK_SLOT_MB or CLIPSTACK_WEB_WORKERS.",
)
SHM_FULL = KnownIssue(
    name="shared memory full",
    symptom="`make up` refuses to start. A restarted web worker exits again and again.",
    message="{shm} has {free} MiB free, but {need} MiB are needed. It holds {holders}.",
    fix="Stop or remove what fills it, or enlarge it: `mount -o remount,size=... {shm}`.",
)
STALE_REGIONS = known_warning(
    name="stale regions",
    symptom="/dev/shm fills up.",
    message="Dead processes left {count} regions of {size} MiB: {names}",
    fix="The next start removes them. To remove them now: rm {names}",
)
STALE_TRITON_MEMORY = known_warning(
    name="stale memory of Triton",
    symptom="/dev/shm fills up.",
    message="A killed Triton left {count} files of {size} MiB: {names}",
    fix="The next start removes them. To remove them now: rm {names}",
)
UNKNOWN_REGIONS = known_warning(
    name="regions unknown to Triton",
    symptom='Responses have "transport": "inline" and take longer.',
    message="Triton has not opened the shared memory of {workers}, so their clips travel inside the messages.",
    fix="See the checks of namespaces and Triton's flags. Search for \"region\" in web's log, then restart web.",
)

CHECKS = Checks()


@CHECKS.add("shared memory", SHM_TOO_SMALL, SHM_FULL)
def size(context: Context) -> Iterator[Finding]:
    """Check that shared memory is large enough for the settings."""
    context.require_state()
    context.require_web()
    memory = os.statvfs(context.shm)
    total, free = memory.f_blocks * memory.f_frsize, memory.f_bavail * memory.f_frsize
    need = preflight.needed_memory(context.settings)
    # A running stack only needs memory for one more worker, which a reload starts before the old one ends.
    need_now = context.settings.slots * context.settings.slot_mb * MIB if context.programs else need
    if total < need:
        yield SHM_TOO_SMALL.finding(shm=context.shm, size=total // MIB, need=-(-need // MIB))
    elif free < need_now:
        holders = _holders(context.shm)
        yield SHM_FULL.finding(shm=context.shm, free=free // MIB, need=need_now // MIB, holders=holders)
    yield ok(f"{free // MIB} of {total // MIB} MiB free in {context.shm}; the settings need {need // MIB} MiB")


@CHECKS.add("stale regions", STALE_REGIONS)
def stale(context: Context) -> Iterator[Finding]:
    """Report regions of dead processes."""
    from app.shm.pool import PREFIX, is_stale

    sizes = _sizes([path for path in context.shm.glob(f"{PREFIX}-*") if is_stale(path.name)])
    if sizes:
        yield _leftovers(STALE_REGIONS, sizes)
    yield ok("no region of a dead process")


@CHECKS.add("Triton's memory", STALE_TRITON_MEMORY)
def triton_memory(context: Context) -> Iterator[Finding]:
    """Report memory of a killed Triton; its name contains a hash of the run folder, and the next start removes it."""
    context.require_triton()
    sizes = _sizes(processes.unused(context.shm.glob(f"{triton_regions(context.run_dir)}*")))
    if sizes:
        yield _leftovers(STALE_TRITON_MEMORY, sizes)
    yield ok("no memory of a killed Triton")


@CHECKS.add("registered regions", UNKNOWN_REGIONS)
def registered(context: Context) -> Iterator[Finding]:
    """Check that Triton has opened every worker's region."""
    from app.shm.pool import PREFIX

    if not context.triton_local:
        raise Skipped("Triton runs elsewhere, and clips travel inside the messages")
    context.require_running()
    if not context.has_web or context.settings.transport in ("inline", "cuda"):
        raise Skipped("clips do not use the host's shared memory")
    open_regions = probes.regions(context.settings)
    pids = {path.name: int(path.name.split("-")[1]) for path in context.shm.glob(f"{PREFIX}-*")}
    unknown = sorted(pid for name, pid in pids.items() if pid in context.processes and name not in open_regions)
    if unknown:
        yield UNKNOWN_REGIONS.finding(workers=", ".join(f"pid {pid}" for pid in unknown))
    yield ok("Triton has opened every worker's region")


def _leftovers(issue: KnownIssue, sizes: dict[Path, int]) -> Finding:
    largest = [str(path) for path in sorted(sizes, key=lambda path: -sizes[path])[:MAX_NAMES]]
    names = " ".join(largest) + (" ..." if len(sizes) > MAX_NAMES else "")
    return issue.finding(count=len(sizes), size=sum(sizes.values()) // MIB, names=names)


def _holders(shm: Path) -> str:
    """Return the largest users of `shm`, grouped by the beginning of the file name."""
    used: Counter[str] = Counter()
    for path, used_bytes in _sizes(list(shm.iterdir())).items():
        used[path.name.split("-")[0].split(".")[0]] += used_bytes
    largest = [f"{used_bytes // MIB} MiB of {name}*" for name, used_bytes in used.most_common(MAX_NAMES)]
    return ", ".join(largest) or "no file that this user can see"


def _sizes(paths: list[Path]) -> dict[Path, int]:
    """Return the bytes that each file takes; skip files that have vanished."""
    sizes = {}
    for path in paths:
        try:
            sizes[path] = path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return sizes
