"""Checks of programs: all run, Supervisor gives each enough time to stop, and no process of a killed stack is left."""

import re
import resource
from collections.abc import Iterator
from configparser import ConfigParser, SectionProxy
from pathlib import Path

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import launch, restarts

MIN_FILES = 4096  # minfds in supervisord.conf
NEARLY_USED = 0.8  # share of the open files that may be in use
SUPERVISORCTL = ".venv/bin/supervisorctl -c supervisor/supervisord.conf"

GIVEN_UP = KnownIssue(
    name="program given up",
    symptom="503 not_ready that does not end. `make status` shows FATAL.",
    message="{program} failed so often that Supervisor does not start it any more.",
    fix=f"Find the reason with `make logs`, then run `{SUPERVISORCTL} start {{program}}`.",
)
NOT_RUNNING = KnownIssue(
    name="program not running",
    symptom="503 not_ready, refused connections, or jobs that stay queued.",
    message="{program} is {state}.",
    fix=f"Find the reason with `make logs`, then run `{SUPERVISORCTL} restart {{program}}`.",
)
RESTARTS = KnownIssue(
    name="program restarts",
    symptom="503 for some seconds, again and again. `make status` shows a warning.",
    message="{program} was restarted {count} times within 5 minutes.",
    fix="Find the reason with `make logs`, for example memory, a port or a new model.",
)
SUPERVISOR_SILENT = KnownIssue(
    name="Supervisor silent",
    symptom="`make status` and `make down` do not return.",
    message="Supervisor in {run_dir} accepts connections but does not answer: it is stopped, or waits for its disk.",
    fix="Run `kill -CONT $(cat {run_dir}/supervisord.pid)`. If that does not help, use `kill -KILL` instead and then "
    "run `make down`.",
)
NO_ACCESS = known_warning(
    name="no access",
    symptom="`make status` says that the stack is stopped, but it answers.",
    message="{run_dir} belongs to another user, so it is unknown whether the stack runs.",
    fix="Run the doctor as the user that started the stack, or as root.",
)
LEFTOVER_PROCESSES = KnownIssue(
    name="leftover processes",
    symptom="`make up` finds its ports in use. Memory is missing.",
    message="{count} processes of this stack run without Supervisor: {names}.",
    fix="Run `make down`, which ends them.",
)
STOPPED_TOO_SOON = KnownIssue(
    name="stop timeout too short",
    symptom="A restart interrupts running requests (502).",
    message="Supervisor waits {waits} s for {program} to stop, but that may take {takes} s.",
    fix="Set stopwaitsecs in supervisor/programs/{program}.conf to more than {takes} (Supervisor's default is 10).",
)
SHARED_LOG = KnownIssue(
    name="shared log",
    symptom="Lines of a log are missing after its rotation.",
    message="{programs} write to the same log, and each rotates it: {log}.",
    fix="Give each program its own stdout_logfile in supervisor/programs.",
)
FEW_FILES = KnownIssue(
    name="open files limit too low",
    symptom='"Too many open files" in a log. 503 under load. Supervisor does not start.',
    message="{program} may open {limit} files, but {need} are needed.",
    fix="Run `ulimit -n {need}` before `make up`. In Docker set `ulimits: nofile`, with systemd LimitNOFILE.",
)
FILES_NEARLY_USED = known_warning(
    name="open files nearly used up",
    symptom='"Too many open files" in a log now and then.',
    message="{program} has {used} of {limit} files open.",
    fix="Save the output of `ls -l /proc/{pid}/fd` for a bug report, then restart {program}.",
)

CHECKS = Checks()


@CHECKS.add("programs", GIVEN_UP, NOT_RUNNING, RESTARTS, SUPERVISOR_SILENT, NO_ACCESS)
def states(context: Context) -> Iterator[Finding]:
    """Report programs that Supervisor has given up, that do not run or that restart again and again."""
    if context.unknown:
        yield (SUPERVISOR_SILENT if context.unknown == "no answer" else NO_ACCESS).finding(run_dir=context.run_dir)
        return
    context.require_running()
    for name, program in context.programs.items():
        if program.state == "FATAL":
            yield GIVEN_UP.finding(program=name)
        elif program.state not in ("RUNNING", "STARTING"):
            yield NOT_RUNNING.finding(program=name, state=program.state.lower())
    for name, count in restarts.counts(context.run_dir).items():
        if count >= restarts.MANY:
            yield RESTARTS.finding(program=name, count=count)
    yield ok(f"running: {', '.join(context.programs)}")


