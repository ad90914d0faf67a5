"""Checks of settings: known, valid, in force, and consistent with one another."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from app.settings import PREFIX, SETTINGS
from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import preflight

INVALID_SETTING = KnownIssue(
    name="invalid setting",
    symptom="`make up` refuses a setting.",
    message="{reason}.",
    fix="Correct the value. docs/settings.md lists all settings, `python -m app.settings` prints the current ones.",
)
UNKNOWN_SETTING = known_warning(
    name="unknown setting",
    symptom="A setting has no effect.",
    message="There is no setting {variable}.{hint}",
    fix="Correct the name (docs/settings.md), or unset the variable.",
)
SETTING_NOT_IN_FORCE = known_warning(
    name="setting not in force",
    symptom="A setting has no effect. `make up` says that the stack runs with another value.",
    message="{variable} is {current} here, but the stack was started with {started}.",
    fix="Run `make down`, then `make up`.",
)
QUEUE_TIMEOUT_TOO_LONG = KnownIssue(
    name="queue timeout too long",
    symptom="504 for requests that waited, under load.",
    message="CLIPSTACK_QUEUE_TIMEOUT_S ({wait}) is longer than CLIPSTACK_DEADLINE_S ({deadline}), so requests wait in "
    "the queue until it is too late to answer them.",
    fix="Set CLIPSTACK_QUEUE_TIMEOUT_S below CLIPSTACK_DEADLINE_S.",
)
DATA_IN_UPLOADS = KnownIssue(
    name="data in the upload folder",
    symptom="Jobs and their videos vanish at a restart.",
    message="CLIPSTACK_DATA_DIR is in {uploads}, which is emptied whenever nginx starts.",
    fix="Set CLIPSTACK_DATA_DIR to another folder.",
)
QUEUE_UNREACHABLE = KnownIssue(
    name="job queue unreachable",
    symptom="503 for jobs, while single files are answered.",
    message="The job queue at {queue} does not answer: {reason}.",
    fix="Start that Redis, or unset CLIPSTACK_QUEUE, so that jobs wait in a file of the data folder.",
)

SHARED_REDIS_UNREACHABLE = KnownIssue(
    name="shared Redis unreachable",
    symptom="With several nodes, a repeated job runs twice, a key gets more than its rate, browsers cannot log in.",
    message="The Redis of all nodes at {address} does not answer: {reason}.",
    fix="Start that Redis, or correct CLIPSTACK_REDIS_URL; until then each node goes by what it knows.",
)

CANNOT_START = KnownIssue(
    name="cannot start",
    symptom="`make up` refuses to start.",
    message="{message}.",
    fix="{fix}.",
)

# Variables that deploy/, docker-compose.yml, the client and tests read in addition
OTHER_VARIABLES = {
    *("STACK", "PYTHON", "RUN_AS", "STARTED_BY", "PROGRAMS", "LOG_BYTES"),
    *("PUBLISH", "SHM_SIZE", "WEB_MEMORY", "TRITON_MEMORY", "MEMORY_LIMIT", "UPLOADS_SIZE", "REPLICAS", "LOCAL_TRITON"),
    *("URL", "TEST_ROUNDS"),
}
REDIS_TIMEOUT_S = 3.0

CHECKS = Checks()


@CHECKS.add("settings", INVALID_SETTING)
def values(context: Context) -> Iterator[Finding]:
    """Report settings with an invalid value."""
    if context.settings_error:
        yield INVALID_SETTING.finding(reason=context.settings_error)
    yield ok("all values are valid")


@CHECKS.add("setting names", UNKNOWN_SETTING)
def names(context: Context) -> Iterator[Finding]:
    """Report CLIPSTACK_ variables that are no settings."""
    valid = {setting.name.upper() for setting in SETTINGS} | OTHER_VARIABLES
    for variable in sorted(key for key in context.environment if key.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX)
        if name not in valid:
            similar = difflib.get_close_matches(name, valid, 1)
            hint = f" Did you mean {PREFIX}{similar[0]}?" if similar else ""
            yield UNKNOWN_SETTING.finding(variable=variable, hint=hint)
    yield ok(f"every {PREFIX}* variable is one of the {len(SETTINGS)} settings")


@CHECKS.add("settings in force", SETTING_NOT_IN_FORCE)
def in_force(context: Context) -> Iterator[Finding]:
    """Report settings that differ from those the stack was started with."""
    context.require_running()
    if not context.started_settings:
        raise Skipped("the run folder does not record the settings of the start")
    for variable, started in context.started_settings.items():
        current = context.environment.get(variable) or started
        if _comparable(current) != _comparable(started):
            yield SETTING_NOT_IN_FORCE.finding(variable=variable, current=current, started=started)
    yield ok("the stack runs with the settings of this environment")


@CHECKS.add("setting conflicts", QUEUE_TIMEOUT_TOO_LONG, DATA_IN_UPLOADS)
def conflicts(context: Context) -> Iterator[Finding]:
    """Report settings that contradict each other."""
    settings = context.settings
    if settings.queue_timeout_s > settings.deadline_s:
        yield QUEUE_TIMEOUT_TOO_LONG.finding(wait=settings.queue_timeout_s, deadline=settings.deadline_s)
    uploads = settings.run_dir / "uploads"
    if uploads in (settings.data_dir, *settings.data_dir.parents):
        yield DATA_IN_UPLOADS.finding(uploads=uploads)
    yield ok("none")


@CHECKS.add("job queue", QUEUE_UNREACHABLE)
def queue(context: Context) -> Iterator[Finding]:
    """Check that the Redis server of the job queue answers, if one is configured."""
    address = context.settings.queue
    if address and (reason := _redis_failure(address)):
        yield QUEUE_UNREACHABLE.finding(queue=address.rpartition("@")[2], reason=reason)  # without the password
    yield ok("Redis answers" if address else "a file in the data folder")


@CHECKS.add("shared Redis", SHARED_REDIS_UNREACHABLE)
def shared_redis(context: Context) -> Iterator[Finding]:
    """Check that the Redis server of all nodes answers, if one is configured."""
    address = context.settings.redis_url
    if address and (reason := _redis_failure(address)):
        yield SHARED_REDIS_UNREACHABLE.finding(address=address.rpartition("@")[2], reason=reason)
    yield ok("Redis answers" if address else "none")


def _redis_failure(address: str) -> str:
    """Return why the Redis server at `address` does not answer, "" if it does."""
    import redis

    timeouts = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    try:
        with redis.Redis.from_url(address, **timeouts) as connection:
            connection.ping()
    except (redis.RedisError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


@CHECKS.add("start", CANNOT_START)
def start(context: Context) -> Iterator[Finding]:
    """Report what prevents a start, except ports, memory and certificates, which have their own checks."""
    if context.in_image:
        raise Skipped("a container checks this when it starts")
    for problem in preflight.installation_problems(context.settings, context.checkout):
        yield CANNOT_START.finding(**problem._asdict())
    yield ok("nginx, Triton, the default model and the run folder are usable")


def _comparable(value: str) -> str:
    """Return `value` in a comparable form: a path may be written in several ways."""
    return str(Path(value).expanduser().absolute()) if "/" in value and "://" not in value else value
