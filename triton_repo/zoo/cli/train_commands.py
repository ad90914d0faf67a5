"""Commands `clipstack-models train` and `evaluate`: a model of your own labels, and its figures on labelled files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.settings import Settings
from triton_repo.zoo import ModelError, listed
from triton_repo.zoo.cli.add_command import next_step
from triton_repo.zoo.cli.console import COUNT, FOLDER, command_settings, console, models_option
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import running

if TYPE_CHECKING:
    from triton_repo.zoo.transfer.backbones import Backbone
    from triton_repo.zoo.transfer.examples import Dataset, Example
    from triton_repo.zoo.transfer.finetune import FineTuned
    from triton_repo.zoo.transfer.install import Comparison
    from triton_repo.zoo.transfer.report import Evaluated
    from triton_repo.zoo.transfer.train import Trained

# Torch and OpenVINO take seconds to import, so the commands import them.

RUNTIME = Path(__file__).parents[3] / ".runtime"
Start = Callable[[str, int], Callable[[], None]]


@click.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--from-feedback", is_flag=True, help="Use what people confirmed and corrected, too or alone.")
@click.option("--feedback-model", help="Model whose answers they corrected.  [default: NAME]")
@click.option("--backbone", default="objects", show_default=True, help="Model that the features come from.")
@click.option("--clips", type=COUNT, default=3, show_default=True, help="Number of clips of each film to train on.")
@click.option("--frames", type=COUNT, help="Frames per clip.  [default: the backbone's, or 8]")
@click.option("--stride", type=COUNT, help="Distance between the frames of a clip, counted in frames at --fps.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frame rate that --stride refers to.")
@click.option(
    "--holdout",
    type=click.FloatRange(0.05, 0.5),
    default=0.2,
    show_default=True,
    help="Share of the files that is held out to check the model.",
)
@click.option("--multi-label", is_flag=True, help="A file can have several labels: a sigmoid for each, no softmax.")
@click.option("--finetune", is_flag=True, help="Train the backbone's last layers too; needs hundreds of files.")
@click.option("--epochs", type=COUNT, default=5, show_default=True, help="Passes over the files with --finetune.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split and the training.")
@click.option("--force", is_flag=True, help="Serve the new version even if it is worse than the version before.")
@click.option("--report", type=FOLDER, help="Folder of the report.  [default: .runtime/reports/NAME]")
@click.option("--cache", type=FOLDER, help="Folder of the features.  [default: .runtime/features]")
@models_option
def train(name: str, folder: Path | None, models: Path | None, **options: Any) -> None:
    """Train a model on your own labelled files, and serve it.

    \b
    a folder for each label:   train mine FOLDER            FOLDER/<label>/ holds pictures or videos
    a list:                    train mine LIST.csv          file,label[,start_s,end_s]
    corrections:               train mine --from-feedback [FOLDER]
    """
    if folder is None and not options["from_feedback"]:
        raise click.UsageError("name a folder or a list of labelled files, or say --from-feedback")
    if options["feedback_model"] and not options["from_feedback"]:
        raise click.UsageError("--feedback-model belongs to --from-feedback")
    with command_settings() as settings, ExitStack() as cleanup:
        examples = _examples(name, folder, settings, options, cleanup)
        _train(name, examples, models or settings.model_dir, settings, options)


def _train(name: str, examples: Sequence[Example], models: Path, settings: Settings, options: dict[str, Any]) -> None:
    from triton_repo.zoo.cli.figure_tables import figures_table
    from triton_repo.zoo.operations.add import ClipOverrides, Target
    from triton_repo.zoo.transfer import backbones, features, install
    from triton_repo.zoo.transfer import train as training
    from triton_repo.zoo.transfer.corrections import training_sides, without_lone_labels
    from triton_repo.zoo.transfer.examples import check_counts, inspect

    multi_label, seed = options["multi_label"], options["seed"]
    before = install.earlier_version(models, name)
    contents = before[1].contents if before else {}
    with _progress() as start:
        dataset = inspect(examples, multi_label, start("reading files", len(examples)))
        if not all(example.is_correction for example in examples):
            dataset = without_lone_labels(dataset)
        dataset = check_counts(dataset)
        overrides = ClipOverrides(options["frames"], options["stride"], options["fps"])
        backbone = backbones.load_backbone(options["backbone"], dataset.kind, models, overrides)
        cache = features.FeatureCache(options["cache"] or features.CACHE, backbone, options["clips"])
        wanted = training.Options(options["holdout"], seed, multi_label, training_sides(dataset.examples, contents))
        trained = training.train(dataset, cache, wanted, settings, start)
        epochs = 0
        if options["finetune"]:
            tuned = _finetuned(backbone, trained, settings, options, start)
            backbone, epochs = tuned.backbone, tuned.epochs
        if epochs:
            with tempfile.TemporaryDirectory(prefix="clipstack-features-") as folder:
                fresh = features.FeatureCache(Path(folder), backbone, options["clips"])
                trained = training.train(trained.dataset, fresh, wanted, settings, start)
        comparison = _compared(trained, before[0], settings, multi_label, start) if before else None
    _warn(trained.dataset)
    card = install.make_card(trained, backbone, multi_label, seed, epochs)
    console().print(figures_table(trained.figures))
    evaluated = _evaluated(name, trained, backbone.served.spec)
    _write_report(evaluated, options["report"] or RUNTIME / "reports" / name, settings)
    _judge(name, comparison, options["force"])
    err = console(stderr=True)
    with running(settings, models) as server:
        with err.status("...") as status:
            version = install.install(Target(models, name, server, status.update), backbone, trained, card)
        console().print(f"{name}, version {version}: {card.summary}")
        added = store.installed(models, name)
        err.print(next_step(added, server.slot_bytes if server else settings.slot_mb << 20, server), style="dim")


def _finetuned(
    backbone: Backbone, trained: Trained, settings: Settings, options: dict[str, Any], start: Start
) -> FineTuned:
    """Return the fine-tuned backbone; warn if no epoch was better than the backbone as it was."""
    from triton_repo.zoo.transfer.finetune import Side, finetune
    from triton_repo.zoo.transfer.train import truth_matrix

    labels = trained.dataset.labels
    fitted, validation = (
        Side(part, truth_matrix(part, labels).astype("float32")) for part in (trained.fitted, trained.validation)
    )
    tuned = finetune(
        backbone,
        trained.head,
        fitted,
        validation,
        clips=options["clips"],
        epochs=options["epochs"],
        multi_label=options["multi_label"],
        seed=options["seed"],
        settings=settings,
        start=start,
    )
    if not tuned.epochs:
        console(stderr=True).print("fine-tuning made no epoch better: the backbone stays as it is", style="yellow")
    return tuned


@click.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--report", type=FOLDER, help="Write report.html, report.json and confusion.png into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of tables.")
@models_option
def evaluate(name: str, folder: Path, report: Path | None, as_json: bool, models: Path | None) -> None:
    """Measure a model on labelled files: a folder for each label, or a CSV file, as for `train`.

    The model's engine looks at one clip of each file, the one that the service takes by default.
    """
    with command_settings() as settings:
        model = store.installed(models or settings.model_dir, name)
        from triton_repo.zoo.cli.figure_tables import figures_table
        from triton_repo.zoo.transfer.evaluate import answer, thresholds_of
        from triton_repo.zoo.transfer.examples import inspect, read_examples
        from triton_repo.zoo.transfer.metrics import measure
        from triton_repo.zoo.transfer.report import Evaluated
        from triton_repo.zoo.transfer.train import truth_matrix

        with _progress() as start:
            examples = read_examples(folder, model.is_independent)
            dataset = inspect(examples, model.is_independent, start("reading files", len(examples)))
            known = [e for e in dataset.examples if set(e.labels) <= set(model.labels)]
            if not known:
                raise ModelError(
                    f"{name} knows none of the labels {listed(list(dataset.labels))}: `show {name}` lists its labels."
                )
            answers = answer(model, known, settings, start("classifying", len(known)))
        thresholds = thresholds_of(model)
        unknown = [label for label in dataset.labels if label not in model.labels]
        left_out = [f"labels that {name} does not know are left out: {listed(unknown)}"] if unknown else []
        _warn(dataset, *left_out, *answers.refused)
        truths = truth_matrix(answers.examples, model.labels)
        figures = measure(answers.scores, truths, model.labels, thresholds).of_labels_with_files()
        facts = {"version": model.versions[-1]}
        if as_json:
            click.echo(json.dumps({"model": name} | facts | figures.to_json(), indent=2))
        else:
            console().print(figures_table(figures))
        if report:
            evaluated = Evaluated(
                name, model.labels, answers.examples, answers.scores, truths, figures, model.spec, facts
            )
            _write_report(evaluated, report, settings)


@contextmanager
def _progress() -> Iterator[Start]:
    """Yield a function that starts a progress bar and returns what advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    err = console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:

        def start(task: str, total: int) -> Callable[[], None]:
            bar = bars.add_task(task, total=total)
            return lambda: bars.advance(bar)

        yield start


