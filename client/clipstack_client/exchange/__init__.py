"""Feedback as files of other tools: Label Studio tasks and FiftyOne datasets, written and read.

<folder>/media/<digest>.mp4      one file for each content
        /...                     what the format adds
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..feedback import Feedback

MEDIA = "media"
DIGITS = 20  # of a content's digest in the name of its file


class InvalidExport(ValueError):
    """Error for files that cannot be read as the format; the message says where."""


@dataclass(frozen=True)
class Labelled:
    """Labels of a file, or of a part of a video, to hand to the service."""

    file: Path
    labels: tuple[str, ...]
    model: str | None = None
    start_s: float | None = None
    end_s: float | None = None


class Content(NamedTuple):
    """Entries about the same content of one model."""

    kind: str
    name: str
    model: str
    entries: list[Feedback]


def media_name(entry: Feedback) -> str:
    """Return the name of an entry's file: the digest of its content, with the suffix of its own name."""
    suffix = PurePosixPath(entry.file_name).suffix.lower()
    known = suffix[1:].isascii() and suffix[1:].isalnum()
    return entry.sha256[:DIGITS] + (suffix if known else ".mp4" if entry.kind == "video" else ".jpg")


def contents(entries: Iterable[Feedback]) -> list[Content]:
    """Return the entries grouped by content and model, in the order of their first appearance."""
    groups: dict[tuple[str, str], Content] = {}
    for entry in entries:
        key = (entry.sha256, entry.model)
        group = groups.setdefault(key, Content(entry.kind, media_name(entry), entry.model, []))
        group.entries.append(entry)
    return list(groups.values())


def seconds(value: Any, where: str) -> float:
    """Return a time as a number; raise InvalidExport if it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise InvalidExport(f"{where}: {value!r} is no time in seconds")


def label_texts(value: Any, where: str) -> tuple[str, ...]:
    """Return a list of labels; raise InvalidExport if it is none."""
    if isinstance(value, list) and value and all(isinstance(label, str) for label in value):
        return tuple(value)
    raise InvalidExport(f"{where}: {str(value)[:80]!r} is no list of labels")
