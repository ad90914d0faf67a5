"""Checks of disks: space and inodes where uploads, jobs, results, logs and temporary files are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app import damaged
from app.auth.keys import KeyFile
from app.errors import KeyStoreUnavailable
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import places

MIB = 1 << 20
LEAST_BYTES, LOW_BYTES = 64 * MIB, 1024 * MIB
LEAST_INODES = 1000

DISK_FULL = KnownIssue(
    "disk full", "wrong", "503 storage_full; jobs are refused; logs end in the middle",
    "{folder} has {free} MiB free",
    "make room there; `du -xh {folder} | sort -h | tail` shows what takes it",
)  # fmt: skip
DISK_LOW = KnownIssue(
    "disk almost full", "warning", "503 storage_full now and then",
    "{folder} has {free} MiB free",
    "make room there, or keep less: CLIPSTACK_JOB_DAYS, CLIPSTACK_JOB_GB, CLIPSTACK_RESULTS_MB",
)  # fmt: skip
NO_INODES = KnownIssue(
    "no inodes", "wrong", "503 storage_full, and `df` shows room",
    "{folder} has {free} inodes left: no more files can be made, however much room there is",
    "remove many small files there, or use a file system with more inodes (`df -i` shows them)",
)  # fmt: skip
UPLOADS_TOO_SMALL = KnownIssue(
    "uploads cannot hold an upload", "wrong", "503 storage_full for large files, while small ones work",
    "{folder} is a file system of {size} MiB ({kind}), and an upload may have {upload} MiB",
    "put CLIPSTACK_RUN_DIR on a disk, or lower CLIPSTACK_MAX_UPLOAD_MB",
)  # fmt: skip
JOBS_TOO_SMALL = KnownIssue(
    "data cannot hold the jobs", "warning", "jobs are refused before CLIPSTACK_JOB_GB is reached",
    "{folder} is a file system of {size} GiB, and jobs may keep {jobs} GiB",
    "lower CLIPSTACK_JOB_GB, or put CLIPSTACK_DATA_DIR on a larger disk",
)  # fmt: skip
DAMAGED = KnownIssue(
    "damaged records", "warning", "a job that was there is 404; a job begins again; a key is 401",
    "{folder} has {count} damaged records that were set aside: {kinds}",
    "look into the log for what was wrong with them; what is no longer needed may be removed there, and a job whose "
    "files were mended may be moved back to {jobs} under its id",
)  # fmt: skip
DAMAGED_KEYS = KnownIssue(
    "damaged keys", "wrong", "401 unauthorized, or 503 unavailable, for keys that worked",
    "{file}: {why}",
    "revoke them and create them again (`clipstack-keys`), or take the file from a backup",
)  # fmt: skip
READ_ONLY = KnownIssue(
    "read-only folder", "wrong", "`make up` cannot write; 503 storage_full for every upload",
    "{folder} is mounted read-only",
    "mount it for writing (`mount -o remount,rw`), and look into the kernel's log for why it is not",
)  # fmt: skip


def room(patient: Context) -> Iterator[Finding]:
    """Report file systems that are full, almost full or read-only."""
    for folder, stats in _file_systems(patient).items():
        free = stats.f_bavail * stats.f_frsize
        if stats.f_flag & os.ST_RDONLY:
            yield READ_ONLY.found(folder=folder)
        elif free < LEAST_BYTES and stats.f_blocks * stats.f_frsize > LEAST_BYTES or free < MIB:
            yield DISK_FULL.found(folder=folder, free=free // MIB)
        elif free < min(LOW_BYTES, stats.f_blocks * stats.f_frsize // 10):
            yield DISK_LOW.found(folder=folder, free=free // MIB)
    free_space = [
        f"{folder}: {result.f_bavail * result.f_frsize >> 30} GiB" for folder, result in _file_systems(patient).items()
    ]
    yield fine(f"free at {', '.join(free_space)}")


def inodes(patient: Context) -> Iterator[Finding]:
    """Report file systems without free inodes."""
    for folder, stats in _file_systems(patient).items():
        if stats.f_files and stats.f_favail < LEAST_INODES:  # 0 files: the file system allocates inodes on demand
            yield NO_INODES.found(folder=folder, free=stats.f_favail)
    yield fine("there are enough of them")


def uploads(patient: Context) -> Iterator[Finding]:
    """Check that the file system of uploads can hold the largest upload."""
    if not patient.has_web:
        raise Skipped("uploads are in another container")
    folder = _existing(patient.run_dir / "uploads")
    stats, upload = os.statvfs(folder), patient.settings.max_upload_mb
    size = stats.f_blocks * stats.f_frsize // MIB
    if size < upload:
        yield UPLOADS_TOO_SMALL.found(folder=folder, size=size, upload=upload, kind=_kind(folder))
    yield fine(f"{size} MiB in all, and an upload has {upload} MiB at most")


def jobs(patient: Context) -> Iterator[Finding]:
    """Check that the file system of jobs can hold CLIPSTACK_JOB_GB."""
    if not patient.has_web:
        raise Skipped("jobs are in another container")
    folder = _existing(patient.settings.data_dir)
    stats, most = os.statvfs(folder), patient.settings.job_gb
    size = stats.f_blocks * stats.f_frsize >> 30
    if size < most:
        yield JOBS_TOO_SMALL.found(folder=folder, size=size, jobs=most)
    yield fine(f"{size} GiB in all, and jobs keep {most} GiB at most")


def records(patient: Context) -> Iterator[Finding]:
    """Report damaged records and keys."""
    data = patient.settings.data_dir
    try:
        kinds = {kind: count for kind, count in damaged.count(data).items() if count}
        why = "; ".join(KeyFile(patient.settings.keys_file).damaged())
    except PermissionError:
        raise Skipped(f"we may not read {data}") from None
    except KeyStoreUnavailable as error:
        why = f"{error.message}: {error.__cause__}"
    if kinds:
        listing = ", ".join(f"{count} of kind {kind}" for kind, count in kinds.items())
        yield DAMAGED.found(folder=damaged.folder(data), count=sum(kinds.values()), kinds=listing, jobs=data / "jobs")
    if why:
        yield DAMAGED_KEYS.found(file=patient.settings.keys_file, why=why)
    yield fine("none was found damaged")


def _file_systems(patient: Context) -> dict[Path, os.statvfs_result]:
    """Return one folder on each file system that is written to, with its statistics."""
    run_dir, data = patient.run_dir, patient.settings.data_dir
    folders = [run_dir, run_dir / "uploads", places.temporary(run_dir), run_dir / "logs", data, data / "jobs"]
    by_device: dict[int, Path] = {}
    for folder in map(_existing, folders):
        by_device.setdefault(folder.stat().st_dev, folder)
    return {folder: os.statvfs(folder) for folder in by_device.values()}


def _existing(path: Path) -> Path:
    """Return `path`, or its nearest existing parent."""
    return next(candidate for candidate in (path, *path.parents) if candidate.is_dir())


def _kind(folder: Path) -> str:
    """Return the file system's type as listed in /proc/mounts."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(place, kind) for place, kind in mounts if folder == Path(place) or Path(place) in folder.parents]
    return max(holding, key=lambda each: len(each[0]))[1] if holding else "unknown"


CHECKS = (
    Check("disk space", room, (DISK_FULL, DISK_LOW, READ_ONLY)),
    Check("inodes", inodes, (NO_INODES,)),
    Check("uploads' disk", uploads, (UPLOADS_TOO_SMALL,)),
    Check("records", records, (DAMAGED, DAMAGED_KEYS)),
    Check("jobs' disk", jobs, (JOBS_TOO_SMALL,)),
)