@CHECKS.add("leftover processes", LEFTOVER_PROCESSES)
def leftovers(context: Context) -> Iterator[Finding]:
    """Report processes of a stack whose Supervisor is gone."""
    context.require_state()
    if not context.programs and context.processes:
        names = ", ".join(sorted(set(context.processes.values())))
        yield LEFTOVER_PROCESSES.finding(count=len(context.processes), names=names)
    yield ok("no process without Supervisor")


@CHECKS.add("stop timeouts", STOPPED_TOO_SOON)
def stop_timeouts(context: Context) -> Iterator[Finding]:
    """Check that Supervisor waits longer than each program may take to stop."""
    config = context.checkout / "deploy" / "gunicorn" / "config.py"
    if not config.is_file():
        raise Skipped("gunicorn's configuration is not here")
    graceful = re.search(r"^graceful_timeout *= *(\d+)", config.read_text(), re.M)
    stop_s = {"web": int(graceful[1]) if graceful else 30, "triton": launch.EXIT_TIMEOUT_S}
    for name, section in _sections(context).items():
        waits = section.getint("stopwaitsecs", fallback=10)
        if waits <= stop_s.get(name, 0):
            yield STOPPED_TOO_SOON.finding(program=name, waits=waits, takes=stop_s[name])
    yield ok("each program has time to finish before it is killed")


@CHECKS.add("logs", SHARED_LOG)
def logs(context: Context) -> Iterator[Finding]:
    """Check that no two programs rotate the same log."""
    writers: dict[str, list[str]] = {}
    for name, section in _sections(context).items():
        for stream in ("stdout", "stderr"):
            log = section.get(f"{stream}_logfile", "AUTO")
            shared = stream == "stderr" and section.get("redirect_stderr") == "true"
            if not shared and log not in ("AUTO", "NONE") and section.get(f"{stream}_logfile_maxbytes") != "0":
                writers.setdefault(log, []).append(name)
    for log, names in writers.items():
        if len(names) > 1:
            yield SHARED_LOG.finding(programs=" and ".join(dict.fromkeys(names)), log=Path(log).name)
    yield ok(f"{len(writers)} logs, each with one writer")


@CHECKS.add("open files", FEW_FILES, FILES_NEARLY_USED)
def open_files(context: Context) -> Iterator[Finding]:
    """Check the limit of open files, and how close each program is to it."""
    if not context.programs:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if limit != resource.RLIM_INFINITY and limit < MIN_FILES:
            yield FEW_FILES.finding(program="The user that starts the stack", limit=limit, need=MIN_FILES)
        yield ok(f"{'any number of' if limit == resource.RLIM_INFINITY else limit} files may be opened")
        return
    for name, program in context.programs.items():
        if program.pid:
            yield from _open_files(name, program.pid)
    yield ok(f"each program may open {MIN_FILES} files or more, and is far from its limit")


def _open_files(name: str, pid: int) -> Iterator[Finding]:
    process = Path("/proc", str(pid))  # psutil asks for the limit by prlimit(2), which needs a capability
    match = re.search(r"^Max open files +(\d+)", (process / "limits").read_text(), re.M)
    if not match:  # unlimited
        return
    limit, used = int(match[1]), sum(1 for _ in (process / "fd").iterdir())
    if limit < MIN_FILES:
        yield FEW_FILES.finding(program=name, limit=limit, need=MIN_FILES)
    if used > NEARLY_USED * limit:
        yield FILES_NEARLY_USED.finding(program=name, used=used, limit=limit, pid=pid)


def _sections(context: Context) -> dict[str, SectionProxy]:
    """Return each program's section of the files in supervisor/programs."""
    parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    for path in sorted((context.checkout / "supervisor" / "programs").glob("*.conf")):
        parser.read_string(path.read_text())
    return {name.removeprefix("program:"): parser[name] for name in parser.sections() if name.startswith("program:")}
