"""The pinned list of files: parts, shards, and detection of changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from clipstack_client.bulk.manifest import MANIFEST, Manifest, ManifestConflict, pin, read
from clipstack_client.bulk.request import BulkRequest
from clipstack_client.bulk.source import Entry
from clipstack_client.bulk.stores.folders import FolderStore

ENTRIES = tuple(Entry(f"/films/{index:03}.mp4", index, f"v{index}") for index in range(25))
WANTED = Manifest("/films", "jsonl", 10, BulkRequest(), ENTRIES)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "results")


def test_parts_hold_all_files_in_order() -> None:
    parts = WANTED.parts()
    assert [len(part.entries) for part in parts] == [10, 10, 5]
    assert tuple(entry for part in parts for entry in part.entries) == ENTRIES


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_shards_share_the_parts(shards: int) -> None:
    shares = [WANTED.parts(shard, shards) for shard in range(1, shards + 1)]
    assert sorted((part for share in shares for part in share), key=lambda part: part.index) == WANTED.parts()


def test_name_of_a_part_depends_on_its_place_and_list() -> None:
    first, second = WANTED.parts()[:2]
    assert first.name.startswith("part-000000-")
    changed = replace(WANTED, entries=(*ENTRIES[:5], ENTRIES[5]._replace(version="new"), *ENTRIES[6:])).parts()
    assert changed[0].name != first.name
    assert changed[1].name == second.name


def test_pinned_list_is_read_again(store: FolderStore) -> None:
    assert pin(store, WANTED) == WANTED
    assert (read(store), pin(store, WANTED)) == (WANTED, WANTED)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (ENTRIES[:-1], "1 gone (/films/024.mp4)"),
        ((*ENTRIES, Entry("/films/x.mp4")), "1 new (/films/x.mp4)"),
        (
            tuple(entry._replace(size=0) for entry in ENTRIES),
            "24 changed (/films/001.mp4, /films/002.mp4, /films/003.mp4, …)",
        ),
    ],
)
def test_change_of_the_source_is_reported(store: FolderStore, entries: tuple[Entry, ...], words: str) -> None:
    pin(store, WANTED)
    with pytest.raises(ManifestConflict) as caught:
        pin(store, replace(WANTED, entries=entries))
    assert words in str(caught.value)
    assert pin(store, replace(WANTED, entries=entries), keep_list=True) == WANTED


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (replace(WANTED, format="csv"), "format=jsonl, not csv"),
        (replace(WANTED, request=BulkRequest(model="m")), "model=None, not m"),
        (replace(WANTED, part_files=5), "part_files=10, not 5"),
    ],
)
def test_other_parameters_are_refused(store: FolderStore, wanted: Manifest, words: str) -> None:
    pin(store, WANTED)
    with pytest.raises(ManifestConflict, match=words):
        pin(store, wanted, keep_list=True)


def test_slower_shard_takes_the_list_of_the_faster(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "create", lambda name, content: FolderStore.create(store, name, content) and False)
    assert pin(store, WANTED) == WANTED


def test_newer_manifest_is_refused(store: FolderStore) -> None:
    store.write(MANIFEST, json.dumps({"version": 2}).encode())
    with pytest.raises(ManifestConflict, match="update the client"):
        read(store)
