"""Checks of disks: space and inodes where uploads, jobs, results, logs and temporary files are written."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import paths

MIB = 1 << 20
FULL_BYTES, LOW_BYTES = 64 * MIB, 1024 * MIB
MIN_INODES = 1000

DISK_FULL = KnownIssue(
    name="disk full",
    symptom="503 storage_full. Jobs are refused. Logs end in the middle of a line.",
    message="{folder} has only {free} MiB free.",
    fix="Free some space. `du -xh {folder} | sort -h | tail` lists the largest folders.",
)
DISK_LOW = known_warning(
    name="disk almost full",
    symptom="503 storage_full now and then.",
    message="{folder} has only {free} MiB free.",
    fix="Free some space, or lower CLIPSTACK_JOB_DAYS, CLIPSTACK_JOB_GB or CLIPSTACK_RESULTS_MB.",
)
NO_INODES = KnownIssue(
    name="no inodes",
    symptom="503 storage_full although `df` shows free space.",
    message="{folder} has only {free} free inodes, so no more files can be created.",
    fix="Remove many small files there, or use a file system with more inodes (`df -i` shows them).",
)
UPLOADS_TOO_SMALL = KnownIssue(
    name="upload disk too small",
    symptom="503 storage_full for large files, while small ones work.",
    message="The file system of {folder} has {size} MiB ({kind}), but an upload may have {upload} MiB.",
    fix="Set CLIPSTACK_RUN_DIR to a folder on a larger disk, or lower CLIPSTACK_MAX_UPLOAD_MB.",
)
JOBS_TOO_SMALL = known_warning(
    name="job disk too small",
    symptom="Jobs are refused before CLIPSTACK_JOB_GB is reached.",
    message="The file system of {folder} has {size} GiB, but jobs may keep {jobs} GiB.",
    fix="Lower CLIPSTACK_JOB_GB, or set CLIPSTACK_DATA_DIR to a folder on a larger disk.",
)
DAMAGED = known_warning(
    name="damaged records",
    symptom="404 for a job that existed. A job starts again from the beginning. 401 for a key that worked.",
    message="{count} damaged records were moved to {folder}: {kinds}.",
    fix="The log says what was wrong with each. Remove what you do not need. To restore a job whose files you have "
    "repaired, move it to {jobs} under its id.",
)
DAMAGED_KEYS = KnownIssue(
    name="damaged keys",
    symptom="401 unauthorized or 503 unavailable for keys that worked.",
    message="Some keys in {file} cannot be read: {reason}.",
    fix="Revoke them and create new ones with `clipstack-keys`, or restore the file from a backup.",
)
READ_ONLY = KnownIssue(
    name="read-only folder",
    symptom="`make up` cannot write. 503 storage_full for every upload.",
    message="{folder} is mounted read-only.",
    fix="Find the reason in the kernel's log (`dmesg`), then run `mount -o remount,rw`.",
)

CHECKS = Checks()


@CHECKS.add("disk space", DISK_FULL, DISK_LOW, READ_ONLY)
def space(context: Context) -> Iterator[Finding]:
    """Report file systems that are full, almost full or read-only."""
    file_systems = _file_systems(context)
    for folder, stats in file_systems.items():
        free, total = stats.f_bavail * stats.f_frsize, stats.f_blocks * stats.f_frsize
        if stats.f_flag & os.ST_RDONLY:
            yield READ_ONLY.finding(folder=folder)
        elif free < MIB or free < FULL_BYTES < total:
            yield DISK_FULL.finding(folder=folder, free=free // MIB)
        elif free < min(LOW_BYTES, total // 10):
            yield DISK_LOW.finding(folder=folder, free=free // MIB)
    listing = [f"{stats.f_bavail * stats.f_frsize >> 30} GiB in {folder}" for folder, stats in file_systems.items()]
    yield ok(f"free: {', '.join(listing)}")


@CHECKS.add("inodes", NO_INODES)
def inodes(context: Context) -> Iterator[Finding]:
    """Report file systems without free inodes."""
    for folder, stats in _file_systems(context).items():
        if stats.f_files and stats.f_favail < MIN_INODES:  # 0 files: the file system allocates inodes on demand
            yield NO_INODES.finding(folder=folder, free=stats.f_favail)
    yield ok("enough free inodes")


@CHECKS.add("upload disk", UPLOADS_TOO_SMALL)
def uploads(context: Context) -> Iterator[Finding]:
    """Check that the file system of uploads can hold the largest upload."""
    context.require_web()
    folder = _existing(context.run_dir / "uploads")
    stats, upload = os.statvfs(folder), context.settings.max_upload_mb
    size = stats.f_blocks * stats.f_frsize // MIB
    if size < upload:
        yield UPLOADS_TOO_SMALL.finding(folder=folder, size=size, upload=upload, kind=_kind(folder))
    yield ok(f"{size} MiB in all; an upload has at most {upload} MiB")


@CHECKS.add("job disk", JOBS_TOO_SMALL)
def jobs(context: Context) -> Iterator[Finding]:
    """Check that the file system of jobs can hold CLIPSTACK_JOB_GB."""
    context.require_web()
    folder = _existing(context.settings.data_dir)
    stats, limit = os.statvfs(folder), context.settings.job_gb
    size = stats.f_blocks * stats.f_frsize >> 30
    if size < limit:
        yield JOBS_TOO_SMALL.finding(folder=folder, size=size, jobs=limit)
    yield ok(f"{size} GiB in all; jobs keep at most {limit} GiB")


@CHECKS.add("records", DAMAGED, DAMAGED_KEYS)
def records(context: Context) -> Iterator[Finding]:
    """Report damaged records and keys."""
    context.require_web()
    from app import damaged  # these modules are not in Triton's image
    from app.auth.keys import KeyFile
    from app.errors import KeyStoreUnavailable

    data = context.settings.data_dir
    try:
        counts = {kind: count for kind, count in damaged.count(data).items() if count}
        reason = "; ".join(KeyFile(context.settings.keys_file).damaged())
    except PermissionError:
        raise Skipped(f"this user may not read {data}") from None
    except KeyStoreUnavailable as error:
        reason = f"{error.message}: {error.__cause__}"
    if counts:
        kinds = ", ".join(f"{count} of kind {kind}" for kind, count in counts.items())
        total, folder = sum(counts.values()), damaged.folder(data)
        yield DAMAGED.finding(folder=folder, count=total, kinds=kinds, jobs=data / "jobs")
    if reason:
        yield DAMAGED_KEYS.finding(file=context.settings.keys_file, reason=reason)
    yield ok("no damaged record or key")


def _file_systems(context: Context) -> dict[Path, os.statvfs_result]:
    """Return one folder on each file system that is written to, with its statistics."""
    run_dir, data = context.run_dir, context.settings.data_dir
    folders = [run_dir, run_dir / "uploads", run_dir / paths.TEMPORARY_FOLDER, run_dir / "logs", data, data / "jobs"]
    by_device: dict[int, Path] = {}
    for folder in map(_existing, folders):
        by_device.setdefault(folder.stat().st_dev, folder)
    return {folder: os.statvfs(folder) for folder in by_device.values()}


def _existing(path: Path) -> Path:
    """Return `path`, or its nearest existing parent."""
    return next(candidate for candidate in (path, *path.parents) if candidate.is_dir())


def _kind(folder: Path) -> str:
    """Return the file system's type."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.is_relative_to(mount.mountpoint)]
    return str(max(mounts, key=lambda mount: len(mount.mountpoint)).fstype) if mounts else "unknown"
