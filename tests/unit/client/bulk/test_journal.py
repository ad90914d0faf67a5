"""Journals: rows that are read after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipstack_client.bulk.journal import Finished, Journal, parts_to_repeat
from clipstack_client.bulk.manifest import FOLDER, Part
from clipstack_client.bulk.source import Entry
from clipstack_client.bulk.stores.folders import FolderStore

PART = Part(3, "abcd1234", tuple(Entry(f"/films/{index}.mp4") for index in range(4)))


def finished(index: int, *, retry: bool = False) -> Finished:
    return Finished(index, {"file": PART.entries[index].file, "error_code": "internal" if retry else None}, retry)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def folder(store: FolderStore, tmp_path: Path) -> Path:
    return tmp_path / FOLDER / "journal" / PART.name


def test_rows_of_all_writers_are_read(store: FolderStore) -> None:
    for index in (0, 2):
        journal = Journal(store, PART)
        journal.append(finished(index))
        journal.close()
    assert Journal(store, PART).read() == {0: finished(0), 2: finished(2)}


def test_good_row_counts_more_than_a_failure(store: FolderStore) -> None:
    for retry in (False, True):
        journal = Journal(store, PART)
        journal.append(finished(1, retry=retry))
        journal.close()
    assert Journal(store, PART).read() == {1: finished(1)}


@pytest.mark.parametrize(
    "line", [b'{"index": 1, "row": {"fi', b"[]", b"7", b"\xff", b'{"index": 9, "row": {}, "retry": false}',
             b'{"index": 1, "row": {"file": "/other.mp4"}, "retry": false}']
)  # fmt: skip
def test_damaged_and_foreign_lines_are_skipped(store: FolderStore, tmp_path: Path, line: bytes) -> None:
    journal = Journal(store, PART)
    journal.append(finished(0))
    journal.close()
    (path,) = folder(store, tmp_path).iterdir()
    path.write_bytes(path.read_bytes() + line)
    assert Journal(store, PART).read() == {0: finished(0)}


def test_removed_journal_is_empty(store: FolderStore, tmp_path: Path) -> None:
    journal = Journal(store, PART)
    journal.append(finished(0))
    assert parts_to_repeat(store, {PART.name, "part-000009-x"}) == {PART.name}
    journal.remove()
    assert Journal(store, PART).read() == {}
    assert not folder(store, tmp_path).exists()
    journal.remove()
