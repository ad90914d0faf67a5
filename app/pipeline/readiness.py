"""What the web workers of one gunicorn lack before they can answer, in a folder that all of them see.

<folder>/expected        how many are to be there at the start of the service; gone when all were there once
         4711            a worker's own, named by its pid and locked for as long as it lives: its facts

A worker takes requests when its facts say so. Until all that were to be there answered for the first time, each one
that is missing counts; later only those count that take requests: nobody waits for one that takes another's place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

EXPECTED = "expected"


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one worker: what it has done of all that it must do before its first answer is as quick as others."""

    serves: bool = False  # it takes requests
    decoders: int = 0  # processes that have decoded films of our own
    cold: str = "its decoders have not started"  # why they are not all warm
    triton: bool = False
    region: bool = False  # is known to Triton, or was refused, which requests outlive
    clip: str = "no clip of its own was answered yet"  # why not

    def lacks(self) -> str:
        """The first thing that is missing, in words; empty when nothing is."""
        if self.cold:
            return self.cold
        if not self.triton:
            return "has not reached Triton"
        if not self.region:
            return "its memory is not yet known to Triton"
        return self.clip or ("" if self.serves else "about to take requests")


def expect(folder: Path, count: int) -> None:
    """At the start of gunicorn: `count` workers are to be there, and none of before is."""
    folder.mkdir(mode=0o750, exist_ok=True)
    for path in folder.iterdir():
        path.unlink(missing_ok=True)
    (folder / EXPECTED).write_text(str(count))


class WorkerRegistry:
    """The workers of `folder` as one of them sees them, after fork; without that folder there is but this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self._told: Facts | None = None

    def tell(self, facts: Facts) -> None:
        """From now on this worker's facts are these."""
        if facts == self._told:
            return
        self._told, path = facts, self._folder / str(os.getpid())
        fresh = path.with_suffix(".new")
        with suppress(OSError):  # a full disk, or no such folder: nobody knows of this one then
            lock = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(lock, json.dumps(asdict(facts)).encode())
            fresh.replace(path)  # a whole file, and locked
            if self._lock is not None:
                os.close(self._lock)
            self._lock = lock

    def leave(self) -> None:
        """This worker ends; safe to call twice."""
        lock, self._lock, self._told = self._lock, None, None
        if lock is not None:
            with suppress(OSError):
                (self._folder / str(os.getpid())).unlink(missing_ok=True)
            os.close(lock)

    def living(self) -> list[Facts]:
        """Those of every worker that lives; what dead ones left is removed."""
        own = [self._told] if self._lock is None and self._told else []
        return [*own, *self._others()]

    def _others(self) -> Iterator[Facts]:
        for path in sorted(self._folder.glob("[0-9]*")):
            with suppress(OSError, ValueError, TypeError), path.open("rb") as file:
                if path.suffix:
                    continue  # just being written
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    path.unlink()
                except BlockingIOError:
                    yield Facts(**json.load(file))

    def lacking(self) -> list[str]:
        """What keeps the service from being ready, in words; each as often as it is so."""
        expected, living = self._expected(), self.living()
        counted = [facts for facts in living if facts.serves or expected]
        lacks = Counter(lack for facts in counted if (lack := facts.lacks()))
        lacks["not there yet"] = max(0, expected - len(living))
        of = max(expected, len(counted))
        told = [f"{count} of {of} web workers: {lack}" for lack, count in lacks.items() if count]
        if expected and not told:
            (self._folder / EXPECTED).unlink(missing_ok=True)
        return told

    def _expected(self) -> int:
        try:
            return int((self._folder / EXPECTED).read_text())
        except (OSError, ValueError):
            return 0
