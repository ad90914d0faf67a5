"""Changes to the key file: serialized by a lock, atomic, and on disk before they return."""

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

FOLDER_MODE, FILE_MODE = 0o750, 0o640  # owner: the account that starts the stack; group: the service's, which reads


class NameTaken(Exception):
    """A key of that name exists already."""


class NoSuchKey(Exception):
    """No key has that name or id."""


def create(path: Path, key: Key) -> tuple[Key, str]:
    """Add a key with the name and limits of `key`; return it and its text, which is stored nowhere.

    Raises:
        NameTaken: A key of that name exists already.
    """
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
    """Replace a key's secret and return the key and its new text.

    The old secret stops working at once. The key's id, limits and jobs stay.

    Raises:
        NoSuchKey: No key has that name or id, or its row is damaged.
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
    """Remove a key by its name or id, even if its row is damaged; return its name and id. Raises NoSuchKey."""
    with _changing(path) as rows:
        row = _named(rows, name)
        rows.remove(row)
        return str(row.get("name", "")), str(row.get("id", ""))


def _named(rows: list[Any], name: str) -> dict[str, Any]:
    """Return the row with that name or id; raises NoSuchKey."""
    for row in rows:
        if _is(row, name):
            result: dict[str, Any] = row
            return result
    raise NoSuchKey(name)


def _is(row: Any, name: str) -> bool:
    """Return whether `name` is the row's name or id."""
    return isinstance(row, dict) and name in (row.get("name"), row.get("id"))


def _now() -> str:
    """Return the current UTC time in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _changing(path: Path) -> Iterator[list[Any]]:
    """Yield the file's rows for changes under the lock; write them when the block ends without an error.

    Damaged rows and fields of a newer version stay as they are.
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
    """Replace the file atomically and fsync it and its folder."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            # The folder's group is the service's; another user may run the command
            os.fchown(file.fileno(), -1, path.parent.stat().st_gid)
            os.fchmod(file.fileno(), FILE_MODE)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
