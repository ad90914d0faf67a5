"""Store of feedback: clips with their entries, their index, and the limits of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from app.errors import FeedbackFull, FeedbackNotFound, Overloaded, StorageFull
from app.feedback.clips import ID, ClipFolders
from app.feedback.index import FeedbackIndex, Filter, Row, Usage
from app.feedback.records import MAX_ENTRIES, Answer, Clip, ClipFacts, Entry, clip_id, replaced
from app.files import file_lock, full_disk_errors
from app.jobs.storage.new_job import NewFolder
from app.jobs.storage.store import now, rfc3339
from app.media.types import Source
from app.nodes.ids import on_node
from app.pipeline.cache import digest
from app.settings import Settings

LOCK_WAIT_S = 10.0
MAX_EVICTED = 100  # unsure answers that one correction may displace
NO_SUCH_ENTRY = "there is no feedback with this id; it may have been removed"


@dataclass(frozen=True, slots=True)
class FeedbackLimits:
    """Most corrections and unsure answers, of which an API key may have half, and most bytes of all clips."""

    corrections: int
    unsure: int
    bytes: int


class FeedbackStore:
    """Feedback of a node in `data_dir`; safe for several processes and threads."""

    def __init__(self, data_dir: Path, limits: FeedbackLimits, node: str = "") -> None:
        self._limits, self._node = limits, node
        self._lock = data_dir / "feedback" / "lock"  # held by the process that changes something
        self.folders = ClipFolders(data_dir / "feedback" / "clips", data_dir)
        self._index = FeedbackIndex(data_dir, self.folders.clips)

    @classmethod
    def from_settings(cls, settings: Settings) -> FeedbackStore:
        """Return the store of a service with these settings."""
        limits = FeedbackLimits(settings.max_feedback, settings.max_unsure, settings.feedback_gb << 30)
        return cls(settings.data_dir, limits, settings.node)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def put(self, source: Source, facts: ClipFacts, answers: Sequence[Answer]) -> tuple[Clip, list[Entry]]:
        """Keep answers about a file, and the file; return the clip and the entries that are kept.

        Another answer of the same model about the same part of the same file replaces the entry. An unsure answer
        replaces nothing, and is left out when its places are taken.

        Raises:
            FeedbackFull: There are as many corrections as allowed.
            StorageFull: There is no room for the file.
            FileNotFoundError: The file is gone.
            Overloaded: Another process holds the store for too long.
        """
        clip = self._clip(source, facts, answers)
        self.folders.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with full_disk_errors(), ExitStack() as cleanup:
            new = None
            if not (self.folders.path / clip.id).is_dir():
                if clip.bytes > self._limits.bytes:
                    raise StorageFull(f"the file has {clip.bytes} bytes. {self._bytes_help()}")
                new = cleanup.enter_context(self.folders.new(clip.id, source))
            with self._locked():
                return self._put(clip, answers, new)

    def _clip(self, source: Source, facts: ClipFacts, answers: Sequence[Answer]) -> Clip:
        """Return the clip of this file, without entries if it is new; a job's file is hashed once only."""
        jobs = {answer.job for answer in answers if answer.job}
        for job in jobs:
            known = self._index.clip_of_job(job, facts.owner)
            if known and (clip := self.folders.read(known)):
                return clip
        sha256 = facts.sha256 or digest(source.path, source.offset, source.length)
        identity = on_node(self._node, clip_id(facts.owner, sha256))
        return Clip(**asdict(facts) | {"sha256": sha256}, id=identity, bytes=source.length, created=now())

    def _put(self, clip: Clip, answers: Sequence[Answer], new: NewFolder | None) -> tuple[Clip, list[Entry]]:
        """Add entries to a clip while the lock is held."""
        known = self.folders.read(clip.id)
        clip = known or clip
        entries = {entry["id"]: entry for entry in clip.entries}
        usage = self._index.usage(clip.owner)
        kept = list[Entry]()
        for answer in answers:
            entry = answer.entry(clip.id, now())
            before = entries.get(entry["id"])
            if before is not None and not answer.labels:
                continue
            if before is None or before["state"] == "unsure":
                has_place = before is not None or len(entries) < MAX_ENTRIES
                if not (has_place and self._has_place(answer, clip.owner, usage)):
                    if not answer.labels:
                        continue
                    raise FeedbackFull(self._count_help())
                usage = usage.plus_one(not answer.labels)
            entries[entry["id"]] = entry if before is None else replaced(before, entry)
            kept.append(entries[entry["id"]])
        if kept and known is None and not self._make_room(clip.bytes, usage, kept):
            return clip, []
        if kept:
            if known is None and new is None:
                raise Overloaded("this file was removed at the same time; please try again")
            clip.entries = list(entries.values())
            self._index.mark_stale()
            self.folders.write(clip, None if known else new)
            self._index.put(clip.id, clip)
        return clip, kept

    def _has_place(self, answer: Answer, owner: str, usage: Usage) -> bool:
        """Return whether one more entry may be kept; with keys, an owner has half of the places."""
        most, total, of_owner = (
            (self._limits.corrections, usage.corrections, usage.corrections_of_owner)
            if answer.labels
            else (self._limits.unsure, usage.unsure, usage.unsure_of_owner)
        )
        return total < most and not (owner and of_owner >= -(-most // 2))

    def _make_room(self, size: int, usage: Usage, kept: Sequence[Entry]) -> bool:
        """Return whether `size` bytes are free; for a correction, remove the oldest unsure answers until they are.

        Raises StorageFull if there is no room for a correction.
        """
        if usage.bytes + size <= self._limits.bytes:
            return True
        if all(entry["state"] == "unsure" for entry in kept):
            return False
        for row in self._index.oldest_unsure(MAX_EVICTED):
            self._remove(row.clip, None)
            if self._index.usage("").bytes + size <= self._limits.bytes:
                return True
        raise StorageFull(self._bytes_help())

    def _count_help(self) -> str:
        limits = f"{self._limits.corrections}, half of them for one API key, and {MAX_ENTRIES} for one file"
        return f"no more corrections are kept (at most {limits}): remove some, or set CLIPSTACK_MAX_FEEDBACK higher"

    def _bytes_help(self) -> str:
        size = f"{self._limits.bytes >> 30} GiB"
        return f"all kept files together may have {size}: remove corrections, or set CLIPSTACK_FEEDBACK_GB higher"

    def remove(self, entry_id: str, owner: str | None) -> None:
        """Remove an entry, and its file with the last entry; `owner` None removes anybody's. Raises as `find`."""
        self.find(entry_id, owner)
        with self._locked():
            if (row := self._index.find(entry_id)) is not None:
                self._remove(row.clip, entry_id)

    def _remove(self, clip_id: str, entry_id: str | None) -> None:
        """Remove one entry of a clip, or with None all unsure ones, while the lock is held."""
        clip = self.folders.read(clip_id)
        self._index.mark_stale()
        if clip is not None:
            clip.entries = [
                entry
                for entry in clip.entries
                if (entry["state"] != "unsure" if entry_id is None else entry["id"] != entry_id)
            ]
            if clip.entries:
                self.folders.write(clip)
                self._index.put(clip.id, clip)
                return
            self.folders.remove(clip_id)
        self._index.put(clip_id, None)

    def find(self, entry_id: str, owner: str | None) -> tuple[Clip, Entry]:
        """Return an entry and its clip; raise FeedbackNotFound also when it belongs to another owner."""
        self._refresh()
        row = self._index.find(entry_id) if ID.fullmatch(entry_id) else None
        clip = self.folders.read(row.clip) if row else None
        if clip is not None and owner in (None, clip.owner):
            for entry in clip.entries:
                if entry["id"] == entry_id:
                    return clip, entry
        raise FeedbackNotFound(NO_SUCH_ENTRY)

    def page(self, wanted: Filter, max_count: int) -> tuple[list[tuple[Clip, Entry]], Row | None]:
        """Return at most `max_count` entries, those that changed last first, and the last row if there are more."""
        self._refresh()
        rows = self._index.page(wanted, max_count + 1)
        shown = rows[:max_count]
        clips = {name: self.folders.read(name) for name in {row.clip for row in shown}}
        entries = {entry["id"]: (clip, entry) for clip in clips.values() if clip for entry in clip.entries}
        found = [entries[row.id] for row in shown if row.id in entries]
        return found, shown[-1] if len(rows) > max_count else None

    def has_place_for_unsure(self, owner: str) -> bool:
        """Return whether one more unsure answer of this owner may be kept."""
        return self._has_place(Answer(""), owner, self._index.usage(owner))

    def clean_up(self, unsure_before: datetime | None) -> None:
        """Remove what killed processes left behind and, if given, unsure answers older than `unsure_before`."""
        if not self.folders.path.is_dir():
            return
        self.folders.remove_leftovers()
        while unsure_before and (rows := self._index.oldest_unsure(MAX_EVICTED, rfc3339(unsure_before))):
            with self._locked():
                for row in rows:
                    self._remove(row.clip, row.id)

    def recover(self) -> None:
        """Have the index made again from the folders: a power loss may have cost its last rows."""
        if self.folders.path.is_dir():
            self._index.mark_stale()
            self._refresh()

    def _refresh(self) -> None:
        """Make the index again if a killed process has left it stale."""
        if self._index.is_stale():
            with self._locked():
                pass

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock; make the index again first if a killed process has left it stale."""
        self.folders.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with file_lock(self._lock, LOCK_WAIT_S):
                if self._index.is_stale():
                    self._index.rebuild()
                yield
        except TimeoutError:
            raise Overloaded("other processes are changing the feedback; please try again") from None
