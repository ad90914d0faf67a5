"""Commands `clipstack-models verify` and `bench`: compare engines with the model's source and with each other."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from app.settings import Settings
from triton_repo.backends.clip.clip_engines import ENGINES
from triton_repo.zoo.cli.console import COUNT, FILE, complain, console, models_option, told
from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import running

# Torch and OpenVINO take seconds to import, so the commands import them.

engine_option = click.option(
    "--engine", "engines", type=click.Choice(list(ENGINES)), multiple=True,
    help="May be given several times.",
)  # fmt: skip
weights_option = click.option("--weights", type=FILE, help="Where the file it was made from is now.")


@click.command()
@click.argument("name")
@engine_option
@click.option(
    "--precision", "precisions", type=click.Choice(["f32", "bf16", "f16"]), multiple=True,
    help="May be given several times.  [default of both: the model's]",
)  # fmt: skip
@click.option("--clips", type=COUNT, default=16, show_default=True, help="Random clips to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which random clips.")
@click.option("--videos", type=click.Path(path_type=Path), help="Folder or file: clips of real videos as well.")
@weights_option
@models_option
def verify(
    name: str,
    engines: tuple[str, ...],
    precisions: tuple[str, ...],
    clips: int,
    seed: int,
    videos: Path | None,
    weights: Path | None,
    models: Path | None,
) -> None:
    """Compare a model as it is served, or would be by another engine, with the network it was made from."""
    with told() as settings:
        model = store.installed(models or settings.model_dir, name)
        from triton_repo.zoo.benchmark import accuracy
        from triton_repo.zoo.benchmark import engines as variants
        from triton_repo.zoo.cli import verdict_tables
        from triton_repo.zoo.export.reference import origin

        source, own = origin(model, weights), variants.own(model)
        selected = [variants.Variant(e, p) for e in engines or [own.engine] for p in precisions or [own.precision]]
        clip_sets = [accuracy.ClipSet("random", accuracy.random_clips(_shape(model), clips, seed))]
        if videos:
            clip_sets.append(accuracy.ClipSet("real", _real(videos, model, settings)))
        err = console(stderr=True)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
            task = shown.add_task(f"comparing {name}", total=sum(len(clip_set.clips) for clip_set in clip_sets))
            with variants.workshop(model) as version:
                ready = {variant: variants.load(model, variant, source, version) for variant in selected}
                rows = accuracy.compare(ready, source.network, clip_sets, lambda: shown.advance(task))
        console().print(verdict_tables.verdict_table(rows))
        compared = f"version {model.versions[-1]} against {source.words}, seed {seed}"
        console().print(verdict_tables.VERDICT_WORDS, compared, style="dim", sep="\n")
        if not all(row.good for row in rows):
            allowed = "; ".join(
                f"in {precision} {accuracy.BOUNDS[precision].largest:g} for a clip and "
                f"{accuracy.BOUNDS[precision].mean:g} on average"
                for precision in dict.fromkeys(row.precision for row in rows)
            )
            raise ModelError(
                f"{name} does not answer as its source does: scores may differ by {allowed}, "
                f"and at least {accuracy.LEAST_TOP_1:.0%} of the best labels must be the same."
            )


@click.command()
@click.argument("name")
@engine_option
@click.option("--seconds", type=click.FloatRange(min=1), default=20, show_default=True, help="How long to measure.")
@click.option("--clips", type=COUNT, default=16, show_default=True, help="Random clips that accuracy is checked on.")
@click.option("--apply", is_flag=True, help="Let the model be served by the recommended engine.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@weights_option
@models_option
def bench(
    name: str,
    engines: tuple[str, ...],
    seconds: float,
    clips: int,
    apply: bool,
    as_json: bool,
    weights: Path | None,
    models: Path | None,
) -> None:
    """Measure a model in every engine that this machine can run, and recommend one.

    \b
    ms: of a lone clip; clips a second: one at a time, and several at once.
    An engine is recommended only if it answers as the network that the model was made from.
    Before the time of --seconds begins, what the engines load is made, and accuracy is checked.
    """
    with told() as settings:
        folder = models or settings.model_dir
        model = store.installed(folder, name)
        from triton_repo.zoo.benchmark import engines as variants
        from triton_repo.zoo.benchmark import run as bench_run
        from triton_repo.zoo.cli import verdict_tables
        from triton_repo.zoo.repository import apply as applying

        err = console(stderr=True)
        with variants.workshop(model) as version, err.status("...") as status:
            run = bench_run.run(model, engines, weights, seconds, clips, version, status.update)
            if as_json:
                facts = verdict_tables.bench_facts(name, model.versions[-1], run.results, run.absent, run.best)
                click.echo(json.dumps(facts, indent=2))
            else:
                status.stop()
                console().print(verdict_tables.bench_table(run.results, run.sizes, run.best))
                console().print(verdict_tables.absent_lines(run.absent))
                console().print(verdict_tables.bench_words(run.sizes), run.words(model), style="dim", sep="\n")
            if run.best is None:
                raise ModelError(f"no engine answers as the source of {name} does: none is recommended.")
            chosen, now = run.best.variant, variants.own(model)
            if apply:
                with running(settings, folder) as server:
                    applying.apply(folder, model, chosen, version, server)
                err.print(f"{name} is set to {chosen}", "" if chosen == now else f"; it was {now}", sep="")
            elif chosen != now:
                err.print(f"recommended: {chosen} instead of {now}; `clipstack-models bench {name} --apply` sets it")
            else:
                err.print(f"recommended: {chosen}, as it is")


def _shape(model: store.InstalledModel) -> tuple[int, ...]:
    return tuple(int(size) for size in model.config["input"][0]["dims"])


def _real(videos: Path, model: store.InstalledModel, settings: Settings) -> list[NDArray[np.uint8]]:
    from triton_repo.zoo.benchmark.clips import real_clips

    def refused(file: Path, error: Exception) -> None:
        complain(ModelError(f"{file} is left out: {error}"))

    return real_clips(videos, model, settings.max_clips, settings, refused)


__all__ = ["bench", "verify"]
