"""Checks of folders: the programs' user can reach and write what it needs, and other users have no access."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator

from deploy.doctor.check import Check, Finding, KnownIssue, fine
from deploy.doctor.context import Context, Skipped
from deploy.stack import places, preflight, users
from deploy.stack.run_dir import FOR_THE_STARTER, FOR_THE_USER, OF_THE_DATA

PARENT_CLOSED = KnownIssue(
    "parent folder closed", "wrong", "403 for the page's files; 500 or 502 for every upload; a program ends at once",
    "{user} cannot enter or execute {folder}, on the way to what it serves",
    "chmod o+x {folder} (or setfacl -m u:{user}:x {folder}); or move the checkout, to /opt for one",
)  # fmt: skip
ALL_AS_ROOT = KnownIssue(
    "everything runs as root", "warning", "`make up` warns that everything runs as root",
    "{why}",
    "move the checkout to a folder that all users can enter, /opt for one, then `make down` and `make up`",
)  # fmt: skip
NOT_ITS_OWN = KnownIssue(
    "folder of somebody else", "wrong", "503 storage_full though there is room; web or triton end at once",
    "{folder} belongs to {owner} and not to {user}, who must write to it",
    "`make down` and `make up` put it right; by hand: chown {user} {folder}",
)  # fmt: skip
TOO_OPEN = KnownIssue(
    "folder too open", "wrong", "other users of the machine can read uploads, or steer the stack",
    "{folder} has mode {mode}, and may have {most} at most",
    "`make down` and `make up` put it right; by hand: chmod {most} {folder}",
)  # fmt: skip
PATH_TOO_LONG = KnownIssue(
    "path of a socket too long", "wrong", "`make up` refuses CLIPSTACK_RUN_DIR",
    "{complaint}",
    "set CLIPSTACK_RUN_DIR to a shorter folder, such as /run/clipstack",
)  # fmt: skip
UPLOADS_ELSEWHERE = KnownIssue(
    "uploads elsewhere", "wrong", "503 storage_full for every upload; or uploads lie where web does not remove them",
    "nginx writes uploads to {found}, and web takes them from {folder}",
    "put client_body_temp_path in nginx/conf.d/limits.conf back to \"${{CLIPSTACK_RUN_DIR}}/uploads\"",
)  # fmt: skip

MODES = dict.fromkeys(FOR_THE_STARTER, 488) | dict.fromkeys(FOR_THE_USER, 448) | {".": 0o750}
SOCKETS = {"supervisor.sock": 0o700, "web/web.sock": 0o770}


def parents(patient: Context) -> Iterator[Finding]:
    """Check that the programs' user can enter every parent folder."""
    if patient.in_image:
        raise Skipped("an image's folders are as it was built")
    if os.geteuid() != 0:
        yield from _closed(users.User.current(), patient)
        yield fine(f"{users.User.current().name}, who starts the stack, reaches all of them")
        return
    user_name = patient.settings.user or users.DEFAULT
    user = users.User.named(user_name)
    closed = users.first_blocked(user, [path for path in patient.needed if path.exists()])
    if closed and patient.settings.user:
        yield PARENT_CLOSED.found(user=user.name, folder=closed)
    elif closed:
        yield ALL_AS_ROOT.found(why=f"everything runs as root, because {user.name} cannot enter or execute {closed}")
    yield fine(f"{user.name} reaches the checkout, the models and the run folder")


def _closed(user: users.User, patient: Context) -> Iterator[Finding]:
    for path in patient.needed:
        steps = [step for step in reversed([path.resolve(), *path.resolve().parents]) if step.exists()]
        if blocked := next((step for step in steps if not os.access(step, os.X_OK)), None):
            yield PARENT_CLOSED.found(user=user.name, folder=blocked)
            return


def owners(patient: Context) -> Iterator[Finding]:
    """Check that the programs' user owns the folders it writes to."""
    _made(patient)
    user = patient.user
    data = patient.settings.data_dir
    written = [*(patient.run_dir / name for name in FOR_THE_USER), data, *(data / name for name in OF_THE_DATA)]
    for folder in (path for path in written if path.is_dir()):
        owner = folder.stat().st_uid
        if owner != user.uid:
            yield NOT_ITS_OWN.found(folder=folder, owner=_name(owner), user=user.name)
    yield fine(f"{user.name} owns uploads, temporary files and data")


def modes(patient: Context) -> Iterator[Finding]:
    """Check that other users have no access to the run folder and its sockets."""
    _made(patient)
    for name, most in (MODES | SOCKETS).items():
        path = patient.run_dir / name
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & ~most:
            yield TOO_OPEN.found(folder=path, mode=f"{mode:04o}", most=f"{most:04o}")
    yield fine("nobody else can look into the run folder, or steer the stack by its sockets")


def socket_paths(patient: Context) -> Iterator[Finding]:
    """Check that socket paths are short enough."""
    for complaint in preflight.sockets(patient.settings):
        yield PATH_TOO_LONG.found(complaint=complaint.partition(":")[0])
    yield fine(f"{places.web_socket(patient.run_dir)} and its neighbours are short enough for sockets")


def body_folder(patient: Context) -> Iterator[Finding]:
    """Check that nginx, by its rendered configuration or the source, writes uploads where web expects them."""
    if not patient.has_web:
        raise Skipped("nginx is not in this container")
    rendered = patient.run_dir / "nginx" / "conf.d" / "limits.conf"
    source = rendered if rendered.exists() else patient.checkout / "nginx" / "conf.d" / "limits.conf"
    match = re.search(r'^\s*client_body_temp_path\s+"?([^";]+)', source.read_text(), re.M)
    folder = match[1].replace("${CLIPSTACK_RUN_DIR}", str(patient.run_dir)) if match else "its own default folder"
    if folder != str(patient.run_dir / "uploads"):
        yield UPLOADS_ELSEWHERE.found(found=folder, folder=patient.run_dir / "uploads")
    yield fine(f"nginx writes uploads to {patient.run_dir / 'uploads'}")


def _made(patient: Context) -> None:
    if not (patient.run_dir / "settings.json").exists():
        raise Skipped("the stack was never started in this run folder")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


CHECKS = (
    Check("parent folders", parents, (PARENT_CLOSED, ALL_AS_ROOT)),
    Check("owners", owners, (NOT_ITS_OWN,)),
    Check("modes", modes, (TOO_OPEN,)),
    Check("socket paths", socket_paths, (PATH_TOO_LONG,)),
    Check("body folder", body_folder, (UPLOADS_ELSEWHERE,)),
)
