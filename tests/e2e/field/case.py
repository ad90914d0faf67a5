"""A file that users may send, and the right answer to it.

The fields have the names of `cases.json` (tests/e2e/field/fixtures), so that one comparison serves both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"
FILE_FIELDS = ("make",)  # of a case, not written to cases.json


@dataclass(frozen=True, slots=True)
class Case:
    """A file and what is right for it; a field that is None or empty is not compared.

    `file` is the file's name, and `make` writes it at the path that it receives. `group` is the heading in
    docs/formats.md and `why` says in a few words what the file is. An answer is right when its status is `status` or
    one of `or_status`; the other fields are compared in an answer with status 200, `message` in an error.
    """

    file: str
    make: Callable[[Path], object]
    why: str
    group: str = ""
    model: str = "camera_motion"
    query: str = ""
    headers: tuple[str, ...] = ("Content-Type: application/octet-stream",)
    status: int = 200
    or_status: tuple[int, ...] = ()
    label: str | tuple[str, ...] = ()  # the first prediction is one of these
    duration_s: float | None = None  # within 5 % and 0.1 s
    size: tuple[int, int] | None = None  # width and height within 2 pixels
    rotation: int | None = None
    mirrored: bool | None = None
    frames: int | None = None  # media.frames
    codec: str = ""
    container: str = ""
    truncated: bool | None = None
    quarters: tuple[str, ...] = ()  # colours of the first thumbnail's quarters, row by row: names in compare.COLOURS
    within: int = 25  # levels that a quarter's colour may differ
    warning: str = ""  # a text that one of the warnings contains
    no_warning: str = ""  # a text that no warning contains
    message: str = ""  # a text that the error's message contains
    job_label: str = ""  # the label of the longest segment of its timeline, as a job
    job_changes_s: tuple[float, ...] = ()  # where scenes begin in its timeline, within 0.3 s

    def to_json(self) -> dict[str, Any]:
        """Return the case as an entry of cases.json, without the fields that say nothing."""
        fields = {key: value for key, value in asdict(self).items() if key not in FILE_FIELDS}
        defaults = {"model", "headers", "status", "within"}
        return {key: value for key, value in fields.items() if key in defaults or value not in (None, "", ())}


def copied(name: str) -> Callable[[Path], object]:
    """Return a `make` that copies the committed file `name`."""
    return lambda path: path.write_bytes((FIXTURES / name).read_bytes())


def committed() -> list[dict[str, Any]]:
    """Return the entries of the committed cases.json."""
    entries: list[dict[str, Any]] = json.loads((FIXTURES / "cases.json").read_text())
    return entries
