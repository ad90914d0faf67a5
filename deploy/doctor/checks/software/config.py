"""Checks of settings: known, valid, in force, and consistent with one another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from app.settings import PREFIX, SETTINGS
from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped

SETTING_REFUSED = KnownIssue(
    "setting refused", "wrong", "`make up` refuses a setting",
    "{why}",
    "correct it; docs/settings.md has all of them, `python -m app.settings` those in force",
)  # fmt: skip
SETTING_UNKNOWN = KnownIssue(
    "setting unknown", "warning", "a setting has no effect",
    "{variable} is no setting{meant}",
    "correct its name (docs/settings.md), or unset it",
)  # fmt: skip
SETTING_NOT_IN_FORCE = KnownIssue(
    "setting not in force", "warning", "a setting has no effect; `make up` says that the stack runs with another",
    "{variable} is {wanted} here, and the stack was started with {found}",
    "`make down`, then `make up`",
)  # fmt: skip
WAIT_OUTLIVES_DEADLINE = KnownIssue(
    "wait longer than the deadline", "wrong", "504 for requests that waited, under load",
    "CLIPSTACK_QUEUE_TIMEOUT_S ({wait}) is longer than CLIPSTACK_DEADLINE_S ({deadline}): an answer comes too late",
    "lower CLIPSTACK_QUEUE_TIMEOUT_S below CLIPSTACK_DEADLINE_S",
)  # fmt: skip
DATA_IN_UPLOADS = KnownIssue(
    "data among the uploads", "wrong", "jobs and their videos vanish at a restart",
    "CLIPSTACK_DATA_DIR is in {uploads}, which is emptied whenever nginx starts",
    "set CLIPSTACK_DATA_DIR to a folder outside",
)  # fmt: skip
QUEUE_AWAY = KnownIssue(
    "job queue away", "wrong", "503 for jobs, while single files are answered",
    "the job queue at {queue} does not answer: {why}",
    "start that Redis, or unset CLIPSTACK_QUEUE: jobs then wait in a file of the data folder",
)  # fmt: skip

# Variables that deploy/, docker-compose.yml and the client read in addition
OTHERS = {
    "STACK", "PYTHON", "RUN_AS", "STARTED_BY", "PROGRAMS", "LOG_BYTES", "URL", "LOCAL_TRITON", "PUBLISH", "SHM_SIZE",
    "WEB_MEMORY", "TRITON_MEMORY", "MEMORY_LIMIT", "UPLOADS_SIZE", "REPLICAS", "TEST_ROUNDS",
}  # fmt: skip
REDIS_S = 3.0


def refused(patient: Context) -> Iterator[Finding]:
    """Report settings with an invalid value."""
    if patient.refused:
        yield SETTING_REFUSED.found(why=patient.refused)
    yield fine("every one has a value that it takes")


def unknown(patient: Context) -> Iterator[Finding]:
    """Report CLIPSTACK_ variables that are no settings."""
    names = {setting.name.upper() for setting in SETTINGS} | OTHERS
    for variable in sorted(key for key in patient.environment if key.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX)
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            yield SETTING_UNKNOWN.found(variable=variable, meant=meant)
    yield fine(f"{len(names) - len(OTHERS)} settings, and no other name in the environment")


def in_force(patient: Context) -> Iterator[Finding]:
    """Report settings that differ from those the stack was started with."""
    patient.running()
    if not patient.started_with:
        raise Skipped("nobody wrote down what the stack was started with")
    for variable, started_value in patient.started_with.items():
        current_value = patient.environment.get(variable) or started_value
        if _plain(current_value) != _plain(started_value):
            yield SETTING_NOT_IN_FORCE.found(variable=variable, wanted=current_value, found=started_value)
    yield fine("the stack runs with what the environment says")


def together(patient: Context) -> Iterator[Finding]:
    """Report settings that contradict each other."""
    settings = patient.settings
    if settings.queue_timeout_s > settings.deadline_s:
        yield WAIT_OUTLIVES_DEADLINE.found(wait=settings.queue_timeout_s, deadline=settings.deadline_s)
    uploads = settings.run_dir / "uploads"
    if uploads in (settings.data_dir, *settings.data_dir.parents):
        yield DATA_IN_UPLOADS.found(uploads=uploads)
    yield fine("none contradicts another")


def queue(patient: Context) -> Iterator[Finding]:
    """Check that the Redis server of the job queue answers, if one is configured."""
    address = patient.settings.queue
    if not address:
        yield fine("jobs wait in a file of the data folder")
        return
    import redis

    try:
        with redis.Redis.from_url(address, socket_timeout=REDIS_S, socket_connect_timeout=REDIS_S) as connection:
            connection.ping()
    except (redis.RedisError, OSError) as error:
        yield QUEUE_AWAY.found(queue=address.rpartition("@")[2], why=error)  # without the password
    yield fine("the job queue answers")


def _plain(value: str) -> str:
    """Return `value` in a comparable form: a path may be written in several ways."""
    return str(Path(value).expanduser().absolute()) if "/" in value and "://" not in value else value


CHECKS = (
    Check("settings", refused, (SETTING_REFUSED,)),
    Check("names of settings", unknown, (SETTING_UNKNOWN,)),
    Check("settings in force", in_force, (SETTING_NOT_IN_FORCE,)),
    Check("settings together", together, (WAIT_OUTLIVES_DEADLINE, DATA_IN_UPLOADS)),
    Check("job queue", queue, (QUEUE_AWAY,)),
)
