"""Damaged keys, sessions and cached answers: counted, set aside, and never accepted."""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from app import damaged
from app.auth import store
from app.auth.keys import Key, KeyFile
from app.auth.limits import Quotas
from app.auth.sessions import Sessions
from app.errors import KeyStoreUnavailable, TooManyRequests
from app.files import DamagedFile, open_lock, read_file
from app.metrics.history import History
from app.pipeline.cache import ResultCache
from tests.support.stacks import until

ALICE = Key("aaaaaaaa", "alice", "", "1" * 64)


def replaced(path: Path) -> Path:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path


FILES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a number": lambda path: path.write_text("7"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "not UTF-8": lambda path: path.write_bytes(path.read_bytes().replace(b'"', b"\xff", 1)),
    "a folder": lambda path: replaced(path).mkdir(),
    "a FIFO": lambda path: os.mkfifo(replaced(path)),
    "endless": lambda path: replaced(path).symlink_to("/dev/zero"),
}
FIELDS: dict[str, tuple[str, object]] = {
    "id is a number": ("id", 7),
    "id of another form": ("id", "../../etc"),
    "name is a list": ("name", ["bob"]),
    "hash is cut off": ("sha256", "12"),
    "hash is not ASCII": ("sha256", "é" * 64),
    "rate is a string": ("rate", "5"),
    "rate is negative": ("rate", -1),
    "rate is true": ("rate", True),
    "burst is nothing": ("burst", None),
    "concurrent is a list": ("concurrent", [3]),
    "lanes are a string": ("lanes", "jobs"),
    "a lane is a number": ("lanes", [1]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "access" / "keys.json"


def wanted(name: str) -> Key:
    return Key("", name, "", "")


def change(path: Path, name: str, field: str, value: object) -> None:
    document = json.loads(path.read_text())
    for row in document["keys"]:
        if row["name"] == name:
            row[field] = value
    path.with_name("new").write_text(json.dumps(document))
    path.with_name("new").replace(path)


@pytest.mark.parametrize("how", FIELDS)
def test_damaged_key_is_refused_and_others_work(path: Path, how: str) -> None:
    _, alices = store.create(path, wanted("alice"))
    _, bobs = store.create(path, wanted("bob"))
    change(path, "bob", *FIELDS[how])
    keys = KeyFile(path)
    assert keys.find(alices) is not None and keys.find(bobs) is None
    (why,) = keys.damaged()
    assert "row 2" in why and FIELDS[how][0] in why


def test_invalid_rows_stay_until_revoked(path: Path) -> None:
    _, alices = store.create(path, wanted("alice"))
    store.create(path, wanted("bob"))
    change(path, "bob", "sha256", None)
    document = json.loads(path.read_text())
    document["keys"] += ["?", 7, None]
    path.write_text(json.dumps(document))
    _, carols = store.create(path, wanted("carol"))
    keys = KeyFile(path)
    assert keys.find(alices) and keys.find(carols) and len(keys.damaged()) == 4
    with pytest.raises(store.NoSuchKey, match="damaged"):
        store.rotate(path, "bob")
    store.revoke(path, "bob")
    assert len(keys.damaged()) == 3


def test_fields_of_newer_version_are_ignored_and_kept(path: Path) -> None:
    _, text = store.create(path, wanted("alice"))
    change(path, "alice", "colour", {"of": "later"})
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"version": 3}))
    assert KeyFile(path).find(text) is not None
    _, text = store.rotate(path, "alice")
    store.create(path, wanted("bob"))
    document = json.loads(path.read_text())
    assert (document["version"], document["keys"][0]["colour"]) == (3, {"of": "later"})
    assert KeyFile(path).find(text) is not None and KeyFile(path).damaged() == ()


@pytest.mark.parametrize("how", FILES)
def test_unreadable_key_file_is_never_overwritten(path: Path, how: str) -> None:
    _, text = store.create(path, wanted("alice"))
    FILES[how](path)
    with pytest.raises(KeyStoreUnavailable):
        KeyFile(path).find(text)
    with pytest.raises(KeyStoreUnavailable):
        store.create(path, wanted("bob"))
    assert path.exists()


