"""Plot of a timeline as SVG or PNG: a row for each label, a bar for each segment, a dashed line for each cut."""

import io
from html import escape
from typing import Any, TypeVar

from PIL import Image, ImageDraw, ImageFont

WIDTH, ROW_HEIGHT, GAP, TOP, BOTTOM, RIGHT = 960, 26, 6, 40, 34, 24
LABEL_WIDTH, CHARACTER_WIDTH = 150, 7.2
MAX_ROWS = 24  # the remaining labels share the last row
SCALE = 2  # of the PNG, for screens with a high pixel density
# Colour-blind-safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/), without black
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B39B00", "#7F7F7F")
FOREGROUND, MUTED, GRID, BACKGROUND = "#1f2328", "#6b7280", "#e5e7eb", "#ffffff"
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MAX_TICKS = 10
OTHERS = "other labels"

Canvas = TypeVar("Canvas", "_Svg", "_Png")


def to_svg(timeline: dict[str, Any], title: str) -> str:
    """Return the plot as an SVG document."""
    return _draw(_Svg, timeline, title).content()


def to_png(timeline: dict[str, Any], title: str) -> bytes:
    """Return the plot as a PNG file."""
    return _draw(_Png, timeline, title).content()


class _Svg:
    """Canvas of an SVG document; of a text, `y` is the vertical centre and `anchor` start, middle or end."""

    def __init__(self, height: int, title: str) -> None:
        self._elements = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12" role="img">',
            f"<title>{escape(_printable(title))}</title>",
            f'<rect width="100%" height="100%" fill="{BACKGROUND}"/>',
        ]

    def line(self, x: float, top: float, bottom: float, colour: str, dashed: bool) -> None:
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._elements.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" fill="none"{dash}/>')

    def box(self, x: float, y: float, width: float, colour: str, tooltip: str) -> None:
        self._elements.append(
            f'<rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{ROW_HEIGHT:.1f}" rx="2" '
            f'fill="{colour}"><title>{escape(_printable(tooltip))}</title></rect>'
        )

    def text(self, x: float, y: float, text: str, colour: str, anchor: str) -> None:
        self._elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
            f'dominant-baseline="central">{escape(_printable(text))}</text>'
        )

    def content(self) -> str:
        return "\n".join([*self._elements, "</svg>\n"])


class _Png:
    """Canvas of a PNG file, with the methods of _Svg."""

    def __init__(self, height: int, title: str) -> None:
        self._image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), BACKGROUND)
        self._draw, self._font = ImageDraw.Draw(self._image), ImageFont.load_default(12 * SCALE)

    def line(self, x: float, top: float, bottom: float, colour: str, dashed: bool) -> None:
        starts = range(int(top), int(bottom), 7) if dashed else (top,)
        for start in starts:
            end = min(start + 4, bottom) if dashed else bottom
            self._draw.line([x * SCALE, start * SCALE, x * SCALE, end * SCALE], colour, SCALE)

    def box(self, x: float, y: float, width: float, colour: str, tooltip: str) -> None:
        corners = [x * SCALE, y * SCALE, max((x + width) * SCALE, x * SCALE + 1), (y + ROW_HEIGHT) * SCALE]
        self._draw.rounded_rectangle(corners, min(2 * SCALE, width * SCALE / 2), colour)

    def text(self, x: float, y: float, text: str, colour: str, anchor: str) -> None:
        anchors = {"start": "lm", "middle": "mm", "end": "rm"}
        self._draw.text((x * SCALE, y * SCALE), _printable(text), colour, self._font, anchors[anchor])

    def content(self) -> bytes:
        file = io.BytesIO()
        self._image.save(file, "PNG", optimize=True)
        return file.getvalue()


def _draw(kind: type[Canvas], timeline: dict[str, Any], title: str) -> Canvas:
    rows = _rows(timeline)
    bottom = TOP + len(rows) * (ROW_HEIGHT + GAP)
    left, plot_width = LABEL_WIDTH, WIDTH - LABEL_WIDTH - RIGHT
    duration_s = max(timeline["duration_s"], 1e-9)
    canvas, ticks = kind(bottom + BOTTOM, title), _ticks(duration_s)

    def x(time_s: float) -> float:
        return float(left + plot_width * min(time_s / duration_s, 1.0))

    for tick in ticks:
        canvas.line(x(tick), TOP - 4, bottom, GRID, dashed=False)
    for cut in timeline["cuts_s"]:
        canvas.line(x(cut), TOP - 4, bottom, MUTED, dashed=True)
    for segment in timeline["segments"]:
        row = rows.get(segment["label"], len(rows) - 1)
        tooltip = f"{segment['label']} {segment['score']:.0%}, {segment['start_s']:.2f} to {segment['end_s']:.2f} s"
        width = max(x(segment["end_s"]) - x(segment["start_s"]), 0.75)
        canvas.box(x(segment["start_s"]), TOP + row * (ROW_HEIGHT + GAP), width, COLOURS[row % len(COLOURS)], tooltip)
    canvas.text(left, 20, _shorten(title, plot_width), FOREGROUND, "start")
    for tick in ticks:
        canvas.text(x(tick), bottom + 14, _clock(tick, duration_s), MUTED, "middle")
    for label, row in rows.items():
        y = TOP + row * (ROW_HEIGHT + GAP) + ROW_HEIGHT / 2
        canvas.text(left - 10, y, _shorten(label, left - 20), FOREGROUND, "end")
    return canvas


def _rows(timeline: dict[str, Any]) -> dict[str, int]:
    """Return the row of each label, the labels with the longest total duration first."""
    durations_s: dict[str, float] = {}
    for segment in timeline["segments"]:
        durations_s[segment["label"]] = durations_s.get(segment["label"], 0.0) + segment["end_s"] - segment["start_s"]
    names = sorted(durations_s, key=lambda label: -durations_s[label])
    if len(names) > MAX_ROWS:
        names = [*names[: MAX_ROWS - 1], OTHERS]
    return {name: row for row, name in enumerate(names)}


def _ticks(duration_s: float) -> list[float]:
    step = next((step for step in STEPS_S if duration_s / step <= MAX_TICKS), duration_s / MAX_TICKS)
    return [step * number for number in range(int(duration_s / step + 1e-9) + 1)]


def _clock(time_s: float, duration_s: float) -> str:
    if duration_s < 10:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(round(time_s), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if duration_s >= 3600 else f"{minutes}:{seconds:02d}"


def _shorten(text: str, width: float) -> str:
    max_characters = int(width / CHARACTER_WIDTH)
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"


def _printable(text: str) -> str:
    """Replace characters that XML forbids or fonts lack with spaces."""
    return "".join(character if character.isprintable() else " " for character in text)
