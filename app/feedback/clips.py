"""Folders of clips: each is created complete, replaced atomically and removed in one step; every change is fsynced.

<clips>/<id>/source       the file: a hard link to the upload, or a copy of it
             clip.json    owner, properties of the file, entries
"""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from app import damaged
from app.feedback.records import MAX_CLIP_BYTES, Clip
from app.files import DamagedFile, read_file, write_file
from app.jobs.storage.new_job import HIDDEN, NewFolder, link_or_copy, remove_leftovers
from app.jobs.storage.records import parse
from app.media.types import Source
from app.nodes.ids import id_pattern

ID = re.compile(id_pattern(24))


class ClipFolders:
    """All clips below `path`, a folder in `data_dir`."""

    def __init__(self, path: Path, data_dir: Path) -> None:
        self.path, self._data_dir = path, data_dir

    def source(self, clip_id: str) -> Path:
        """Return the path of a clip's file."""
        return self.path / clip_id / "source"

    def read(self, clip_id: str) -> Clip | None:
        """Return the clip of this id, or None if there is none; set a damaged one aside."""
        folder = self.path / clip_id
        try:
            clip = parse(Clip, read_file(folder / "clip.json", MAX_CLIP_BYTES))
            if clip.id != clip_id:
                raise DamagedFile(f"clip.json is that of clip {clip.id[:50]!r}")
        except FileNotFoundError:
            return None
        except DamagedFile as error:
            damaged.set_aside(folder, self._data_dir, "feedback", error)
            return None
        return clip

    def clips(self) -> Iterator[Clip]:
        """Yield all clips, by their ids."""
        names = list[str]()
        with suppress(FileNotFoundError):
            names = sorted(path.name for path in self.path.iterdir() if ID.fullmatch(path.name))
        for name in names:
            if (clip := self.read(name)) is not None:
                yield clip

    @contextmanager
    def new(self, clip_id: str, source: Source) -> Iterator[NewFolder]:
        """Yield a hidden folder with the file, which `publish` makes that of the clip; raise OSError if it is full."""
        with NewFolder(self.path / clip_id) as folder:
            link_or_copy(Path(source.path), source.offset, source.length, folder.path / "source")
            yield folder

    def write(self, clip: Clip, new: NewFolder | None = None) -> None:
        """Write the entries of a clip, of which `new` is the folder if it is a new one."""
        content = json.dumps(asdict(clip), ensure_ascii=False).encode()
        folder = self.path / clip.id if new is None else new.path
        write_file(folder / "clip.json", content, durable=True)
        if new is not None:
            new.publish()

    def remove(self, clip_id: str) -> None:
        """Remove a clip with its file."""
        removed = self.path / f"{HIDDEN}gone-{clip_id}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            (self.path / clip_id).rename(removed)
            shutil.rmtree(removed, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Remove hidden folders that killed processes left behind."""
        with suppress(FileNotFoundError):
            remove_leftovers(self.path)