@pytest.mark.parametrize("how", [*FILES, "ends is a string", "ends is true", "a field is missing", "csrf is a list"])
def test_damaged_session_is_set_aside_at_login(tmp_path: Path, how: str) -> None:
    sessions = Sessions(tmp_path / "sessions")
    token = sessions.create(ALICE)
    (file,) = (tmp_path / "sessions").iterdir()
    body = json.loads(file.read_text())
    match how:
        case "ends is a string":
            file.write_text(json.dumps(body | {"ends": "9" * 12}))
        case "ends is true":
            file.write_text(json.dumps(body | {"ends": True}))
        case "a field is missing":
            file.write_text(json.dumps({"key": ALICE.id, "ends": 1e12}))
        case "csrf is a list":
            file.write_text(json.dumps(body | {"csrf": [1]}))
        case _:
            FILES[how](file)
    assert sessions.find(token) is None
    assert sessions.find(sessions.create(ALICE)) is not None
    assert damaged.count(tmp_path)["session"] == 1
    sessions.remove(token)


def test_session_of_newer_version_is_session(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions")
    token = sessions.create(ALICE)
    (file,) = (tmp_path / "sessions").iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": "blue"}))
    assert sessions.find(token) is not None


KEY = "ab" + "0" * 62


def kept(results: ResultCache, answer: bytes) -> None:
    with results.entry(KEY, 0.0) as entry:
        assert entry.answer is None and entry.is_locked
        entry.new_answer = answer


@pytest.mark.parametrize("how", [*FILES, "other bytes", "a whole answer without its hash"])
def test_damaged_cache_entry_is_replaced(tmp_path: Path, how: str) -> None:
    results = ResultCache(tmp_path / "results", 1 << 20)
    kept(results, b'{"label": "right", "more": "words"}')
    (file,) = (tmp_path / "results" / "ab").iterdir()
    match how:
        case "other bytes":
            file.write_bytes(file.read_bytes().replace(b"right", b"wrong"))
        case "a whole answer without its hash":
            file.write_bytes(file.read_bytes().partition(b"\n")[2])
        case _:
            FILES[how](file)
    kept(results, b"{}")
    with results.entry(KEY, 0.0) as entry:
        assert entry.answer == b"{}"
    assert damaged.count(tmp_path)["result"] == 1
    results.evict()


@pytest.mark.parametrize("how", ["a folder", "a FIFO", "endless", "no folder of locks"])
def test_damaged_lock_of_the_cache_does_not_block(tmp_path: Path, how: str) -> None:
    results = ResultCache(tmp_path / "results", 1 << 20)
    kept(results, b"{}")
    locks = tmp_path / "results" / "locks"
    replaced(next((tmp_path / "results" / "ab").iterdir()))
    if how == "no folder of locks":
        replaced(locks).write_bytes(b"")
    else:
        FILES[how](next(locks.iterdir()))
    kept(results, b"{}")


def test_blocking_and_endless_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for make in (
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        Path.mkdir,
        lambda path: path.write_bytes(b"12"),
    ):
        make(path)
        with pytest.raises(DamagedFile):
            read_file(path, 1)
        os.close(open_lock(path))
        replaced(path)
    with pytest.raises(FileNotFoundError):
        read_file(path)
    with pytest.raises(FileNotFoundError):
        open_lock(tmp_path / "no folder" / "lock")


@pytest.mark.parametrize("how", [*FILES, "no time", "endless time"])
def test_damaged_quota_refuses_no_request(tmp_path: Path, how: str) -> None:
    quotas = Quotas(tmp_path / "quota")
    quotas.count_request("aaaaaaaa", 1000.0, 5)
    path = tmp_path / "quota" / "aaaaaaaa"
    match how:
        case "no time":
            path.write_bytes(struct.pack("d", math.nan))
        case "endless time":
            path.write_bytes(struct.pack("d", math.inf))
        case _:
            FILES[how](path)
    with quotas.slot("aaaaaaaa", "work", 1), pytest.raises(TooManyRequests), quotas.slot("aaaaaaaa", "work", 1):
        pass
    until(lambda: not_too_fast(quotas), 1)  # any other number is at most a burst of 5 ms ahead


def not_too_fast(quotas: Quotas) -> bool:
    try:
        quotas.count_request("aaaaaaaa", 1000.0, 5)
        return True
    except TooManyRequests:
        return False


@pytest.mark.parametrize("how", FILES)
def test_damaged_history_is_empty(tmp_path: Path, how: str) -> None:
    history = History(tmp_path)
    history.write({"time": 1.0})
    FILES[how](tmp_path / "history.json")
    assert history.points() == []
