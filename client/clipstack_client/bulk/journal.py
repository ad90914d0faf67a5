"""Journal of one part: the rows of its finished files, until all of them are written as results."""

import json
from dataclasses import dataclass
from typing import Any

from .manifest import FOLDER, Part
from .stores.interface import Store

Row = dict[str, Any]


@dataclass(frozen=True)
class Finished:
    """The row of a part's file number `index`; `retry` if a service failed on it, so that a later run may do better."""

    index: int
    row: Row
    retry: bool = False


class Journal:
    """Rows of a part's finished files. Every writer has files of its own, so that none waits for another."""

    def __init__(self, store: Store, part: Part) -> None:
        self._store, self._part = store, part
        self._folder = f"{FOLDER}/journal/{part.name}"
        self._appender = store.appender(self._folder)

    def read(self) -> dict[int, Finished]:
        """Return the rows of all writers by their number; blocks. Lines that a kill cut off are skipped."""
        found: dict[int, Finished] = {}
        for name in self._store.names(self._folder):
            for line in self._store.read(f"{self._folder}/{name}").splitlines():
                finished = self._parse(line)
                # A good row of one writer counts more than a failure of another
                if finished and (finished.index not in found or not finished.retry):
                    found[finished.index] = finished
        return found

    def _parse(self, line: bytes) -> Finished | None:
        try:
            entry = json.loads(line)
            finished = Finished(int(entry["index"]), dict(entry["row"]), bool(entry["retry"]))
            file = self._part.entries[finished.index].file
        except (ValueError, TypeError, KeyError, IndexError):
            return None
        return finished if finished.row.get("file") == file else None

    def append(self, finished: Finished) -> None:
        """Add a row."""
        self._appender.append(json.dumps(vars(finished)).encode())

    def flush(self) -> None:
        """Write what is in memory; blocks."""
        self._appender.flush()

    def close(self) -> None:
        """Write what is in memory, and release the file; blocks."""
        self._appender.close()

    def remove(self) -> None:
        """Remove the rows of all writers; blocks."""
        self._appender.close()
        self._store.remove(self._folder)


def parts_to_repeat(store: Store, names: set[str]) -> set[str]:
    """Return those parts whose journals were kept, because a service failed on one of their files; blocks."""
    return {name for name in names if store.names(f"{FOLDER}/journal/{name}")}
