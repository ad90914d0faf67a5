"""The store of feedback: files, replacement, limits, owners, kills and damage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.errors import FeedbackFull, FeedbackNotFound, InvalidParameter, StorageFull
from app.feedback.index import FeedbackIndex, Filter
from app.feedback.records import Answer, ClipFacts, Entry, checked_labels
from app.feedback.store import FeedbackLimits, FeedbackStore
from app.media.types import Source

FACTS = ClipFacts("", "x.png", "image")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    store = FeedbackStore(tmp_path, FeedbackLimits(corrections=4, unsure=2, bytes=25))
    yield store
    store.close()


def upload(folder: Path, content: bytes = b"0123456789") -> Source:
    path = folder / f"upload-{content[:10].hex()}"
    path.write_bytes(content)
    return Source(str(path), 0, len(content))


def put(store: FeedbackStore, source: Source, answer: Answer, owner: str = "") -> Entry:
    return store.put(source, ClipFacts(owner, "x.png", "image"), [answer])[1][0]


def listed(store: FeedbackStore, **wanted: str) -> list[Entry]:
    return [entry for _, entry in store.page(Filter(**wanted), 100)[0]]


def test_correction_outlives_the_upload(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    entry = put(store, source, Answer("digits", "1", ("seven",), ("one",), 0.4))
    Path(source.path).unlink()
    clip, kept = store.find(entry["id"], "")
    assert kept == entry
    assert (entry["state"], entry["labels"], entry["predicted"]) == ("corrected", ["seven"], ["one"])
    assert store.folders.source(clip.id).read_bytes() == b"0123456789"
    assert (clip.name, clip.bytes, clip.kind) == ("x.png", 10, "image")


def test_only_the_file_of_a_form_is_kept(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    clip, _ = store.put(Source(source.path, 3, 4), FACTS, [Answer("digits", labels=("a",))])
    assert store.folders.source(clip.id).read_bytes() == b"3456"


def test_second_correction_of_a_part_replaces_the_first(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    first = put(store, source, Answer("moves", "1", ("left",), ("left",), 0.9, 0.0, 1.5))
    second = put(store, source, Answer("moves", labels=("right",), start_s=0.0, end_s=1.5))
    other = put(store, source, Answer("moves", labels=("right",), start_s=1.5, end_s=3.0))
    assert (first["id"], first["state"]) == (second["id"], "confirmed")
    assert (second["state"], second["predicted"], second["score"]) == ("corrected", ["left"], 0.9)
    assert second["created"] == first["created"]
    assert {entry["id"] for entry in listed(store)} == {first["id"], other["id"]}
    assert len(list(store.folders.clips())) == 1


def test_unsure_answer_waits_and_never_replaces(store: FeedbackStore, tmp_path: Path) -> None:
    source, unsure = upload(tmp_path), Answer("digits", "1", (), ("one",), 0.2)
    assert put(store, source, unsure)["state"] == "unsure"
    put(store, source, Answer("digits", labels=("one",)))
    assert store.put(source, FACTS, [unsure])[1] == []
    (entry,) = listed(store)
    assert (entry["state"], entry["score"]) == ("confirmed", 0.2)


def test_unsure_answers_beyond_the_limit_are_not_stored(store: FeedbackStore, tmp_path: Path) -> None:
    for number in range(4):
        store.put(upload(tmp_path, b"%d" % number), FACTS, [Answer("digits", predicted=("one",), score=0.1)])
    assert len(listed(store, state="unsure")) == 2
    assert not store.has_place_for_unsure("")


def test_corrections_beyond_limit_are_refused(store: FeedbackStore, tmp_path: Path) -> None:
    for number in range(4):
        put(store, upload(tmp_path, b"%d" % number), Answer("digits", labels=("one",)))
    with pytest.raises(FeedbackFull, match="CLIPSTACK_MAX_FEEDBACK"):
        put(store, upload(tmp_path, b"more"), Answer("digits", labels=("one",)))
    put(store, upload(tmp_path, b"1"), Answer("digits", labels=("two",)))  # the file already has its place
    assert sorted(path.name for path in store.folders.path.iterdir()) == [clip.id for clip in store.folders.clips()]


def test_key_may_use_half_of_the_places(store: FeedbackStore, tmp_path: Path) -> None:
    for number in range(2):
        put(store, upload(tmp_path, b"%d" % number), Answer("digits", labels=("one",)), "alice")
    with pytest.raises(FeedbackFull):
        put(store, upload(tmp_path, b"more"), Answer("digits", labels=("one",)), "alice")
    put(store, upload(tmp_path, b"more"), Answer("digits", labels=("one",)), "bob")


def test_correction_displaces_unsure_answers_when_full(store: FeedbackStore, tmp_path: Path) -> None:
    for content in (b"0" * 10, b"1" * 10):
        put(store, upload(tmp_path, content), Answer("digits", predicted=("one",), score=0.1))
    put(store, upload(tmp_path, b"2" * 10), Answer("digits", labels=("one",)))
    assert [entry["state"] for entry in listed(store)] == ["corrected", "unsure"]
    put(store, upload(tmp_path, b"3" * 10), Answer("digits", labels=("one",)))
    for content in (b"4" * 10, b"5" * 30):
        with pytest.raises(StorageFull, match="CLIPSTACK_FEEDBACK_GB"):
            put(store, upload(tmp_path, content), Answer("digits", labels=("one",)))
    assert len(list(store.folders.path.iterdir())) == 2


def test_removing_the_last_entry_removes_the_file(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    entries = [put(store, source, Answer(model, labels=("a",))) for model in ("one", "two")]
    store.remove(entries[0]["id"], None)
    assert [entry["id"] for entry in listed(store)] == [entries[1]["id"]]
    store.remove(entries[1]["id"], None)
    assert (listed(store), list(store.folders.path.iterdir())) == ([], [])
    with pytest.raises(FeedbackNotFound):
        store.remove(entries[1]["id"], None)


def test_owners_see_and_remove_their_own(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    hers, his = (put(store, source, Answer("digits", labels=("a",)), owner) for owner in ("alice", "bob"))
    assert hers["id"] != his["id"]
    assert [entry["id"] for entry in listed(store, owner="alice")] == [hers["id"]]
    for action in (store.find, store.remove):
        with pytest.raises(FeedbackNotFound):
            action(hers["id"], "bob")
    store.remove(his["id"], "bob")
    assert store.find(hers["id"], "alice")[1] == hers


def test_pages_hold_every_entry_once(store: FeedbackStore, tmp_path: Path) -> None:
    ids = {put(store, upload(tmp_path, b"%d" % number), Answer("digits", labels=("a",)))["id"] for number in range(4)}
    seen, after = list[str](), None
    for _ in range(3):
        found, last = store.page(Filter(after=after), 2)
        seen += [entry["id"] for _, entry in found]
        if last is None:
            break
        after = (last.updated, last.id)
    assert (len(seen), set(seen)) == (4, ids)


def test_killed_writer_leaves_a_whole_store(
    store: FeedbackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, upload(tmp_path, b"first"), Answer("digits", labels=("a",)))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeedbackIndex, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        put(store, upload(tmp_path, b"second"), Answer("digits", labels=("b",)))
    monkeypatch.undo()
    assert [entry["labels"] for entry in listed(store)] == [["b"], ["a"]]


def test_lost_index_is_rebuilt(store: FeedbackStore, tmp_path: Path) -> None:
    entry = put(store, upload(tmp_path), Answer("digits", labels=("a",)))
    store.close()
    for path in tmp_path.glob("feedback-index-*"):
        path.unlink()
    assert listed(store) == [entry]


def test_damaged_clip_is_set_aside(store: FeedbackStore, tmp_path: Path) -> None:
    entry = put(store, upload(tmp_path), Answer("digits", labels=("a",)))
    clip, _ = store.find(entry["id"], None)
    (store.folders.path / clip.id / "clip.json").write_bytes(b'{"id": ')
    with pytest.raises(FeedbackNotFound):
        store.find(entry["id"], None)
    assert [path.name.partition("-")[0] for path in (tmp_path / "damaged").iterdir()] == ["feedback"]
    store.recover()
    assert listed(store) == []


def test_old_unsure_answers_and_leftovers_are_removed(store: FeedbackStore, tmp_path: Path) -> None:
    put(store, upload(tmp_path, b"kept"), Answer("digits", labels=("a",)))
    put(store, upload(tmp_path, b"unsure"), Answer("digits", predicted=("a",), score=0.1))
    store.clean_up(datetime.now(UTC) - timedelta(days=1))
    assert len(listed(store)) == 2
    store.clean_up(datetime.now(UTC) + timedelta(seconds=1))
    assert [entry["state"] for entry in listed(store)] == ["corrected"]


def test_hard_link_shares_the_disk_space(store: FeedbackStore, tmp_path: Path) -> None:
    source = upload(tmp_path)
    clip, _ = store.put(source, FACTS, [Answer("digits", labels=("a",))])
    assert os.path.samefile(source.path, store.folders.source(clip.id))


@pytest.mark.parametrize("labels", [[], [""], ["a\nb"], ["x" * 101], [str(number) for number in range(21)]])
def test_unusable_labels_are_refused(labels: list[str]) -> None:
    with pytest.raises(InvalidParameter, match="labels"):
        checked_labels(labels)


def test_labels_are_composed_and_unique() -> None:
    assert checked_labels(["cafe\u0301", "café", " tea "]) == ("café", "tea")
