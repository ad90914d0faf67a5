"""Plot of a timeline as SVG or PNG: a row for each label, a bar for each segment, a dashed line for each cut."""

import io
from dataclasses import dataclass
from html import escape
from typing import Any

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


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    colour: str
    tooltip: str


@dataclass(frozen=True, slots=True)
class _Line:
    x: float
    top: float
    bottom: float
    colour: str
    dashed: bool


@dataclass(frozen=True, slots=True)
class _Text:
    x: float
    y: float  # vertical centre
    text: str
    colour: str
    anchor: str  # start, middle, end


@dataclass(frozen=True, slots=True)
class _Drawing:
    height: int
    lines: list[_Line]
    boxes: list[_Box]
    texts: list[_Text]


def to_svg(timeline: dict[str, Any], title: str) -> str:
    """Return the plot as an SVG document."""
    drawing = _drawing(timeline, title)
    elements = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{drawing.height}" '
        f'viewBox="0 0 {WIDTH} {drawing.height}" font-family="system-ui, sans-serif" font-size="12" role="img">',
        f"<title>{escape(_printable(title))}</title>",
        f'<rect width="100%" height="100%" fill="{BACKGROUND}"/>',
    ]
    for line in drawing.lines:
        dash = ' stroke-dasharray="4 3"' if line.dashed else ""
        elements.append(
            f'<path d="M{line.x:.1f} {line.top:.1f}V{line.bottom:.1f}" stroke="{line.colour}" fill="none"{dash}/>'
        )
    elements += [
        f'<rect x="{box.x:.2f}" y="{box.y:.1f}" width="{box.width:.2f}" height="{box.height:.1f}" rx="2" '
        f'fill="{box.colour}"><title>{escape(_printable(box.tooltip))}</title></rect>'
        for box in drawing.boxes
    ]
    elements += [
        f'<text x="{text.x:.1f}" y="{text.y:.1f}" fill="{text.colour}" text-anchor="{text.anchor}" '
        f'dominant-baseline="central">{escape(_printable(text.text))}</text>'
        for text in drawing.texts
    ]
    return "\n".join([*elements, "</svg>\n"])


def to_png(timeline: dict[str, Any], title: str) -> bytes:
    """Return the plot as a PNG file."""
    drawing = _drawing(timeline, title)
    image = Image.new("RGB", (WIDTH * SCALE, drawing.height * SCALE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(12 * SCALE)
    for line in drawing.lines:
        for top, bottom in _dashes(line):
            draw.line([line.x * SCALE, top * SCALE, line.x * SCALE, bottom * SCALE], line.colour, SCALE)
    for box in drawing.boxes:
        right, bottom = box.x + box.width, box.y + box.height
        corners = [box.x * SCALE, box.y * SCALE, max(right * SCALE, box.x * SCALE + 1), bottom * SCALE]
        draw.rounded_rectangle(corners, min(2 * SCALE, box.width * SCALE / 2), box.colour)
    anchors = {"start": "lm", "middle": "mm", "end": "rm"}
    for text in drawing.texts:
        position = (text.x * SCALE, text.y * SCALE)
        draw.text(position, _printable(text.text), text.colour, font, anchors[text.anchor])
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _drawing(timeline: dict[str, Any], title: str) -> _Drawing:
    rows = _rows(timeline)
    bottom = TOP + len(rows) * (ROW_HEIGHT + GAP)
    left, plot_width = LABEL_WIDTH, WIDTH - LABEL_WIDTH - RIGHT
    duration_s = max(timeline["duration_s"], 1e-9)

    def x(time_s: float) -> float:
        return float(left + plot_width * min(time_s / duration_s, 1.0))

    texts = [_Text(left, 20, _shorten(title, plot_width), FOREGROUND, "start")]
    lines, boxes = [], []
    for tick in _ticks(duration_s):
        lines.append(_Line(x(tick), TOP - 4, bottom, GRID, dashed=False))
        texts.append(_Text(x(tick), bottom + 14, _clock(tick, duration_s), MUTED, "middle"))
    lines += [_Line(x(cut), TOP - 4, bottom, MUTED, dashed=True) for cut in timeline["cuts_s"]]
    for row, label in enumerate(rows):
        y = TOP + row * (ROW_HEIGHT + GAP) + ROW_HEIGHT / 2
        texts.append(_Text(left - 10, y, _shorten(label, left - 20), FOREGROUND, "end"))
    for segment in timeline["segments"]:
        row = rows.get(segment["label"], len(rows) - 1)
        tooltip = f"{segment['label']} {segment['score']:.0%}, {segment['start_s']:.2f} to {segment['end_s']:.2f} s"
        width = max(x(segment["end_s"]) - x(segment["start_s"]), 0.75)
        y = TOP + row * (ROW_HEIGHT + GAP)
        boxes.append(_Box(x(segment["start_s"]), y, width, ROW_HEIGHT, COLOURS[row % len(COLOURS)], tooltip))
    return _Drawing(bottom + BOTTOM, lines, boxes, texts)


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


def _dashes(line: _Line) -> list[tuple[float, float]]:
    if not line.dashed:
        return [(line.top, line.bottom)]
    starts = range(int(line.top), int(line.bottom), 7)
    return [(start, min(start + 4, line.bottom)) for start in starts]


def _printable(text: str) -> str:
    """Replace characters that XML forbids or fonts lack with spaces."""
    return "".join(character if character.isprintable() else " " for character in text)
