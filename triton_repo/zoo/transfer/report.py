"""Report of an evaluation: `report.json`, `report.html` with the worst mistakes, and `confusion.png`."""

import asyncio
import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.errors import ClipstackError
from app.files import write_file
from app.settings import Settings
from triton_repo.zoo.spec import ClipSpec
from triton_repo.zoo.transfer.decode import Clips, clip_decoder
from triton_repo.zoo.transfer.examples import Example
from triton_repo.zoo.transfer.metrics import Figures, Scores, Truths, worst

MISTAKES = 24  # shown
FRAMES = 4  # of a film, in its thumbnail
THUMBNAIL = 128  # pixels, height
PLOTTED_LABELS = 60  # in confusion.png and in the HTML table; more would not be readable

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.hit{background:#e3f1e3}.miss{background:#fbe3df}
.scroll{overflow-x:auto}ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:1rem}
li{border:1px solid #ddd;padding:.5rem;max-width:100%}img{display:block;max-width:100%}
"""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation of the model `name` on examples.

    `scores` are probabilities float32 (N, classes), `truths` bool (N, classes), `facts` are more entries of
    `report.json`.
    """

    name: str
    labels: tuple[str, ...]
    examples: Sequence[Example]
    scores: Scores
    truths: Truths
    figures: Figures
    spec: ClipSpec
    facts: dict[str, Any]

    def mistakes(self) -> list[int]:
        """Return the numbers of the worst mistakes, worst first."""
        return worst(self.scores, self.truths, MISTAKES)


def write_report(evaluated: Evaluated, folder: Path, settings: Settings) -> str | None:
    """Write the report into a folder; return why there is no `confusion.png`, or None if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    mistakes = evaluated.mistakes()
    thumbnails = asyncio.run(_thumbnails([evaluated.examples[n] for n in mistakes], evaluated.spec, settings))
    content = {"model": evaluated.name, "labels": evaluated.labels} | evaluated.facts
    content |= {"figures": evaluated.figures.to_json(), "mistakes": [_mistake(evaluated, n) for n in mistakes]}
    files = {"report.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n"}
    files["report.html"] = _page(evaluated, mistakes, thumbnails)
    for name, text in files.items():
        write_file(folder / name, text.encode(errors="replace"))
    return _plot(evaluated, folder / "confusion.png")


def _mistake(evaluated: Evaluated, number: int) -> dict[str, Any]:
    example, scores = evaluated.examples[number], evaluated.scores[number]
    wrong = int(np.where(evaluated.truths[number], -np.inf, scores).argmax())
    right = int(np.where(evaluated.truths[number], scores, -np.inf).argmax())
    return {
        "file": str(example.file),
        "span": example.span,
        "label": evaluated.labels[right],
        "score": round(float(scores[right]), 4),
        "instead": evaluated.labels[wrong],
        "instead_score": round(float(scores[wrong]), 4),
    }


async def _thumbnails(examples: Sequence[Example], spec: ClipSpec, settings: Settings) -> list[str]:
    """Return data URLs of JPEGs; empty ones for files that cannot be decoded any more."""
    if not examples:
        return []
    async with clip_decoder(examples, spec, 1, settings) as decoder:
        results = [clips async for _, clips in decoder.read_all(examples)]
    return ["" if isinstance(clips, ClipstackError) else _thumbnail(clips) for clips in results]


def _thumbnail(clips: Clips) -> str:
    frames = clips[0]
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))]
    picture = Image.fromarray(np.concatenate(list(chosen), axis=1))
    picture.thumbnail((picture.width, THUMBNAIL))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _page(evaluated: Evaluated, mistakes: Sequence[int], thumbnails: Sequence[str]) -> str:
    figures, name = evaluated.figures, html.escape(evaluated.name)
    rows = "".join(
        f"<tr><td>{html.escape(one.label)}</td><td>{one.files}</td>"
        f"<td>{percent(one.precision)}</td><td>{percent(one.recall)}</td></tr>"
        for one in figures.labels
    )
    items = "".join(_item(_mistake(evaluated, n), image) for n, image in zip(mistakes, thumbnails, strict=True))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        f"<h1>{name}</h1><p>{figures.files} files: {figures.accuracy:.1%} right, "
        f"{figures.top_5:.1%} among the best five.</p>"
        f"<table><tr><th>label</th><th>files</th><th>precision</th><th>recall</th></tr>{rows}</table>"
        f"{_confusion_table(evaluated)}<h2>Worst mistakes</h2>"
        + (f"<ul>{items}</ul>" if items else "<p>None.</p>")
        + "</html>\n"
    )


def _item(mistake: dict[str, Any], image: str) -> str:
    text = {key: html.escape(str(value)) for key, value in mistake.items()}
    picture = f'<img src="{image}" alt="">' if image else ""
    return (
        f"<li>{picture}{text['label']} {mistake['score']:.0%}, taken for <b>{text['instead']}</b> "
        f"{mistake['instead_score']:.0%}<br><small>{text['file']}</small></li>"
    )


def _confusion_table(evaluated: Evaluated) -> str:
    confusion, labels = evaluated.figures.confusion, [html.escape(label) for label in evaluated.labels]
    if confusion is None or len(labels) > PLOTTED_LABELS:
        return ""
    head = "".join(f"<th>{label}</th>" for label in labels)
    rows = "".join(
        f"<tr><th>{label}</th>"
        + "".join(f'<td class="{"hit" if n == m else "miss" if x else ""}">{x or ""}</td>' for m, x in enumerate(row))
        + "</tr>"
        for n, (label, row) in enumerate(zip(labels, confusion, strict=True))
    )
    title = "<h2>Right label (row), given label (column)</h2>"
    return f'{title}<div class="scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _plot(evaluated: Evaluated, path: Path) -> str | None:
    confusion, labels = evaluated.figures.confusion, evaluated.labels
    if confusion is None:
        return "files have several labels"
    if len(labels) > PLOTTED_LABELS:
        return f"there are more than {PLOTTED_LABELS} labels"
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return "matplotlib is not installed"
    side = 2.5 + 0.35 * len(labels)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    counts = np.array(confusion)
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), [_ascii(label) for label in labels], rotation=90)
    axes.set_yticks(range(len(labels)), [_ascii(label) for label in labels])
    axes.set(xlabel="given label", ylabel="right label")
    for row, column in zip(*counts.nonzero(), strict=True):
        dark = counts[row, column] > counts[row].sum() / 2
        axes.text(column, row, counts[row, column], ha="center", va="center", color="white" if dark else "black")
    FigureCanvasAgg(figure)
    figure.savefig(path)
    return None


def _ascii(label: str) -> str:
    """Return the label without what matplotlib's own font lacks or takes for mathematics."""
    return label.replace("$", r"\$").encode("latin-1", errors="replace").decode("latin-1")[:24]


def percent(share: float | None) -> str:
    """Return a share as a percentage; a dash for None."""
    return "–" if share is None else f"{share:.0%}"
