"""FiftyOne: its dataset formats for temporal detections in videos, and for classifications of pictures.

<folder>/videos/     FiftyOneTemporalDetectionDataset: for each file a list of detections with label and timestamps
        /pictures/   FiftyOneImageClassificationDataset: for each file a label, or a list of labels

Each has labels.json, {"classes": [...], "labels": {name: ...}}, and data/ with the files, which are links into media.

Unsure answers are left out, because these formats have no place for labels that nobody has confirmed.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..feedback import Feedback
from . import MEDIA, Content, InvalidExport, Labelled, contents, seconds

FOLDERS = {"video": "videos", "image": "pictures"}


def write(entries: Sequence[Feedback], folder: Path) -> list[Path]:
    """Write the datasets beside `media`, which has the files already, and return the paths of their labels.

    Parts of a video whose length is unknown are left out, because a detection needs a start and an end.
    """
    written = []
    said = [entry for entry in entries if entry.labels and _span(entry)]
    for kind, name in FOLDERS.items():
        groups = [group for group in contents(said) if group.kind == kind]
        if not groups:
            continue
        classes = sorted({label for group in groups for entry in group.entries for label in entry.labels})
        numbers = {label: number for number, label in enumerate(classes)}
        labels: dict[str, list[Any]] = {}
        for group in groups:
            labels.setdefault(Path(group.name).stem, []).extend(_targets(group, numbers))
        (folder / name / "data").mkdir(parents=True, exist_ok=True)
        for group in groups:
            _link(folder / MEDIA / group.name, folder / name / "data" / group.name)
        targets: dict[str, Any] = dict(labels)
        if kind == "image":
            targets = {stem: found[0] if len(found) == 1 else found for stem, found in labels.items()}
        path = folder / name / "labels.json"
        path.write_text(json.dumps({"classes": classes, "labels": targets}, indent=1, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _targets(group: Content, numbers: dict[str, int]) -> list[Any]:
    if group.kind == "image":
        return [numbers[label] for entry in group.entries for label in entry.labels]
    return [
        {"label": numbers[label], "timestamps": list(_span(entry) or ()), "attributes": {"model": group.model}}
        for entry in group.entries
        for label in entry.labels
    ]


def _span(entry: Feedback) -> tuple[float, float] | None:
    """Return the part of a video in seconds, None if its length is unknown; (0, 0) of a picture."""
    if entry.kind == "image":
        return 0.0, 0.0
    if entry.start_s is not None and entry.end_s is not None:
        return entry.start_s, entry.end_s
    return None if entry.duration_s is None else (0.0, entry.duration_s)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def read(folder: Path) -> list[Labelled]:
    """Return what the datasets of a folder say; raise InvalidExport if it has none, or one cannot be read."""
    found = []
    paths = [folder / name / "labels.json" for name in FOLDERS.values()]
    if not any(path.exists() for path in paths):
        raise InvalidExport(f"{folder} has neither videos/labels.json nor pictures/labels.json")
    for path in paths:
        if not path.exists():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            files = {file.stem: file for file in (path.parent / "data").iterdir()}
            for stem, targets in content["labels"].items():
                if stem not in files:
                    raise InvalidExport(f"{path}: there is no file {stem} in {path.parent / 'data'}")
                found += _read_targets(targets, content.get("classes"), files[stem], f"{path}, {stem}")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
            if isinstance(error, InvalidExport):
                raise
            raise InvalidExport(f"{path} is not like those of FiftyOne: {error!r}") from error
    return found


def _read_targets(targets: Any, classes: list[str] | None, file: Path, where: str) -> list[Labelled]:
    def label(target: Any) -> str:
        return str(classes[target]) if classes and isinstance(target, int) else str(target)

    several = targets if isinstance(targets, list) else [targets]
    parts: dict[tuple[float, float, str | None] | None, list[str]] = {}
    for target in several:
        if not isinstance(target, dict):
            parts.setdefault(None, []).append(label(target))
            continue
        if "timestamps" not in target:
            raise InvalidExport(f"{where}: a detection needs `timestamps` in seconds; frame numbers are not read")
        start_s, end_s = (seconds(time, where) for time in target["timestamps"])
        model = (target.get("attributes") or {}).get("model")
        parts.setdefault((start_s, end_s, model), []).append(label(target["label"]))
    result = []
    for part, labels in parts.items():
        if part is None:
            result.append(Labelled(file, tuple(labels)))
        else:
            result.append(Labelled(file, tuple(labels), part[2], part[0], part[1]))
    return result
