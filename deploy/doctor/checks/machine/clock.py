"""Checks of clocks: the wall clock has not jumped since the programs started, and nginx's clock agrees."""

import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime

import psutil

from deploy.doctor import probes
from deploy.doctor.check import Checks, Finding, known_warning, ok
from deploy.doctor.checks.service.web import address
from deploy.doctor.context import Context, Skipped

MAX_JUMP_S, MAX_SKEW_S, MAX_AHEAD_S = 5.0, 3.0, 60.0

CLOCK_JUMPED = known_warning(
    name="clock jumped",
    symptom="Times of jobs and log lines are out of order. Jobs are removed too early or too late.",
    message="The wall clock has moved by {jump:+.0f} s since {program} was started. Timeouts do not depend on it.",
    fix="Let chrony or systemd-timesyncd keep the time. No program needs a restart.",
)
CLOCK_SKEW = known_warning(
    name="clocks differ",
    symptom="X-Deadline-Ms ends requests too early. Times in logs do not match.",
    message="nginx's clock differs from this machine's by {skew:+.0f} s.",
    fix="Synchronise both clocks: containers use their host's clock, and each virtual machine needs chrony.",
)
FUTURE_FILE = known_warning(
    name="file from the future",
    symptom="Jobs are kept too long. Old files are taken for new ones.",
    message="The modification time of {file} is {ahead:.0f} s in the future, so the clock was set back.",
    fix="Set the clock (`date`, chrony). Time zones do not matter.",
)

CHECKS = Checks()


@CHECKS.add("wall clock", CLOCK_JUMPED)
def wall_clock(context: Context) -> Iterator[Finding]:
    """Compare Supervisor's wall-clock time of each start with the kernel's monotonic one."""
    context.require_running()
    for name, program in context.programs.items():
        with suppress(psutil.NoSuchProcess):
            started_s = psutil.Process(program.pid).create_time() - psutil.boot_time()  # of CLOCK_BOOTTIME
            jump = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + started_s - program.started
            if abs(jump) > MAX_JUMP_S:
                yield CLOCK_JUMPED.finding(jump=jump, program=name)
                return
    yield ok("the clock has not jumped since the programs were started")


@CHECKS.add("nginx's clock", CLOCK_SKEW)
def nginx_clock(context: Context) -> Iterator[Finding]:
    """Compare nginx's Date header with this machine's clock."""
    context.require_running()
    context.require_web()
    try:
        date = probes.page(f"{address(context)}/healthz").headers["Date"]
    except OSError as error:
        raise Skipped(f"nginx does not answer: {error}") from error
    skew = parsedate_to_datetime(date).timestamp() - time.time()
    if abs(skew) > MAX_SKEW_S:
        yield CLOCK_SKEW.finding(skew=skew)
    yield ok("nginx's clock agrees with this machine's")


@CHECKS.add("file times", FUTURE_FILE)
def file_times(context: Context) -> Iterator[Finding]:
    """Check that no important file has a modification time in the future."""
    paths = [context.run_dir / "settings.json", context.settings.data_dir, context.checkout / ".venv" / "pyvenv.cfg"]
    for path in (path for path in paths if path.exists()):
        ahead = path.stat().st_mtime - time.time()
        if ahead > MAX_AHEAD_S:
            yield FUTURE_FILE.finding(file=path, ahead=ahead)
    yield ok("no modification time is in the future")
