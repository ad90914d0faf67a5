"""Checks of folders: the programs' user can reach and write what it needs, and other users have no access."""

import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.check import Checks, Finding, KnownIssue, known_warning, ok
from deploy.doctor.context import Context, Skipped
from deploy.stack import users
from deploy.stack.run_dir import DATA_FOLDERS, STARTER_FOLDERS, USER_FOLDERS

PARENT_CLOSED = KnownIssue(
    name="parent folder closed",
    symptom="403 for the page's files. 500 or 502 for every upload. A program exits at once.",
    message="{user} may not enter or execute {folder}, which is on the way to the files that it needs.",
    fix="Run `chmod o+x {folder}` or `setfacl -m u:{user}:x {folder}`, or move the checkout, for example to /opt.",
)
RUNS_AS_ROOT = known_warning(
    name="everything runs as root",
    symptom="`make up` warns that everything runs as root.",
    message="All programs run as root, because {user} may not enter or execute {folder}.",
    fix="Move the checkout to a folder that all users can enter, such as /opt. Then run `make down` and `make up`.",
)
WRONG_OWNER = KnownIssue(
    name="wrong owner",
    symptom="503 storage_full although the disk has space. web or triton exits at once.",
    message="{folder} belongs to {owner}, but {user} must write to it.",
    fix="Run `make down` and `make up`, which set the owner, or `chown {user} {folder}`.",
)
WRONG_MODE = KnownIssue(
    name="folder too open",
    symptom="Other users of the machine can read uploads or control the stack.",
    message="{folder} has mode {mode}; {limit} is the most that is safe.",
    fix="Run `make down` and `make up`, which set the mode, or `chmod {limit} {folder}`.",
)
UPLOADS_ELSEWHERE = KnownIssue(
    name="uploads elsewhere",
    symptom="503 storage_full for every upload. Or uploads stay on the disk, because web does not find them.",
    message="nginx writes uploads to {actual}, but web expects them in {expected}.",
    fix='Set client_body_temp_path in nginx/conf.d/limits.conf to "${{CLIPSTACK_RUN_DIR}}/uploads" again.',
)

MODES = dict.fromkeys(STARTER_FOLDERS, 0o750) | dict.fromkeys(USER_FOLDERS, 0o700) | {".": 0o750}
SOCKETS = {"supervisor.sock": 0o700, "web/web.sock": 0o770}

CHECKS = Checks()


@CHECKS.add("parent folders", PARENT_CLOSED, RUNS_AS_ROOT)
def parents(context: Context) -> Iterator[Finding]:
    """Check that the programs' user can enter every parent folder."""
    if context.in_image:
        raise Skipped("the folders of an image do not change")
    if os.geteuid() != 0:
        user = users.User.current()
        if blocked := _blocked(context):
            yield PARENT_CLOSED.finding(user=user.name, folder=blocked)
    else:
        user = users.User.named(context.settings.user or users.DEFAULT)
        if blocked := users.first_blocked(user, [path for path in context.used_paths if path.exists()]):
            issue = PARENT_CLOSED if context.settings.user else RUNS_AS_ROOT
            yield issue.finding(user=user.name, folder=blocked)
    yield ok(f"{user.name} can reach the checkout, the models and the run folder")


def _blocked(context: Context) -> Path | None:
    """Return the outermost folder or program that this process may not enter or execute."""
    paths = [path.resolve() for path in context.used_paths]
    steps = (step for path in paths for step in reversed([path, *path.parents]) if step.exists())
    return next((step for step in steps if not os.access(step, os.X_OK)), None)


@CHECKS.add("owners", WRONG_OWNER)
def owners(context: Context) -> Iterator[Finding]:
    """Check that the programs' user owns the folders it writes to."""
    _require_run_dir(context)
    user, data = context.user, context.settings.data_dir
    written = [*(context.run_dir / name for name in USER_FOLDERS), data, *(data / name for name in DATA_FOLDERS)]
    for folder in (path for path in written if path.is_dir()):
        owner = folder.stat().st_uid
        if owner != user.uid:
            yield WRONG_OWNER.finding(folder=folder, owner=_user_name(owner), user=user.name)
    yield ok(f"{user.name} owns uploads, temporary files and data")


@CHECKS.add("modes", WRONG_MODE)
def modes(context: Context) -> Iterator[Finding]:
    """Check that other users have no access to the run folder and its sockets."""
    _require_run_dir(context)
    for name, limit in (MODES | SOCKETS).items():
        path = context.run_dir / name
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & ~limit:
            yield WRONG_MODE.finding(folder=path, mode=f"{mode:04o}", limit=f"{limit:04o}")
    yield ok("other users cannot enter the run folder or connect to its sockets")


@CHECKS.add("upload folder", UPLOADS_ELSEWHERE)
def upload_folder(context: Context) -> Iterator[Finding]:
    """Check that nginx, by its rendered configuration or the source, writes uploads where web expects them."""
    context.require_web()
    rendered = context.run_dir / "nginx" / "conf.d" / "limits.conf"
    source = rendered if rendered.exists() else context.checkout / "nginx" / "conf.d" / "limits.conf"
    match = re.search(r'^\s*client_body_temp_path\s+"?([^";]+)', source.read_text(), re.M)
    expected = str(context.run_dir / "uploads")
    actual = match[1].replace("${CLIPSTACK_RUN_DIR}", str(context.run_dir)) if match else "its own default folder"
    if actual != expected:
        yield UPLOADS_ELSEWHERE.finding(actual=actual, expected=expected)
    yield ok(f"nginx writes uploads to {expected}")


def _require_run_dir(context: Context) -> None:
    if not (context.run_dir / "settings.json").exists():
        raise Skipped("the stack was never started in this run folder")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
