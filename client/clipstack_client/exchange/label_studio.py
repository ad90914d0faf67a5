"""Label Studio: a list of tasks in its JSON format, and the labelling configuration that belongs to it.

<folder>/videos.json, videos.xml     tasks about videos: parts are `timelinelabels`, whole files are `choices`
        /pictures.json, pictures.xml tasks about pictures: `choices`

A person's labels are an annotation, an unsure answer is a prediction. Label Studio counts the frames of a part from 1;
the exact seconds stand in the task's data.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

from ..feedback import Feedback
from . import MEDIA, Content, InvalidExport, Labelled, contents, label_texts, seconds

FILES = {"video": "videos", "image": "pictures"}
DEFAULT_FPS = 25.0  # Label Studio's own


def write(entries: Sequence[Feedback], folder: Path, media_url: str) -> list[Path]:
    """Write tasks and configurations into an existing folder, and return their paths.

    `media_url` stands before the name of a file in a task.
    """
    written = []
    for kind, name in FILES.items():
        groups = [group for group in contents(entries) if group.kind == kind]
        if not groups:
            continue
        tasks = [_task(number, group, media_url) for number, group in enumerate(groups, 1)]
        labels = sorted({label for group in groups for e in group.entries for label in (*e.labels, *e.predicted)})
        for suffix, text in (("json", json.dumps(tasks, indent=1, ensure_ascii=False)), ("xml", _config(kind, labels))):
            path = folder / f"{name}.{suffix}"
            path.write_text(text + "\n", encoding="utf-8")
            written.append(path)
    return written


def _task(number: int, group: Content, media_url: str) -> dict[str, Any]:
    said = [entry for entry in group.entries if entry.labels]
    unsure = [entry for entry in group.entries if not entry.labels]
    first = group.entries[0]
    data: dict[str, Any] = {group.kind: media_url + group.name, "name": first.file_name, "model": group.model}
    if group.kind == "video":
        data |= {"fps": first.fps or DEFAULT_FPS, "duration_s": first.duration_s}
        data["parts"] = {e.id: [e.start_s, e.end_s] for e in group.entries if e.start_s is not None}
    task: dict[str, Any] = {"id": number, "data": data, "annotations": [], "predictions": []}
    if said:
        result = [_region(entry, list(entry.labels), data) for entry in said]
        task["annotations"].append({"id": number, "result": result})
    for entry in unsure:
        result = [_region(entry, list(entry.predicted), data)]
        task["predictions"].append({"model_version": entry.model, "score": entry.score, "result": result})
    return task


def _region(entry: Feedback, labels: list[str], data: dict[str, Any]) -> dict[str, Any]:
    region: dict[str, Any] = {"id": entry.id, "to_name": "file", "origin": "manual" if entry.labels else "prediction"}
    if entry.start_s is None or entry.end_s is None:
        return region | {"type": "choices", "from_name": "whole", "value": {"choices": labels}}
    start, end = _frames(entry.start_s, entry.end_s, data["fps"])
    value = {"ranges": [{"start": start, "end": end}], "timelinelabels": labels}
    return region | {"type": "timelinelabels", "from_name": "part", "value": value}


def _frames(start_s: float, end_s: float, fps: float) -> tuple[int, int]:
    """Return the first and last frame of a part, counted from 1."""
    start = round(start_s * fps) + 1
    return start, max(start, round(end_s * fps))


def _config(kind: str, labels: Iterable[str]) -> str:
    values = [quoteattr(label) for label in labels]
    choices = "".join(f"    <Choice value={value}/>\n" for value in values)
    whole = f'  <Choices name="whole" toName="file" choice="multiple">\n{choices}  </Choices>\n'
    if kind == "image":
        return f'<View>\n  <Image name="file" value="$image"/>\n{whole}</View>'
    parts = "".join(f"    <Label value={value}/>\n" for value in values)
    video = '  <Video name="file" value="$video" frameRate="$fps"/>\n'
    return f'<View>\n  <TimelineLabels name="part" toName="file">\n{parts}  </TimelineLabels>\n{video}{whole}</View>'


def read(folder: Path) -> list[Labelled]:
    """Return what the tasks of a folder say; raise InvalidExport if it has none, or one cannot be read.

    Only annotations count, of several about one task the last. A file is looked for by its name in `media`.
    """
    paths = [folder / f"{name}.json" for name in FILES.values() if (folder / f"{name}.json").exists()]
    if not paths:
        raise InvalidExport(f"{folder} has neither videos.json nor pictures.json")
    found = []
    for path in paths:
        try:
            tasks = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise InvalidExport(f"{path} is no JSON: {error}") from error
        if not isinstance(tasks, list):
            raise InvalidExport(f"{path} is no list of tasks")
        for number, task in enumerate(tasks, 1):
            found += _read_task(task, folder, f"{path}, task {number}")
    return found


def _read_task(task: Any, folder: Path, where: str) -> list[Labelled]:
    try:
        data = task["data"]
        url = data["video"] if "video" in data else data["image"]
        annotations = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
        regions = annotations[-1]["result"] if annotations else []
        file, model = folder / MEDIA / PurePosixPath(str(url)).name, data.get("model")
        return [part for region in regions for part in _read_region(region, data, file, model, where)]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidExport(f"{where} is not like those of Label Studio: {error!r}") from error


def _read_region(region: Any, data: Any, file: Path, model: str | None, where: str) -> list[Labelled]:
    value = region["value"]
    if region["type"] == "choices":
        return [Labelled(file, label_texts(value["choices"], where), model)]
    if region["type"] != "timelinelabels":
        return []
    labels, fps = label_texts(value["timelinelabels"], where), seconds(data.get("fps", DEFAULT_FPS), where)
    exact = (data.get("parts") or {}).get(region.get("id"))
    result = []
    for frames in value["ranges"]:
        start, end = int(frames["start"]), int(frames["end"])
        start_s, end_s = (start - 1) / fps, max(end, start) / fps
        if exact:
            exact_start_s, exact_end_s = (seconds(time, where) for time in exact)
            if (start, end) == _frames(exact_start_s, exact_end_s, fps):
                start_s, end_s = exact_start_s, exact_end_s
        result.append(Labelled(file, labels, model, seconds(start_s, where), end_s))
    return result
