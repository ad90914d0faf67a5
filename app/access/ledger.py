"""Changes the file of keys: one change at a time, always whole, on the disk when it returns."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from app.access.keys import Key, KeyFile, fresh

FOLDER_MODE, FILE_MODE = 0o750, 0o640  # of whoever starts the stack; its group, the service's, reads


class NameTaken(Exception):
    """There is a key of that name already."""


class NoSuchKey(Exception):
    """There is no key of that name or id."""


def create(path: Path, key: Key) -> tuple[Key, str]:
    """Adds a key with the name and limits of `key`, and its text, which is kept nowhere; raises NameTaken."""
    with _changing(path) as keys:
        if any(other.name == key.name for other in keys.values()):
            raise NameTaken(key.name)
        while (made := fresh())[0] in keys:
            continue
        identity, text, sha256 = made
        keys[identity] = replace(key, id=identity, created=_now(), sha256=sha256)
        return keys[identity], text


def rotate(path: Path, name: str) -> tuple[Key, str]:
    """A new secret in the place of the old, which ends at once; jobs and limits stay. Raises NoSuchKey."""
    with _changing(path) as keys:
        key = _named(keys, name)
        _, text, sha256 = fresh(key.id)
        keys[key.id] = replace(key, created=_now(), sha256=sha256)
        return keys[key.id], text


def revoke(path: Path, name: str) -> Key:
    """Ends a key, by its name or id; raises NoSuchKey."""
    with _changing(path) as keys:
        return keys.pop(_named(keys, name).id)


def _named(keys: dict[str, Key], name: str) -> Key:
    for key in keys.values():
        if name in (key.name, key.id):
            return key
    raise NoSuchKey(name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Key]]:
    """The keys, to be changed in the block; what was changed is written when it ends well."""
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.parent.exists():
        path.parent.mkdir(mode=FOLDER_MODE)
    with open(path.with_suffix(".lock"), "a", opener=_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = dict(KeyFile(path).all())
        yield keys
        _write(path, json.dumps({"keys": [asdict(key) for key in keys.values()]}, indent=1).encode())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            # The folder's group is that of the service, whoever types the command
            os.fchown(file.fileno(), -1, path.parent.stat().st_gid)
            os.fchmod(file.fileno(), FILE_MODE)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