def _examples(
    name: str, folder: Path | None, settings: Settings, options: dict[str, Any], cleanup: ExitStack
) -> list[Example]:
    """Return the examples of the folder, of the corrections, or of both; `cleanup` removes copies of files."""
    from triton_repo.zoo.transfer import features
    from triton_repo.zoo.transfer.corrections import read_corrections, readable
    from triton_repo.zoo.transfer.examples import read_examples

    multi_label = options["multi_label"]
    examples = read_examples(folder, multi_label) if folder else []
    if options["from_feedback"]:
        corrections = read_corrections(settings, options["feedback_model"] or name, multi_label)
        examples += cleanup.enter_context(readable(corrections, options["cache"] or features.CACHE))
    return examples


def _compared(
    trained: Trained, before: store.InstalledModel, settings: Settings, multi_label: bool, start: Start
) -> Comparison | None:
    from triton_repo.zoo.transfer.evaluate import answer
    from triton_repo.zoo.transfer.install import compare

    advance = start(f"version {before.versions[-1]}", len(trained.held_out))
    return compare(trained, before, answer(before, trained.held_out, settings, advance), multi_label)


def _judge(name: str, comparison: Comparison | None, force: bool) -> None:
    """Print the comparison; raise ModelError if the new version is worse, unless it is forced."""
    if comparison is None:
        return
    both = f"{comparison.new:.1%}, the version before {comparison.before:.1%}"
    words = f"{both}, on the same {comparison.files} held-out files"
    if comparison.is_worse and not force:
        raise ModelError(
            f"the new version of {name} is worse and was not added: {words}. Say --force to serve it all the same."
        )
    console(stderr=True).print(f"new version: {words}", style="dim")


def _evaluated(name: str, trained: Trained, spec: Any) -> Evaluated:
    from triton_repo.zoo.transfer.report import Evaluated

    facts = {
        "temperature": trained.temperature,
        "thresholds": trained.thresholds,
        "train": trained.train,
        "warnings": trained.dataset.warnings,
    }
    return Evaluated(
        name, trained.dataset.labels, trained.held_out, trained.scores, trained.truths, trained.figures, spec, facts
    )


def _write_report(evaluated: Evaluated, folder: Path, settings: Settings) -> None:
    from triton_repo.zoo.transfer.report import write_report

    err = console(stderr=True)
    if no_plot := write_report(evaluated, folder, settings):
        err.print(f"no confusion.png: {no_plot}", style="dim")
    err.print(f"report: {folder / 'report.html'}", style="dim")


def _warn(dataset: Dataset, *more: str) -> None:
    for warning in (*dataset.warnings, *more):
        console(stderr=True).print(f"! {warning}", style="yellow", markup=False)
