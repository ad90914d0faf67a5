"""Checks of programs: all run, Supervisor gives each enough time to stop, and no process of a killed stack is left."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from configparser import ConfigParser, SectionProxy
from pathlib import Path

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import launch
from deploy.watchdog import restarts

LEAST_FILES = 4096  # minfds in supervisord.conf
ALMOST = 0.8

GIVEN_UP = KnownIssue(
    "program given up", "wrong", "503 not_ready that does not end; `make status` says FATAL",
    "Supervisor has given up {program} and never starts it again by itself",
    "`make logs` says why it ended; then .venv/bin/supervisorctl -c supervisor/supervisord.conf start {program}",
)  # fmt: skip
NOT_RUNNING = KnownIssue(
    "program not running", "wrong", "503 not_ready, connection refused, or jobs that wait for ever",
    "{program} is {state}",
    "`make logs` says why; .venv/bin/supervisorctl -c supervisor/supervisord.conf restart {program}",
)  # fmt: skip
RESTARTS = KnownIssue(
    "program restarts", "wrong", "503 for some seconds, again and again; `make status` warns",
    "{program} was started again {count} times within 5 minutes",
    "`make logs` says why it ends: memory, a port, a new model? Then restart it with supervisorctl",
)  # fmt: skip
SUPERVISOR_SILENT = KnownIssue(
    "Supervisor silent", "wrong", "`make status` and `make down` do not end",
    "Supervisor in {run_dir} takes connections and does not answer: it is stopped, or waits for its disk",
    "kill -CONT $(cat {run_dir}/supervisord.pid); if that is no help kill -KILL the same, then `make down`",
)  # fmt: skip
NOT_ALLOWED = KnownIssue(
    "not allowed to look", "warning", "`make status` says that the stack is stopped, and it answers",
    "{run_dir} is another user's: we may not ask Supervisor whether the stack runs",
    "run this as the user that started the stack, or as root",
)  # fmt: skip
LEFT_BEHIND = KnownIssue(
    "processes left behind", "wrong", "`make up` finds its ports taken; memory that nobody uses",
    "{count} processes of this stack live on without Supervisor: {names}",
    "`make down` ends them",
)  # fmt: skip
STOPPED_TOO_SOON = KnownIssue(
    "stopped too soon", "wrong", "a restart cuts requests that were under way (502)",
    "Supervisor waits {waits} s for {program}, which takes up to {takes} s to end in order",
    "set stopwaitsecs in supervisor/programs/{program}.conf above {takes} (Supervisor's default is 10)",
)  # fmt: skip
SHARED_LOG = KnownIssue(
    "shared log", "wrong", "lines of a log are missing after it was rotated",
    "{programs} write the same log and each rotates it: {log}",
    "give each its own stdout_logfile in supervisor/programs",
)  # fmt: skip
FEW_FILES = KnownIssue(
    "few open files", "wrong", "\"Too many open files\" in a log; 503 under load; Supervisor does not start",
    "{who} may open {limit} files, and {least} are needed",
    "ulimit -n {least} before `make up`; in Docker `ulimits: nofile`; with systemd LimitNOFILE=",
)  # fmt: skip
FILES_USED_UP = KnownIssue(
    "open files almost used up", "warning", "\"Too many open files\" in a log now and then",
    "{who} has {used} of {limit} files open",
    "restart it, and tell us what it held open: ls -l /proc/{pid}/fd",
)  # fmt: skip


def states(patient: Context) -> Iterator[Finding]:
    """Report programs that Supervisor has given up, that do not run or that restart again and again."""
    if patient.unseen:
        yield (SUPERVISOR_SILENT if patient.unseen == "silent" else NOT_ALLOWED).found(run_dir=patient.run_dir)
        return
    patient.running()
    for name, program in patient.programs.items():
        if program.state == "FATAL":
            yield GIVEN_UP.found(program=name)
        elif program.state not in ("RUNNING", "STARTING"):
            yield NOT_RUNNING.found(program=name, state=program.state.lower())
    for name, count in restarts.counts(patient.run_dir).items():
        if count >= restarts.MANY:
            yield RESTARTS.found(program=name, count=count)
    yield fine(f"{', '.join(patient.programs)} run")


def left_behind(patient: Context) -> Iterator[Finding]:
    """Report processes of a stack whose Supervisor is gone."""
    patient.seen()
    if patient.programs:
        yield fine("Supervisor runs, and what runs is its own")
        return
    if patient.processes:
        names = ", ".join(sorted(set(patient.processes.values())))
        yield LEFT_BEHIND.found(count=len(patient.processes), names=names)
    yield fine("nothing is left of an earlier start")


def waits(patient: Context) -> Iterator[Finding]:
    """Check that Supervisor waits longer than each program may take to stop."""
    graceful = re.search(r"^graceful_timeout *= *(\d+)", _text(patient, "deploy/gunicorn/config.py"), re.M)
    takes = {"web": int(graceful[1]) if graceful else 30, "triton": launch.EXIT_TIMEOUT_S}
    for name, section in _sections(patient).items():
        waits_s = section.getint("stopwaitsecs", fallback=10)
        if waits_s <= takes.get(name, 0):
            yield STOPPED_TOO_SOON.found(program=name, waits=waits_s, takes=takes[name])
    yield fine("each may end in order before it is killed")


def logs(patient: Context) -> Iterator[Finding]:
    """Check that no two programs rotate the same log."""
    writers: dict[str, list[str]] = {}
    for name, section in _sections(patient).items():
        for stream in ("stdout", "stderr"):
            log = section.get(f"{stream}_logfile", "AUTO")
            shared = stream == "stderr" and section.get("redirect_stderr") == "true"
            if not shared and log not in ("AUTO", "NONE") and section.get(f"{stream}_logfile_maxbytes") != "0":
                writers.setdefault(log, []).append(name)
    for log, names in writers.items():
        if len(names) > 1:
            yield SHARED_LOG.found(programs=" and ".join(dict.fromkeys(names)), log=Path(log).name)
    yield fine(f"{len(writers)} logs with one writer each")


def open_files(patient: Context) -> Iterator[Finding]:
    """Check the limit of open files, and how close each program is to it."""
    if not patient.programs:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if most < LEAST_FILES:
            yield FEW_FILES.found(who="who starts the stack", limit=most, least=LEAST_FILES)
        yield fine(f"{most} may be opened")
        return
    least = LEAST_FILES
    for name, program in patient.programs.items():
        if program.pid:
            yield from _files_of(name, program.pid)
            least = min(least, _limit(program.pid))
    yield fine(f"each program may open {least} and has room")


def _files_of(name: str, pid: int) -> Iterator[Finding]:
    limit = _limit(pid)
    used = len(os.listdir(f"/proc/{pid}/fd"))
    if limit < LEAST_FILES:
        yield FEW_FILES.found(who=name, limit=limit, least=LEAST_FILES)
    if used > ALMOST * limit:
        yield FILES_USED_UP.found(who=name, used=used, limit=limit, pid=pid)


def _limit(pid: int) -> int:
    match = re.search(r"^Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text(), re.M)
    return int(match[1]) if match else 1 << 30  # unlimited


def _sections(patient: Context) -> dict[str, SectionProxy]:
    """Return each program's section of the files in supervisor/programs."""
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    for path in sorted((patient.checkout / "supervisor" / "programs").glob("*.conf")):
        parser.read_string(path.read_text())
    return {name.removeprefix("program:"): parser[name] for name in parser.sections() if name.startswith("program:")}


def _text(patient: Context, name: str) -> str:
    path = patient.checkout / name
    if not path.is_file():
        raise Skipped(f"{name} is not here")
    return path.read_text()


CHECKS = (
    Check("programs", states, (GIVEN_UP, NOT_RUNNING, RESTARTS, SUPERVISOR_SILENT, NOT_ALLOWED)),
    Check("left behind", left_behind, (LEFT_BEHIND,)),
    Check("waits at the end", waits, (STOPPED_TOO_SOON,)),
    Check("logs", logs, (SHARED_LOG,)),
    Check("open files", open_files, (FEW_FILES, FILES_USED_UP)),
)
