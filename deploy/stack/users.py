"""Who the programs run as: when started as root, a user with fewer rights wherever the files allow it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "www-data"  # Debian's user for web servers, there on every installation


class UnusableUser(Exception):
    """The user asked for does not exist or cannot reach the files; the message says which."""


@dataclass(frozen=True)
class User:
    """The user of nginx's workers, web and Triton."""

    name: str
    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> User:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise UnusableUser(f"there is no user {name!r} (CLIPSTACK_USER)") from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def current(cls) -> User:
        entry = pwd.getpwuid(os.geteuid())
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def become(self) -> None:
        """Give up the rights of root for this user's; nothing to do for anybody else."""
        if os.geteuid() == 0 and self.uid != 0:
            os.initgroups(self.name, self.gid)
            os.setgid(self.gid)
            os.setuid(self.uid)


def choose(wanted: str, needed: Sequence[Path]) -> tuple[User, str | None]:
    """The user to run as, and a warning when that is root only for want of something better.

    `wanted` is CLIPSTACK_USER, `needed` what that user must be able to reach: folders and programs.
    Raises UnusableUser when `wanted` itself cannot be had.
    """
    current = User.current()
    if current.uid != 0:
        if wanted not in ("", current.name):
            raise UnusableUser(f"only root can run the stack as {wanted!r}; this is {current.name}")
        return current, None
    user = User.named(wanted or DEFAULT)
    obstacle = first_blocked(user, needed)
    if obstacle is None:
        return user, None
    if wanted:
        raise UnusableUser(f"{wanted} cannot enter or execute {obstacle}: open it, or move the checkout")
    return current, (
        f"everything runs as root, because {user.name} cannot enter or execute {obstacle}. "
        "Better: a checkout and a Python that all users can reach, such as /opt and /usr/bin/python3.11."
    )


def first_blocked(user: User, needed: Sequence[Path]) -> Path | None:
    """The outermost folder or program on the way to `needed` that `user` may not enter or execute."""
    steps = [step for path in needed for step in _way_to(path)]
    # asked of the kernel as that user: groups, ACLs and mounts count, which no arithmetic on modes sees
    ask = 'for step; do test -x "$step" || { printf %s "$step"; exit 1; }; done'
    answer = subprocess.run(
        ["/bin/sh", "-c", ask, "sh", *steps],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        timeout=10,
    )
    return Path(answer.stdout) if answer.returncode else None


def _way_to(path: Path) -> list[str]:
    """Every folder down to what `path` links to, then down to `path` itself, outermost first, each once."""
    ends = dict.fromkeys((path.resolve(), path.absolute()))
    steps = [step for end in ends for step in (*reversed(end.parents), end)]
    return [str(step) for step in dict.fromkeys(steps)]
