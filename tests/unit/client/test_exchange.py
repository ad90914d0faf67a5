"""Feedback as Label Studio tasks and FiftyOne datasets, written and read again."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipstack_client.exchange import InvalidExport, Labelled, fiftyone, label_studio, media_name
from clipstack_client.feedback import Feedback, parse_feedback


def entry(number: int, **other: Any) -> Feedback:
    file = {"name": "a film.MP4", "bytes": 9, "kind": "video", "sha256": "ab" * 32, "duration_s": 6.0, "fps": 30.0}
    record = {
        "id": f"{number:024x}",
        "state": "corrected",
        "labels": ["pan_left"],
        "predicted": ["static"],
        "score": 0.4,
        "model": "moves",
        "start_s": 0.0,
        "end_s": 1.51,
        "job": None,
        "updated": "2026-05-04T10:00:00.000Z",
    }
    file |= other.pop("file", {})
    return parse_feedback(record | other | {"file": file})


PICTURE = {"name": "x.png", "kind": "image", "sha256": "cd" * 32, "duration_s": None, "fps": None}
ENTRIES = [
    entry(1),
    entry(2, start_s=1.51, end_s=6.0, labels=["zoom & <in>", "shake"]),
    entry(3, start_s=None, end_s=None, labels=["static"]),
    entry(4, start_s=4.0, end_s=5.0, labels=[], state="unsure"),
    entry(5, start_s=None, end_s=None, labels=["cat"], model="pets", file=PICTURE),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    for entry in ENTRIES:
        (tmp_path / "media" / media_name(entry)).write_bytes(b"content")
    return tmp_path


def test_label_studio_tasks_have_parts_choices_and_predictions(folder: Path) -> None:
    written = label_studio.write(ENTRIES, folder, "/files/")
    assert [path.name for path in written] == ["videos.json", "videos.xml", "pictures.json", "pictures.xml"]
    (task,) = json.loads((folder / "videos.json").read_text())
    assert task["data"]["video"] == f"/files/{'ab' * 10}.mp4"
    (annotation,), (prediction,) = task["annotations"], task["predictions"]
    assert [region["type"] for region in annotation["result"]] == ["timelinelabels", "timelinelabels", "choices"]
    assert annotation["result"][0]["value"] == {"ranges": [{"start": 1, "end": 45}], "timelinelabels": ["pan_left"]}
    assert (prediction["score"], prediction["result"][0]["value"]["timelinelabels"]) == (0.4, ["static"])
    view = ElementTree.parse(folder / "videos.xml").getroot()
    names = {element.get("name") for element in view}
    for region in annotation["result"]:
        assert {region["from_name"], region["to_name"]} <= names
    assert {label.get("value") for label in view.iter("Label")} == {"pan_left", "zoom & <in>", "shake", "static"}


def test_label_studio_round_trip(folder: Path) -> None:
    label_studio.write(ENTRIES, folder, "media/")
    film, picture = folder / "media" / f"{'ab' * 10}.mp4", folder / "media" / f"{'cd' * 10}.png"
    assert label_studio.read(folder) == [
        Labelled(film, ("pan_left",), "moves", 0.0, 1.51),
        Labelled(film, ("zoom & <in>", "shake"), "moves", 1.51, 6.0),
        Labelled(film, ("static",), "moves"),
        Labelled(picture, ("cat",), "pets"),
    ]


def test_parts_moved_in_label_studio_are_taken_by_their_frames(folder: Path) -> None:
    label_studio.write(ENTRIES[:1], folder, "media/")
    (task,) = json.loads((folder / "videos.json").read_text())
    task["annotations"][0]["result"][0]["value"]["ranges"] = [{"start": 31, "end": 60}]
    (folder / "videos.json").write_text(json.dumps([task]))
    ((part,)) = label_studio.read(folder)
    assert (part.start_s, part.end_s) == (1.0, 2.0)


def test_fiftyone_detections_have_classes_and_seconds(folder: Path) -> None:
    assert [path.parent.name for path in fiftyone.write(ENTRIES, folder)] == ["videos", "pictures"]
    videos = json.loads((folder / "videos" / "labels.json").read_text())
    assert videos["classes"] == ["pan_left", "shake", "static", "zoom & <in>"]
    (detections,) = videos["labels"].values()
    assert [(item["label"], item["timestamps"]) for item in detections] == [
        (0, [0.0, 1.51]),
        (3, [1.51, 6.0]),
        (1, [1.51, 6.0]),
        (2, [0.0, 6.0]),
    ]
    assert (folder / "videos" / "data" / f"{'ab' * 10}.mp4").read_bytes() == b"content"
    pictures = json.loads((folder / "pictures" / "labels.json").read_text())
    assert pictures == {"classes": ["cat"], "labels": {"cd" * 10: 0}}


def test_fiftyone_round_trip(folder: Path) -> None:
    fiftyone.write(ENTRIES, folder)
    film, picture = folder / "videos" / "data" / f"{'ab' * 10}.mp4", folder / "pictures" / "data" / f"{'cd' * 10}.png"
    assert fiftyone.read(folder) == [
        Labelled(film, ("pan_left",), "moves", 0.0, 1.51),
        Labelled(film, ("zoom & <in>", "shake"), "moves", 1.51, 6.0),
        Labelled(film, ("static",), "moves", 0.0, 6.0),
        Labelled(picture, ("cat",)),
    ]


@pytest.mark.parametrize("read", [label_studio.read, fiftyone.read])
@pytest.mark.parametrize("text", ["", "[", "[1]", '[{"data": {}}]', "{}", '{"labels": [1]}', '{"labels": {"x": 1}}'])
def test_other_files_are_refused(read: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    for path in (tmp_path / "videos.json", tmp_path / "videos" / "labels.json"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "videos" / "data").mkdir()
    with pytest.raises(InvalidExport):
        read(tmp_path)


def test_files_outside_the_folder_are_never_read(folder: Path) -> None:
    label_studio.write(ENTRIES[:1], folder, "../../etc/")
    assert label_studio.read(folder)[0].file.parent == folder / "media"
