"""A finished or partial timeline as people keep it: CSV for a table, WebVTT for a player.

Takes the timeline as the API shows it (`segments`, `cuts_s`, `duration_s`), so that all forms say the same.
"""

from __future__ import annotations

import csv
import io
import re
from typing import Any

# A spreadsheet runs a cell that begins with one of these as a formula, even one quoted in the CSV. Leading quotes
# are counted in, so that one quote less is always the label itself.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)  # noqa: RUF001 - full-width signs too


def to_csv(timeline: dict[str, Any]) -> str:
    """One row a segment; times in seconds."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["start_s", "end_s", "label", "score"])
    for each in timeline["segments"]:
        label = _escape_formula(each["label"])
        rows.writerow([f"{each['start_s']:.3f}", f"{each['end_s']:.3f}", label, f"{each['score']:.4f}"])
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


def _escape_formula(label: str) -> str:
    """Return the label for a CSV cell that no spreadsheet runs as a formula: such a label gets a quote in front."""
    return f"'{label}" if _FORMULA.match(label) else label
