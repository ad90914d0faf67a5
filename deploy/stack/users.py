"""User that the programs run as: when root starts the stack, an unprivileged one if the files allow it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "www-data"  # Debian's user for web servers, present on every installation


class UnusableUser(Exception):
    """The configured user does not exist or cannot reach the files; the message says which."""


@dataclass(frozen=True)
class User:
    """User of nginx's workers, web and Triton."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> User:
        """Return the user `name`; raise UnusableUser when there is none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise UnusableUser(f"there is no user {name!r}: correct CLIPSTACK_USER") from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def current(cls) -> User:
        """Return the effective user of this process."""
        entry = pwd.getpwuid(os.geteuid())
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def become(self) -> None:
        """Drop root's privileges to this user; do nothing when the process is not root."""
        if os.geteuid() == 0 and self.uid != 0:
            os.initgroups(self.name, self.gid)
            os.setgid(self.gid)
            os.setuid(self.uid)


def choose(name: str, used_paths: Sequence[Path]) -> tuple[User, str | None]:
    """Return the user to run as, and a warning when that is root only because of inaccessible files.

    `name` is CLIPSTACK_USER, empty for the default; the user must be able to reach `used_paths`. Raise UnusableUser
    when `name` is set and cannot be used.
    """
    current = User.current()
    if current.uid != 0:
        if name not in ("", current.name):
            raise UnusableUser(f"only root can run the stack as {name!r} (CLIPSTACK_USER); this is {current.name}")
        return current, None
    user = User.named(name or DEFAULT)
    blocked = first_blocked(user, used_paths)
    if blocked is None:
        return user, None
    if name:
        raise UnusableUser(f"{name} may not enter or execute {blocked}: allow it, or move the checkout")
    return current, (
        f"everything runs as root, because {user.name} may not enter or execute {blocked}. "
        "Better: a checkout and a Python that all users can reach, such as /opt and /usr/bin/python3.11."
    )


def choose_fetcher(name: str, user: User, used_paths: Sequence[Path]) -> tuple[User, str | None]:
    """Return the user of the program for downloads, and a warning when it is `user`, that of the other programs.

    `name` is CLIPSTACK_FETCH_USER; see `choose`. Raise UnusableUser when there is no such user.
    """
    if User.current().uid != 0:
        return user, None
    try:
        own = User.named(name)
    except UnusableUser:
        raise UnusableUser(f"there is no user {name!r}: set CLIPSTACK_FETCH_USER to an existing one") from None
    blocked = first_blocked(own, used_paths)
    if blocked is None:
        return own, None
    return user, f"downloads run as {user.name}, because {own.name} may not enter or execute {blocked}"


def first_blocked(user: User, used_paths: Sequence[Path]) -> Path | None:
    """Return the outermost folder or program on the way to `used_paths` that `user` may not enter or execute."""
    steps = [step for path in used_paths for step in _way_to(path)]
    # Let the kernel decide as that user: file modes alone ignore groups, ACLs and mounts.
    script = 'for step; do test -x "$step" || { printf %s "$step"; exit 1; }; done'
    completed = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *steps],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        timeout=10,
    )
    return Path(completed.stdout) if completed.returncode else None


def _way_to(path: Path) -> list[str]:
    """Return every folder on the way to the target of `path`, then to `path` itself, outermost first, each once."""
    ends = dict.fromkeys((path.resolve(), path.absolute()))
    steps = [step for end in ends for step in (*reversed(end.parents), end)]
    return [str(step) for step in dict.fromkeys(steps)]
