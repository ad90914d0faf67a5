"""Generated parts of documentation pages: text between marks, Markdown tables, and charts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

END = "<!-- to here -->\n"


def begin_mark(module: str) -> str:
    return f"<!-- made by python -m {module} -->\n"


def replace_part(page: Path, begin: str, text: str, end: str = END) -> None:
    """Replace the text between the marks `begin` and `end`, which stay."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def table(head: Sequence[str], align: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table; `align` has an `l` or `r` for each column."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join({'l': '---', 'r': '--:'}[side] for side in align)}|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows]) + "\n"


@contextmanager
def chart(path: Path, rows: int = 1, columns: int = 1, top: float = 1.0, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its panels, and write them as SVG; equal figures give equal bytes.

    The panels end at `top`, a part of the height, to leave room for a legend.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams.update({"svg.hashsalt": "clipstack", "font.size": 9})
    figure, panels = pyplot.subplots(rows, columns, **options)
    for panel in figure.axes:
        panel.grid(color="#e3e6ea", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    yield figure, panels
    figure.tight_layout(rect=(0, 0, 1, top))
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
