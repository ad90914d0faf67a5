"""Keys: created once, stored as hashes, and read again when the file changes."""

from __future__ import annotations

import json
import os
import re
import stat
from multiprocessing import get_context
from pathlib import Path

import pytest

from app.auth import store
from app.auth.keys import Key, KeyFile, digest, new_secret
from app.errors import KeyStoreUnavailable


def wanted(name: str, **limits: object) -> Key:
    return Key("", name, "", "", **limits)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "access" / "keys.json"


def test_key_has_an_id_and_a_random_secret() -> None:
    key_id, text, sha256 = new_secret()
    assert re.fullmatch(rf"clipstack_{key_id}_[a-z2-7]{{32}}", text)
    assert (len(key_id), sha256) == (8, digest(text))
    assert len({new_secret()[1] for _ in range(100)}) == 100


def test_file_is_private_and_holds_no_secret(path: Path) -> None:
    _, text = store.create(path, wanted("alice"))
    assert text.rpartition("_")[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0
    assert not list(path.parent.glob(".keys*")), "what is written beside is gone"


def test_key_is_found_by_its_exact_text(path: Path) -> None:
    key, text = store.create(path, wanted("alice", rate=2.5, burst=4, concurrent=3, lanes=("picture", "short")))
    keys = KeyFile(path)
    assert keys.find(text) == key
    assert (key.rate, key.burst, key.concurrent, key.lanes) == (2.5, 4, 3, ("picture", "short"))
    _, other, _ = new_secret(key.id)
    wrong = ("", text[:-1], text + "a", text.upper(), f" {text}", text.replace(key.id, "aaaaaaaa"), other, key.id, "é")
    assert [keys.find(item) for item in wrong] == [None] * len(wrong)


def test_no_key_exists_without_a_file(path: Path) -> None:
    assert KeyFile(path).find(new_secret()[1]) is None


def test_a_name_is_taken_once(path: Path) -> None:
    store.create(path, wanted("alice"))
    with pytest.raises(store.NameTaken):
        store.create(path, wanted("alice"))


@pytest.mark.parametrize("by", ["name", "id"])
def test_revoked_key_is_unknown_at_once(path: Path, by: str) -> None:
    key, text = store.create(path, wanted("alice"))
    keys = KeyFile(path)
    assert keys.find(text) is not None
    store.revoke(path, getattr(key, by))
    assert keys.find(text) is None
    with pytest.raises(store.NoSuchKey):
        store.revoke(path, key.name)


def test_rotated_secret_replaces_the_old_one(path: Path) -> None:
    key, old = store.create(path, wanted("alice", concurrent=3))
    keys = KeyFile(path)
    again, new = store.rotate(path, "alice")
    assert keys.find(old) is None
    key_by_secret = keys.find(new)
    assert key_by_secret == again and (key_by_secret.id, key_by_secret.concurrent) == (key.id, 3)


def test_file_is_read_only_after_a_change(path: Path) -> None:
    store.create(path, wanted("alice"))
    keys = KeyFile(path)
    first = keys.all()
    assert keys.all() is first
    store.create(path, wanted("bob"))
    assert {key.name for key in keys.all().values()} == {"alice", "bob"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": [{"id": "x"}]}', '{"keys": [{"lanes": 3}]}', "\xff"])
def test_damaged_file_rejects_all_keys(path: Path, content: str) -> None:
    _, text = store.create(path, wanted("alice"))
    keys = KeyFile(path)
    assert keys.find(text) is not None
    damaged = path.with_name("damaged")
    damaged.write_text(content, "latin-1")
    os.replace(damaged, path)
    for _ in range(2):
        with pytest.raises(KeyStoreUnavailable):
            keys.find(text)


def create(path: str, number: int) -> None:
    store.create(Path(path), wanted(f"name-{number}"))


def test_keys_created_concurrently_are_all_kept(path: Path) -> None:
    context = get_context("spawn")
    makers = [context.Process(target=create, args=(str(path), number)) for number in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0] * 4
    assert {key["name"] for key in json.loads(path.read_text())["keys"]} == {f"name-{number}" for number in range(4)}
    for maker in makers:
        maker.close()
