"""A finished or partial timeline as people keep it: CSV for a table, WebVTT for a player.

Takes the timeline as the API shows it (`segments`, `cuts_s`, `duration_s`), so that all forms say the same.
"""

from __future__ import annotations

import csv
import io
from typing import Any


def to_csv(timeline: dict[str, Any]) -> str:
    """One row a segment; times in seconds."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["start_s", "end_s", "label", "score"])
    for each in timeline["segments"]:
        rows.writerow([f"{each['start_s']:.3f}", f"{each['end_s']:.3f}", _inert(each["label"]), f"{each['score']:.4f}"])
    return file.getvalue()


def to_vtt(timeline: dict[str, Any]) -> str:
    """One cue a segment: a player shows them as subtitles or chapters. Reference: https://www.w3.org/TR/webvtt1/"""
    cues = [
        f"{number}\n{_clock(each['start_s'])} --> {_clock(each['end_s'])}\n{_text(each['label'])} {each['score']:.0%}\n"
        for number, each in enumerate(timeline["segments"], 1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def _text(label: str) -> str:
    """Cue text: what would be markup, or end the cue, is not."""
    clean = " ".join(label.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return clean or "?"


def _inert(label: str) -> str:
    """A label that a spreadsheet would take for a formula becomes text."""
    return f"'{label}" if label[:1] in "=+-@\t\r" else label
