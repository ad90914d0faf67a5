"""Export of a finished or partial timeline: CSV for spreadsheets, WebVTT for players.

The input is the timeline as the API returns it (`segments`, `cuts_s`, `duration_s`), so that all formats agree.
"""

import csv
import io
import re
from typing import Any

# Spreadsheets run a cell that begins with one of these as a formula, even if the CSV quotes it. Leading quotes
# match too, so that removing one quote always restores the label.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠].", re.DOTALL)  # noqa: RUF001 - full-width signs too


def to_csv(timeline: dict[str, Any]) -> str:
    """Return a CSV table with one row for each segment; times are in seconds."""
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["start_s", "end_s", "label", "score"])
    for segment in timeline["segments"]:
        label = _escape_formula(segment["label"])
        rows.writerow([f"{segment['start_s']:.3f}", f"{segment['end_s']:.3f}", label, f"{segment['score']:.4f}"])
    return file.getvalue()


def to_vtt(timeline: dict[str, Any]) -> str:
    """Return a WebVTT file with one cue for each segment, which players show as subtitles or chapters.

    Reference: https://www.w3.org/TR/webvtt1/
    """
    cues = [
        f"{number}\n{_clock(segment['start_s'])} --> {_clock(segment['end_s'])}\n"
        f"{_text(segment['label'])} {segment['score']:.0%}\n"
        for number, segment in enumerate(timeline["segments"], 1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    total_ms = round(seconds * 1000)
    return (
        f"{total_ms // 3_600_000:02d}:{total_ms // 60_000 % 60:02d}:{total_ms // 1000 % 60:02d}.{total_ms % 1000:03d}"
    )


def _text(label: str) -> str:
    """Return the label as cue text: markup is escaped, and nothing in it ends the cue."""
    clean = " ".join(label.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return clean or "?"


def _escape_formula(label: str) -> str:
    """Return the label for a CSV cell, with a quote in front if a spreadsheet would run it as a formula."""
    return f"'{label}" if _FORMULA.match(label) else label
