"""Commands `clipstack-models verify` and `bench`: compare engines with the model's source and with each other."""

import json
from pathlib import Path

import click
from rich.progress import Progress

from triton_repo.backends.clip.clip_engines import ENGINES
from triton_repo.zoo import ModelError
from triton_repo.zoo.cli.console import COUNT, FILE, command_settings, console, models_option, print_skipped
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import running

# Torch and OpenVINO take seconds to import, so the commands import them.

engine_option = click.option(
    "--engine", "engines", type=click.Choice(list(ENGINES)), multiple=True, help="Can be repeated."
)
weights_option = click.option("--weights", type=FILE, help="Present path of the source file, if it was moved.")


@click.command()
@click.argument("name")
@engine_option
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(["f32", "bf16", "f16", "int8"]),
    multiple=True,
    help="Can be repeated.  [default of engine and precision: the model's]",
)
@click.option("--clips", type=COUNT, default=16, show_default=True, help="Number of random clips to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random clips.")
@click.option("--videos", type=click.Path(path_type=Path), help="File or folder of videos to take more clips from.")
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
    """Compare the scores of a model with those of its source, in one or more engines."""
    with command_settings() as settings:
        model = store.installed(models or settings.model_dir, name)
        from triton_repo.backends.clip.clip_engines.accuracy import LEAST_TOP_1, random_clips
        from triton_repo.zoo.benchmark import accuracy
        from triton_repo.zoo.benchmark import engines as variants
        from triton_repo.zoo.benchmark.clips import real_clips
        from triton_repo.zoo.cli import verdict_tables
        from triton_repo.zoo.export.reference import origin

        source, own = origin(model, weights), variants.own(model)
        selected = [
            variants.Variant(e, p)
            for e in engines or [own.engine]
            for p in precisions or [variants.own_precision(model, e)]
        ]
        clip_sets = [accuracy.ClipSet("random", random_clips(model.clip_shape, clips, seed))]
        if videos:
            real = real_clips(videos, model, settings.max_clips, settings, print_skipped)
            clip_sets.append(accuracy.ClipSet("real", real))
        variants.update_record(model, [clip for clip_set in clip_sets[1:] for clip in clip_set.clips])
        err = console(stderr=True)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress_bar:
            task = progress_bar.add_task(f"comparing {name}", total=sum(len(clip_set.clips) for clip_set in clip_sets))
            with variants.workshop(model) as version:
                ready = {variant: variants.load(model, variant, source, version) for variant in selected}
                rows = accuracy.compare(
                    ready, source.network, clip_sets, lambda: progress_bar.advance(task), model.is_independent
                )
        console().print(verdict_tables.verdict_table(rows))
        comparison = f"version {model.versions[-1]} against {source.words}, seed {seed}"
        legend = verdict_tables.verdict_legend(model.is_independent)
        console().print(legend, comparison, style="dim", sep="\n")
        if not all(row.good for row in rows):
            allowed = "; ".join(
                f"in {precision} {accuracy.BOUNDS[precision].largest:g} for a clip and "
                f"{accuracy.BOUNDS[precision].mean:g} on average"
                for precision in dict.fromkeys(row.precision for row in rows)
            )
            raise ModelError(
                f"{name} differs from its source: allowed is a difference of the scores of {allowed}, "
                f"and at least {LEAST_TOP_1:.0%} of the best labels must be the same."
            )


@click.command()
@click.argument("name")
@engine_option
@click.option("--seconds", type=click.FloatRange(min=1), default=20, show_default=True, help="Time to measure.")
@click.option(
    "--clips", type=COUNT, default=16, show_default=True, help="Number of random clips for the accuracy check."
)
@click.option("--apply", is_flag=True, help="Serve the model with the recommended engine.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of a table.")
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
    """Measure a model in all engines of this machine and recommend one.

    \b
    Measures the latency of one clip in ms and the throughput in clips per second.
    Recommends only engines whose scores agree with the model's source.
    --seconds does not include the export for the engines and the accuracy check.
    """
    with command_settings() as settings:
        folder = models or settings.model_dir
        model = store.installed(folder, name)
        from triton_repo.zoo.benchmark import engines as variants
        from triton_repo.zoo.benchmark import run as bench_run
        from triton_repo.zoo.cli import verdict_tables
        from triton_repo.zoo.operations import apply as engine_choice

        err = console(stderr=True)
        with variants.workshop(model) as version, err.status("...") as status:
            run = bench_run.run(model, engines, weights, seconds, clips, version, status.update)
            if as_json:
                facts = verdict_tables.bench_report(name, model.versions[-1], run.results, run.absent, run.best)
                click.echo(json.dumps(facts, indent=2))
            else:
                status.stop()
                console().print(verdict_tables.bench_table(run.results, run.sizes, run.best))
                console().print(verdict_tables.absent_lines(run.absent))
                console().print(verdict_tables.bench_legend(run.sizes), run.words(model), style="dim", sep="\n")
            if run.best is None:
                raise ModelError(f"the scores of every engine differ from the source of {name}: none is recommended.")
            chosen, now = run.best.variant, variants.own(model)
            if apply:
                with running(settings, folder) as server:
                    engine_choice.apply(folder, model, chosen, version, server)
                err.print(f"{name} now uses {chosen}", "" if chosen == now else f" instead of {now}", sep="")
            elif chosen != now:
                err.print(f"recommended: {chosen} instead of {now}; `clipstack-models bench {name} --apply` sets it")
            else:
                err.print(f"recommended: {chosen}, as configured")
