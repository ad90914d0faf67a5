"""Results of `verify` and `bench`, as tables and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triton_repo.zoo.benchmark.accuracy import AccuracyRow
from triton_repo.zoo.benchmark.timing import Result

GOOD, BAD = Text("good", style="green"), Text("differs", style="bold red")
LEFT_ALIGNED = ("engine", "precision", "clips", "")


def _table(*columns: str) -> Table:
    """Return an empty table that fits a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in LEFT_ALIGNED else "right", no_wrap=True)
    return table


def verdict_table(rows: Sequence[AccuracyRow]) -> RenderableType:
    """Return a table with one row for each engine, precision and kind of clips."""
    table = _table("engine", "precision", "clips", "largest", "mean", "top-1", "near-ties", "")
    for row in rows:
        clips, ties = f"{row.clips} {row.kind}", str(row.ties or "")
        numbers = (f"{row.largest:.1e}", f"{row.mean:.1e}", f"{row.top_1:.1%}", ties)
        table.add_row(row.engine, row.precision, clips, *numbers, GOOD if row.good else BAD)
    return table


def verdict_legend(is_independent: bool) -> str:
    """Explain the columns of the table that `verdict_table` returns."""
    same = "same labels at 0.5 or above" if is_independent else "same best label"
    largest = "largest, mean: largest probability difference of a clip, over all clips"
    return f"{largest}; top-1: {same}, without near-ties"


def bench_table(results: Sequence[Result], sizes: Sequence[int], best: Result | None) -> RenderableType:
    """Return a table with one row for each engine and precision; the recommended one is marked."""
    table = _table("engine", "p50 ms", "p99 ms", *(f"×{size}" for size in sizes), "spread", "differs", "")
    for result in results:
        timing, row, chosen = result.timing, result.row, result is best
        name = Text.assemble(("▶ " if chosen else "  ", "green"), (str(result.variant), "bold" if chosen else ""))
        times = (f"{timing.p(50):.1f}", f"{timing.p(99):.1f}" if len(timing.lone_s) > 1 else "–")
        rates = [_rate(timing.rate(size)) if size in timing.rates else "–" for size in sizes]
        spread = f"±{timing.spread:.0%}" if timing.rates else "–"
        table.add_row(name, *times, *rates, spread, f"{row.largest:.0e}" if row else "–", _verdict(row))
    return table


def bench_legend(sizes: Sequence[int]) -> str:
    """Explain the columns of the table that `bench_table` returns."""
    together = " ".join(f"×{size}" for size in sizes)
    return f"ms: one clip; {together}: clips per second at this batch size; differs: largest difference; %: same top-1"


def _verdict(row: AccuracyRow | None) -> Text:
    if row is None:
        return Text("too slow", style="yellow")
    return Text(f"{row.top_1:.0%} ").append_text(GOOD if row.good else BAD)


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def absent_lines(absent: Mapping[str, str]) -> RenderableType:
    """Return one line for each engine that was not measured, with the reason."""
    return Group(*(Text(f"not available: {name}: {reason}", style="dim") for name, reason in absent.items()))


def bench_report(
    name: str, version: int, results: Sequence[Result], absent: Mapping[str, str], best: Result | None
) -> dict[str, Any]:
    """Return the bench results for JSON output, in milliseconds and clips per second."""
    return {
        "model": name,
        "version": version,
        "recommended": best.variant._asdict() if best else None,
        "engines": [
            result.variant._asdict()
            | {
                "lone_ms": {"p50": result.timing.p(50), "p99": result.timing.p(99), "clips": len(result.timing.lone_s)},
                "clips_per_s": {str(size): result.timing.rate(size) for size in result.timing.rates},
                "spread": result.timing.spread if result.timing.rates else None,
                "largest_difference": result.row.largest if result.row else None,
                "mean_difference": result.row.mean if result.row else None,
                "same_top_1": result.row.top_1 if result.row else None,
                "near_ties": result.row.ties if result.row else None,
                "good": result.good,
            }
            for result in results
        ],
        "absent": dict(absent),
    }
