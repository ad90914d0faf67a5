"""Predictions with bars, models and errors for a terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ...errors import ClipstackError, ConnectFailed, JobFailed
from ...models import Match, Model, Prediction, Result
from .formatting import (
    advice,
    clock,
    frames_seen,
    media_facts,
    model_input,
    percent,
    plain,
    sent_instead,
    timings,
)

BAR_WIDTH = 40
MAX_LABEL_WIDTH = 40
MAX_LABELS = 12
NOTHING_PASSES = "none: no label passes its threshold"
KINDS = {"video": "videos", "image": "pictures"}


class Predictions:
    """One line for each prediction, best first: label, percentage, and a bar in half-character steps.

    Those of the labels in `decision` are in colour.
    """

    def __init__(self, predictions: Sequence[Prediction], decision: Sequence[str]) -> None:
        self._predictions, self._decision = predictions, decision

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        labels = [Text(plain(prediction.label)) for prediction in self._predictions]
        column = min(max((label.cell_len for label in labels), default=0), MAX_LABEL_WIDTH)
        room = min(BAR_WIDTH, max(0, options.max_width - column - 12))
        for prediction, label in zip(self._predictions, labels, strict=True):
            label.truncate(column, overflow="ellipsis", pad=True)
            bar = score_bar(prediction.score, room, options.ascii_only)
            style = "bold green" if prediction.label in self._decision else "default"
            line = Text.assemble(label, f"  {percent(prediction.score):>6}", f"  {bar}" if bar else "", style=style)
            line.no_wrap = True
            yield line


class Indented:
    """Body indented by two columns, wrapped lines too, without trailing spaces."""

    def __init__(self, body: RenderableType) -> None:
        self._body = body

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update(width=max(1, options.max_width - 2))
        for line in console.render_lines(self._body, narrower, pad=False):
            yield from (Segment("  "), *line, Segment.line())


def score_bar(score: float, width: int, ascii_only: bool) -> str:
    """Return a bar for a score of 0 to 1, at most `width` characters long."""
    full, half = divmod(round(min(max(score, 0.0), 1.0) * width * 2), 2)
    return "#" * full if ascii_only else "━" * full + "╸" * half


def result_block(file: str, result: Result) -> RenderableType:
    """Return one classified file: name, facts, a bar for each label, frames and times."""
    name = Text.assemble((plain(file), "bold"), "  ", (media_facts(result.media), "dim"))
    notes = [Text(f"! {plain(warning)}", style="yellow") for warning in result.warnings]
    how = [Text(frames_seen(result), style="dim"), Text(timings(result), style="dim")]
    if result.sent is not None:
        how.append(Text(sent_instead(result.sent), style="dim"))
    bars = Predictions(result.predictions, result.decision)
    return Group(name, Indented(Group(bars, *_decision_line(result), *notes, *how)))


def _decision_line(result: Result) -> list[Text]:
    """Return a line with the labels that pass, unless it is the best label alone."""
    if result.decision == tuple(prediction.label for prediction in result.predictions[:1]):
        return []
    return [Text(plain(f"passes: {', '.join(result.decision)}" if result.decision else NOTHING_PASSES), style="bold")]


def matches_table(matches: Sequence[Match]) -> RenderableType:
    """Return one line for each moment: similarity, times, label, video and job."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (
        ("similarity", "right"),
        ("time", "right"),
        ("label", "left"),
        ("video", "left"),
        ("job", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for match in matches:
        times = f"{clock(match.start_s)} to {clock(match.end_s)}"
        cells = (f"{match.similarity:.3f}", times, plain(match.label or ""), plain(match.name), plain(match.job))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def error_line(file: str | None, error: ClipstackError | OSError) -> Text:
    """Return one error in one line: the file and the problem."""
    message = error.message if isinstance(error, ClipstackError) else error.strerror or str(error)
    # The file is irrelevant if there is no connection.
    subject = f"{plain(file)}: " if file and not isinstance(error, ConnectFailed) else ""
    return Text.assemble(("✗ ", "bold red"), (subject, "bold"), plain(message))


def error_block(file: str | None, error: ClipstackError | OSError) -> RenderableType:
    """Return one error: the file, the problem, its code and request, and what to do."""
    more = []
    if isinstance(error, ClipstackError) and error.status is not None:
        request = f" · request {error.request_id}" if error.request_id else ""
        more.append(f"{error.code} · HTTP {error.status}{request}")
    if isinstance(error, JobFailed):
        more.append(f"{error.code} · job {error.job_id}")
    if to_do := advice(error):
        more.append(to_do)
    return Group(error_line(file, error), *(Indented(Text(plain(line), style="dim")) for line in more))


def summary(counts: Mapping[str, int], verb: str, skipped: int = 0) -> Text:
    """Return the counts of outcomes: `3 classified, 1 failed`; zero counts are left out."""
    numbers = {verb: counts.get("done", 0), **{outcome: counts.get(outcome, 0) for outcome in ("failed", "not sent")}}
    numbers["done before"] = skipped
    words = ", ".join(f"{number} {outcome}" for outcome, number in numbers.items() if number)
    return Text(words or "nothing to do", style="dim")


def models_block(models: Sequence[Model]) -> RenderableType:
    """Return the models with their clips and labels."""
    lines: list[RenderableType] = []
    for model in models:
        kinds = " and ".join(KINDS.get(kind, kind) for kind in model.default_for)
        default = f"  default for {kinds}" if kinds else "  default" if model.default else ""
        facts = f"  {model.kind} · {model_input(model)} · version {model.version}"
        lines.append(Text.assemble((plain(model.name), "bold"), (default, "green"), (plain(facts), "dim")))
        if model.description:
            lines.append(Indented(Text(plain(f"{model.title}: {model.description}"))))
        has_many = len(model.labels) > MAX_LABELS
        shown = (has_many and model.examples) or model.labels[:MAX_LABELS]
        labels = ", ".join(shown) + (f" and {len(model.labels) - len(shown)} more" if has_many else "")
        lines.append(Indented(Text(plain(labels), style="dim")))
    return Group(*lines)
