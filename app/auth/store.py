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
from typing import Any

from app.auth.keys import Key, fresh, parse_keys, read_document
from app.files import open_lock

FOLDER_MODE, FILE_MODE = 0o750, 0o640  # of whoever starts the stack; its group, the service's, reads


class NameTaken(Exception):
    """There is a key of that name already."""


class NoSuchKey(Exception):
    """There is no key of that name or id."""


def create(path: Path, key: Key) -> tuple[Key, str]:
    """Adds a key with the name and limits of `key`, and its text, which is kept nowhere; raises NameTaken."""
    with _changing(path) as rows:
        if any(_is(row, key.name) for row in rows):
            raise NameTaken(key.name)
        identity, text, sha256 = fresh()
        while any(_is(row, identity) for row in rows):
            identity, text, sha256 = fresh()
        new = replace(key, id=identity, created=_now(), sha256=sha256)
        rows.append(asdict(new))
        return new, text


def rotate(path: Path, name: str) -> tuple[Key, str]:
    """A new secret in the place of the old, which ends at once; jobs and limits stay.

    Raises:
        NoSuchKey: There is no key of that name, or its row is damaged.
    """
    with _changing(path) as rows:
        keys, _ = parse_keys({"keys": rows})
        row = _named(rows, name)
        key = keys.get(row.get("id", ""))
        if key is None:
            raise NoSuchKey(f"{name} that can be used: it is damaged; revoke it and create it again")
        _, text, sha256 = fresh(key.id)
        row |= {"created": _now(), "sha256": sha256}
        return replace(key, created=row["created"], sha256=sha256), text


def revoke(path: Path, name: str) -> tuple[str, str]:
    """Ends a key, by its name or id, also one whose row is damaged; returns both. Raises NoSuchKey."""
    with _changing(path) as rows:
        row = _named(rows, name)
        rows.remove(row)
        return str(row.get("name", "")), str(row.get("id", ""))


def _named(rows: list[Any], name: str) -> dict[str, Any]:
    for row in rows:
        if _is(row, name):
            found: dict[str, Any] = row
            return found
    raise NoSuchKey(name)


def _is(row: Any, name: str) -> bool:
    return isinstance(row, dict) and name in (row.get("name"), row.get("id"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _changing(path: Path) -> Iterator[list[Any]]:
    """The rows of the file, to be changed in the block; what was changed is written when it ends well.

    Rows that are damaged, and fields of a newer version, stay as they are.
    """
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.parent.exists():
        path.parent.mkdir(mode=FOLDER_MODE)
    lock = open_lock(path.with_suffix(".lock"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        document = read_document(path)
        yield document["keys"]
        _write(path, json.dumps(document, indent=1).encode())
    finally:
        os.close(lock)


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
