"""Send a case to a running service and compare the answer with what is right."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 60, 200),
    "yellow": (220, 200, 40),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
}
PLACES = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))

Entry = dict[str, Any]  # of cases.json


def send(client: httpx.Client, entry: Entry, path: Path) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON body of the answer to the file at `path`."""
    query = "&".join(filter(None, [f"model={entry['model']}", entry.get("query", ""), "thumbnails=true"]))
    headers = dict(header.split(": ", 1) for header in entry.get("headers", ["Content-Type: application/octet-stream"]))
    headers["Cache-Control"] = "no-cache"
    response = client.post(f"/v1/classify?{query}", content=path.read_bytes(), headers=headers)
    return response.status_code, response.json()


def faults(entry: Entry, status: int, body: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing in the answer that is not as the entry says; none when all is right."""
    if status != 200:
        message = body.get("error", {}).get("message", "")
        faults = [] if status in (entry["status"], *entry.get("or_status", ())) else [f"status {status}: {message}"]
        if entry.get("message") and entry["message"].lower() not in message.lower():
            faults.append(f"the message lacks {entry['message']!r}: {message}")
        return faults
    if status != entry["status"]:
        return [f"status {status}, right is {entry['status']}"]
    return [*_media_faults(entry, body["media"]), *_label_faults(entry, body), *_colour_faults(entry, body)]


def job_faults(entry: Entry, job: dict[str, Any]) -> list[str]:
    """Return a sentence for each thing in a finished job's timeline that is not as the entry says."""
    if job["state"] != "done":
        return [f"the job {job['state']}: {job.get('error')}"]
    timeline, faults = job["timeline"], []
    if right := entry.get("job_label"):
        longest = max(timeline["segments"], key=lambda segment: segment["end_s"] - segment["start_s"])
        if longest["label"] != right:
            faults.append(f"the longest segment is {longest['label']}, right is {right}")
    right_s = entry.get("job_changes_s") or ()
    cuts_s = timeline["cuts_s"]
    if right_s and (len(cuts_s) != len(right_s) or max(abs(a - b) for a, b in zip(cuts_s, right_s, strict=True)) > 0.3):
        faults.append(f"scenes begin at {cuts_s}, right is {list(right_s)}")
    return faults


def _media_faults(entry: Entry, media: dict[str, Any]) -> list[str]:
    faults = []
    if (right_s := entry.get("duration_s")) is not None:
        duration_s = media.get("duration_s") or 0.0
        if abs(duration_s - right_s) > 0.05 * right_s + 0.1:
            faults.append(f"duration_s {duration_s}, right is {right_s}")
    if (size := entry.get("size")) and max(abs(media["width"] - size[0]), abs(media["height"] - size[1])) > 2:
        faults.append(f"size {media['width']}x{media['height']}, right is {size[0]}x{size[1]}")
    for key in ("rotation", "mirrored", "frames", "codec", "container", "truncated"):
        if key in entry and media.get(key) != entry[key]:
            faults.append(f"{key} {media.get(key)}, right is {entry[key]}")
    return faults


def _label_faults(entry: Entry, body: dict[str, Any]) -> list[str]:
    faults, best, warnings = [], body["predictions"][0], " ".join(body["warnings"])
    labels = entry.get("label") or ()
    labels = [labels] if isinstance(labels, str) else labels
    if labels and best["label"] not in labels and not (entry.get("or_warning") and warnings):
        faults.append(f"label {best['label']} {best['score']:.2f}, right is {' or '.join(labels)}")
    if entry.get("warning") and entry["warning"] not in warnings:
        faults.append(f"no warning contains {entry['warning']!r}: {warnings}")
    if entry.get("no_warning") and entry["no_warning"] in warnings:
        faults.append(f"a false warning: {warnings}")
    return faults


def _colour_faults(entry: Entry, body: dict[str, Any]) -> list[str]:
    if not entry.get("quarters"):
        return []
    picture = Image.open(io.BytesIO(base64.b64decode(body["thumbnails"][0].split(",", 1)[1]))).convert("RGB")
    faults = []
    for name, (x, y) in zip(entry["quarters"], PLACES, strict=True):
        pixel = picture.getpixel((int(picture.width * x), int(picture.height * y)))
        if max(abs(a - b) for a, b in zip(pixel, COLOURS[name], strict=True)) > entry.get("within", 25):
            faults.append(f"the {name} quarter is {pixel}")
    return faults


def summary(status: int, body: dict[str, Any]) -> str:
    """Return what came in a few words, for the table of docs/formats.md."""
    if status != 200:
        return f"{status} `{body['error']['code']}`: {body['error']['message']}"
    media, best = body["media"], body["predictions"][0]
    facts = [f"{media['container']}, {media['codec']}, {media['width']}x{media['height']}"]
    if media["rotation"]:
        facts.append(f"turned by {media['rotation']}°")
    if media["mirrored"]:
        facts.append("mirrored")
    if media["duration_s"] is not None:
        facts.append(f"{media['duration_s']:.2f} s, {media['frames']} frames")
    facts.append(f"`{best['label']}` {best['score']:.2f}")
    return "; ".join([*facts, *body["warnings"]])


def as_text(entry: Entry) -> str:
    """Return what is right for the entry, without its file and reason, as JSON for a message."""
    return json.dumps({key: value for key, value in entry.items() if key not in ("file", "why", "headers")})
