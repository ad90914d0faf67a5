"""Folders of results: atomic files, journals, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipstack_client.bulk.stores.buckets import is_bucket
from clipstack_client.bulk.stores.folders import FolderStore
from clipstack_client.bulk.stores.interface import StoreFailed


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "results")


def test_written_files_replace_each_other_and_leave_nothing(store: FolderStore, tmp_path: Path) -> None:
    for content in (b"1", b"2"):
        store.write("a/b.json", content)
    assert (store.read("a/b.json"), store.names("a"), store.names("none")) == (b"2", ["b.json"], [])
    assert [path.name for path in (tmp_path / "results" / "a").iterdir()] == ["b.json"]


def test_file_is_created_once(store: FolderStore) -> None:
    assert store.create("m", b"1") and not store.create("m", b"2")
    assert (store.read("m"), store.exists("m"), store.exists("n")) == (b"1", True, False)


def test_appended_lines_are_in_the_file_at_once(store: FolderStore, tmp_path: Path) -> None:
    appender = store.appender("journal/p")
    assert store.names("journal/p") == []
    appender.append(b"one")
    appender.append(b"two")
    (name,) = store.names("journal/p")
    assert store.read(f"journal/p/{name}") == b"one\ntwo\n"
    appender.close()
    appender.close()


def test_file_system_errors_name_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailed, match=f"{tmp_path}/file"):
        FolderStore(tmp_path / "file").write("a", b"")


def test_addresses_of_buckets_are_known() -> None:
    assert [is_bucket(text) for text in ("s3://b/x", "gs://b", "az://b", "/s3", "https://x")] == [True] * 3 + [
        False
    ] * 2
