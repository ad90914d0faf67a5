"""Manifest of a run: the list of files, cut into parts, and what is asked about them."""

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import ClipstackError
from .request import BulkRequest
from .source import Entry
from .stores.interface import Store

FOLDER = "_clipstack"  # readers of Parquet skip names that begin with _
MANIFEST = f"{FOLDER}/manifest.json"
VERSION = 1
EXAMPLES = 3


class ManifestConflict(ClipstackError):
    """The results belong to other files or other parameters."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="manifest_conflict")


@dataclass(frozen=True)
class Part:
    """Consecutive files whose results are one file; `digest` is of their list."""

    index: int
    digest: str
    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """Return the name that results and journal are kept under."""
        return f"part-{self.index:06d}-{self.digest}"


@dataclass(frozen=True)
class Manifest:
    """The pinned list of files, and the parameters of all results."""

    source: str
    format: str
    part_files: int
    request: BulkRequest
    entries: tuple[Entry, ...]

    @property
    def digest(self) -> str:
        """Return a digest of the list of files."""
        return _digest(self.entries)

    def parts(self, shard: int = 1, shards: int = 1) -> list[Part]:
        """Return the parts of one shard, 1 to `shards`: every `shards`-th part."""
        starts = range((shard - 1) * self.part_files, len(self.entries), shards * self.part_files)
        slices = ((start, self.entries[start : start + self.part_files]) for start in starts)
        return [Part(start // self.part_files, _digest(entries)[:8], entries) for start, entries in slices]


def pin(store: Store, wanted: Manifest, *, keep_list: bool = False) -> Manifest:
    """Write the manifest of a new run, or compare it with that of the results, and return the one that counts; blocks.

    With `keep_list` the list of the results counts, although the source has changed. Raise ManifestConflict if the
    results have another manifest, StoreFailed if they cannot be read or written.
    """
    header: dict[str, Any] = {
        "version": VERSION,
        "source": wanted.source,
        "format": wanted.format,
        "part_files": wanted.part_files,
        "request": asdict(wanted.request),
        "files": len(wanted.entries),
        "list": f"{FOLDER}/files-{wanted.digest[:16]}.jsonl.gz",
    }
    try:
        pinned = read(store)
    except FileNotFoundError:
        store.write(header["list"], _packed(wanted.entries))  # of this name there is only this list
        if store.create(MANIFEST, json.dumps(header, indent=1).encode()):
            return wanted
        pinned = read(store)  # another shard was faster
    _compare(pinned, wanted, keep_list=keep_list)
    return pinned


def read(store: Store) -> Manifest:
    """Return the manifest of the results; raise FileNotFoundError if there is none, ManifestConflict if it is newer."""
    header = json.loads(store.read(MANIFEST))
    if header["version"] != VERSION:
        raise ManifestConflict(
            f"the results have a manifest of version {header['version']}, not {VERSION}: update the client"
        )
    known = {field.name for field in fields(BulkRequest)}
    request = BulkRequest(**{name: value for name, value in header["request"].items() if name in known})
    lines = gzip.decompress(store.read(header["list"])).splitlines()
    entries = tuple(Entry(*json.loads(line)) for line in lines)
    return Manifest(header["source"], header["format"], header["part_files"], request, entries)


def _compare(pinned: Manifest, wanted: Manifest, *, keep_list: bool) -> None:
    before = {"format": pinned.format, "part_files": pinned.part_files, **asdict(pinned.request)}
    now = {"format": wanted.format, "part_files": wanted.part_files, **asdict(wanted.request)}
    if different := [f"{name}={before[name]}, not {now[name]}" for name in now if before[name] != now[name]]:
        raise ManifestConflict(
            f"these results were begun with {'; '.join(different)}: use the same options, "
            "or another folder for the results"
        )
    if not keep_list and (changes := _changes(pinned.entries, wanted.entries)):
        raise ManifestConflict(
            f"the source has changed since these results were begun: {changes}. Continue with the files of then by "
            "--keep-list, or use another folder for the results"
        )


def _changes(before: Sequence[Entry], now: Sequence[Entry]) -> str:
    """Return what differs between two lists, with examples; "" for the same."""
    old, new = ({entry.file: entry for entry in entries} for entries in (before, now))
    kinds = {
        "new": [file for file in new if file not in old],
        "gone": [file for file in old if file not in new],
        "changed": [file for file in new if file in old and old[file] != new[file]],
    }
    return "; ".join(
        f"{len(files)} {kind} ({', '.join(files[:EXAMPLES])}{', …' if len(files) > EXAMPLES else ''})"
        for kind, files in kinds.items()
        if files
    )


def _packed(entries: Sequence[Entry]) -> bytes:
    return gzip.compress("".join(json.dumps(entry) + "\n" for entry in entries).encode(), compresslevel=5, mtime=0)


def _digest(entries: Sequence[Entry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps(entry).encode() + b"\n")
    return digest.hexdigest()
