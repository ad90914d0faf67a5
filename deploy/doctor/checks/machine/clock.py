"""Checks of clocks: the wall clock has not jumped since the programs started, and nginx's clock agrees."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from deploy.doctor import probes
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.checks.service.web import address
from deploy.doctor.context import Context, Skipped

TICKS = os.sysconf("SC_CLK_TCK")
JUMP_S, SKEW_S, FUTURE_S = 5.0, 3.0, 60.0

CLOCK_JUMPED = KnownIssue(
    "clock jumped", "warning", "times of jobs and logs are out of order; jobs are removed too soon or too late",
    "the wall clock has moved by {jump:+.0f} s since {program} was started; waits and leases here do not follow it",
    "let chrony or systemd-timesyncd keep the time; nothing needs a restart",
)  # fmt: skip
CLOCK_SKEW = KnownIssue(
    "clocks differ", "warning", "X-Deadline-Ms ends requests too soon; times in logs do not fit",
    "nginx's clock is {skew:+.0f} s from this one",
    "let one clock serve both: containers have their host's, virtual machines need chrony each",
)  # fmt: skip
FROM_THE_FUTURE = KnownIssue(
    "files from the future", "warning", "jobs are kept too long, files of before are taken for newer ones",
    "{file} was written {ahead:.0f} s from now: the clock was set back",
    "set the clock right (`date`, chrony); time zones do not matter",
)  # fmt: skip


def jumps(patient: Context) -> Iterator[Finding]:
    """Compare Supervisor's wall-clock time of each start with the kernel's monotonic one."""
    patient.running()
    for name, program in patient.programs.items():
        if program.pid and program.started:
            jump = time.time() - age_s(program.pid) - program.started
            if abs(jump) > JUMP_S:
                yield CLOCK_JUMPED.found(jump=jump, program=name)
                return
    yield fine("it has not jumped since the programs were started")


def skew(patient: Context) -> Iterator[Finding]:
    """Compare nginx's Date header with this machine's clock."""
    patient.running()
    if not patient.has_web:
        raise Skipped("nginx is in another container")
    try:
        date = probes.page(f"{address(patient)}/healthz").headers["Date"]
    except OSError as error:
        raise Skipped(f"nginx does not answer: {error}") from error
    ahead = parsedate_to_datetime(date).timestamp() - time.time()
    if abs(ahead) > SKEW_S:
        yield CLOCK_SKEW.found(skew=ahead)
    yield fine("nginx tells the same time")


def future(patient: Context) -> Iterator[Finding]:
    """Check that no important file has a modification time in the future."""
    places = [patient.run_dir / "settings.json", patient.settings.data_dir, patient.checkout / ".venv" / "pyvenv.cfg"]
    for path in (place for place in places if place.exists()):
        ahead = path.stat().st_mtime - time.time()
        if ahead > FUTURE_S:
            yield FROM_THE_FUTURE.found(file=path, ahead=ahead)
    yield fine("no file is from the future")


def age_s(pid: int) -> float:
    """Return the seconds since the process started, by a clock that nobody can set."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / TICKS


CHECKS = (
    Check("wall clock", jumps, (CLOCK_JUMPED,)),
    Check("nginx's clock", skew, (CLOCK_SKEW,)),
    Check("times of files", future, (FROM_THE_FUTURE,)),
)
