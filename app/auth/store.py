"""Changes to the key file: serialized by a lock, atomic, and on disk before they return."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.auth.keys import Key, new_secret, parse_keys, read_document
from app.files import file_lock, write_file

FOLDER_MODE, FILE_MODE = 0o750, 0o640  # owner: the account that starts the stack; group: the service's, which reads


class NameTaken(Exception):
    """A key of that name exists already."""


class NoSuchKey(Exception):
    """No key has that name or id."""


def create(path: Path, key: Key) -> tuple[Key, str]:
    """Add a key with the name and limits of `key`; return it and its text, which is kept nowhere. Raises NameTaken."""
    with _edit_rows(path) as rows:
        if any(_has_name(row, key.name) for row in rows):
            raise NameTaken(key.name)
        key_id, text, sha256 = new_secret()
        while any(_has_name(row, key_id) for row in rows):
            key_id, text, sha256 = new_secret()
        new = replace(key, id=key_id, created=_now(), sha256=sha256)
        rows.append(asdict(new))
        return new, text


def rotate(path: Path, name: str) -> tuple[Key, str]:
    """Replace a key's secret, which stops working at once; return the key and its new text. Its id and jobs stay.

    Raises NoSuchKey if no key has that name or id, or its row is damaged.
    """
    with _edit_rows(path) as rows:
        keys, _ = parse_keys({"keys": rows})
        row = _find_row(rows, name)
        key = keys.get(row.get("id", ""))
        if key is None:
            raise NoSuchKey(f"{name} that can be used: it is damaged; revoke it and create it again")
        _, text, sha256 = new_secret(key.id)
        row |= {"created": _now(), "sha256": sha256}
        return replace(key, created=row["created"], sha256=sha256), text


def revoke(path: Path, name: str) -> tuple[str, str]:
    """Remove a key by its name or id, even if its row is damaged; return its name and id. Raises NoSuchKey."""
    with _edit_rows(path) as rows:
        row = _find_row(rows, name)
        rows.remove(row)
        return str(row.get("name", "")), str(row.get("id", ""))


def _find_row(rows: list[Any], name: str) -> dict[str, Any]:
    """Return the row with that name or id; raises NoSuchKey."""
    for row in rows:
        if _has_name(row, name):
            result: dict[str, Any] = row
            return result
    raise NoSuchKey(name)


def _has_name(row: Any, name: str) -> bool:
    return isinstance(row, dict) and name in (row.get("name"), row.get("id"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _edit_rows(path: Path) -> Iterator[list[Any]]:
    """Yield the file's rows for changes under the lock; write them when the block ends without an error.

    Damaged rows and fields of a newer version stay as they are.
    """
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.parent.exists():
        path.parent.mkdir(mode=FOLDER_MODE)
    with file_lock(path.with_suffix(".lock")):
        document = read_document(path)
        yield document["keys"]
        content = json.dumps(document, indent=1).encode()
        # The folder's group is the service's; another user may run the command
        write_file(path, content, durable=True, mode=FILE_MODE, group=path.parent.stat().st_gid)
