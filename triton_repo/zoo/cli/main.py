"""Command line `clipstack-models`: `list`, `show`, `add`, `remove`; check_commands.py has `verify` and `bench`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from app.settings import CHECKOUT
from triton_repo.zoo.cli import tables
from triton_repo.zoo.cli.check_commands import bench, verify
from triton_repo.zoo.cli.console import COUNT, FILE, FOLDER, ColoursType, complain, console, models_option, told
from triton_repo.zoo.errors import ModelError
from triton_repo.zoo.repository import remove as removing
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.names import BUILT_IN, PUBLISHED, checked
from triton_repo.zoo.repository.server import TritonServer, running

# Torch, torchvision and OpenVINO take seconds to import, so only the commands that need them import them.

CACHE = CHECKOUT / ".runtime" / "weights"
LOCK = Path(__file__).parents[1] / "weights.lock"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="clipstack")
def main() -> None:
    """Add models to a Clipstack service, check them, and take them away.

    \b
    Exit codes: 0 all is well, 1 the model could not be added, found or verified,
    2 the command line is wrong.
    """
    for stream in (sys.stdout, sys.stderr):
        # Print a question mark for characters that the terminal's encoding lacks, instead of failing.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


@main.command(name="list")
@models_option
def list_models(models: Path | None) -> None:
    """List the models that are served, and those that could be added."""
    with told() as settings:
        folder = models or settings.model_dir
        models_found = []
        for name in store.names(folder):
            try:
                models_found.append(store.installed(folder, name))
            except ModelError as error:
                complain(error)
        console().print(tables.models_table(models_found, settings.model), tables.to_be_had(models_found), sep="\n\n")


@main.command()
@click.argument("name")
@models_option
def show(name: str, models: Path | None) -> None:
    """Show what a model looks at, its labels, and what it was made from."""
    with told() as settings:
        folder = models or settings.model_dir
        there = name in store.names(folder) or name not in PUBLISHED
        facts = tables.installed_facts(store.installed(folder, name)) if there else tables.published_facts(name)
        console().print(tables.facts_lines({"model": name, **facts}))


@main.command()
@click.argument("name")
@click.option("--from-file", type=FILE, help="Published checkpoint that is here already; nothing is downloaded.")
@click.option("--arch", type=click.Choice(PUBLISHED), metavar="NETWORK", help="Network of your own checkpoint.")
@click.option("--weights", type=FILE, help="Your own checkpoint: .pth, .pyth, .pt, .ckpt or .safetensors.")
@click.option("--onnx", type=FILE, help="Model of any architecture.")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), multiple=True,
    help="File or folder with weights of the ONNX model, where it is not named after it.",
)  # fmt: skip
@click.option("--labels", type=FILE, help="Text file, one label a line.  [default: as published]")
@click.option("--frames", type=COUNT, help="Frames of a clip; 1 for pictures.")
@click.option("--stride", type=COUNT, help="From one frame of a clip to the next, in frames of a video of --fps.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frames a second that --stride counts in.")
@click.option("--size", type=COUNT, help="Width and height of a frame, pixels.")
@click.option("--resize", type=COUNT, help="Short side of a frame before its middle is cut out, pixels.")
@click.option("--mean", type=ColoursType(), help="Mean of a colour scaled to 0..1.")
@click.option("--std", type=ColoursType(), help="Standard deviation of the same.")
@click.option(
    "--layout", type=click.Choice(["NCTHW", "NTCHW", "NTHWC", "NCHW", "NHWC"]), help="Input of the ONNX model."
)
@click.option(
    "--scores", type=click.Choice(["logits", "probabilities"]), default="logits", help="What the ONNX model gives."
)
@click.option("--url", help="Another address of the published checkpoint.")
@click.option("--cache", type=FOLDER, default=CACHE, help="Folder of downloads.  [default: .runtime/weights]")
@click.option(
    "--lock", type=FILE, default=LOCK, help="Checksums of downloads.  [default: triton_repo/zoo/weights.lock]"
)
@models_option
def add(
    name: str,
    from_file: Path | None,
    arch: str | None,
    weights: Path | None,
    onnx: Path | None,
    data: tuple[Path, ...],
    labels: Path | None,
    layout: str | None,
    scores: str,
    url: str | None,
    cache: Path,
    lock: Path,
    models: Path | None,
    **clip: Any,
) -> None:
    """Add a model, or the next version of one.

    \b
    a published network, downloaded:  add x3d_m
    the same from a file:             add x3d_m --from-file X3D_M.pyth
    one that you trained:             add mine --arch x3d_m --weights best.pth --labels labels.txt
    any other:                        add mine --onnx model.onnx --labels labels.txt --frames 16 --size 224
    """
    if bool(arch) != bool(weights):
        raise click.UsageError("--arch and --weights belong together")
    if sum(map(bool, (from_file, weights, onnx, url))) > 1:
        raise click.UsageError("only one of --from-file, --weights, --onnx and --url can be the source")
    if onnx and not labels:
        raise click.UsageError("--onnx needs --labels")
    if clip["std"] and min(clip["std"]) <= 0:
        raise click.BadParameter("must be above 0", param_hint="--std")
    with told() as settings:
        folder = models or settings.model_dir
        checked(name)
        if not (arch or onnx) and name not in PUBLISHED:
            raise ModelError(
                f"there is no published model {name!r}: known are {', '.join(PUBLISHED)}. For one of your own say "
                "--arch and --weights, or --onnx."
            )
        from triton_repo.zoo.repository import add as adding

        overrides, err = adding.ClipOverrides(**clip), console(stderr=True)
        file = from_file or weights or onnx or _downloaded(name, url, cache, lock)
        with running(settings, folder) as server:
            with err.status("...") as status:
                target = adding.Target(folder, name, server, status.update)
                if onnx:
                    assert labels
                    version = adding.add_onnx(target, adding.OnnxInput(onnx, layout, scores, data), labels, overrides)
                else:
                    version = adding.add_network(target, arch or name, file, labels, overrides)
            added = store.installed(folder, name)
            summary = f"{tables.looks_at(added.parameters)}, {len(added.labels)} labels"
            console().print(f"{name}, version {version}: {summary}")
            err.print(_outlook(added, server.slot_bytes if server else settings.slot_mb << 20, server), style="dim")


def _downloaded(name: str, url: str | None, cache: Path, lock: Path) -> Path:
    from triton_repo.zoo.architectures import downloads
    from triton_repo.zoo.architectures.catalog import published

    address = url or published(name).url
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    err = console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task(Path(address).name, total=None)

        def progress(have: int, total: int | None) -> None:
            shown.update(task, completed=have, total=total)

        return downloads.fetch(address, cache, downloads.Lock(lock), progress)


def _outlook(model: store.InstalledModel, slot_bytes: int, server: TritonServer | None) -> str:
    """Return the user's next step: make room for the model, or start the stack."""
    parameters = model.parameters
    clip_bytes = int(parameters["frames"]) * int(parameters["crop"]) ** 2 * 3
    if clip_bytes > slot_bytes:
        need = -(-clip_bytes // (1 << 20))
        return (
            f"its clips are larger than a slot, so it is not served yet: `make down`, then CLIPSTACK_SLOT_MB={need} "
            "`make up`; or add it with fewer --frames"
        )
    if server:
        return f"served from now on, as {model.name} and {model.name}@{model.versions[-1]}"
    return "`make up` starts a stack that serves it"


@main.command()
@click.argument("name", metavar="NAME[@VERSION]")
@models_option
def remove(name: str, models: Path | None) -> None:
    """Take a model away with all its versions, or one version of it."""
    name, at, number = name.partition("@")
    with told() as settings:
        if at and not number.isdecimal():
            raise ModelError(f"{number[:80]!r} is no version: it is a number, as in {name}@2.")
        if name == settings.model:
            raise ModelError(f"{name} is the default model: a service without it does not start. It was not removed.")
        if name in BUILT_IN:
            raise ModelError(f"{name} is built in: `make setup` would make it anew. It was not removed.")
        folder = models or settings.model_dir
        with running(settings, folder) as server:
            removing.remove(folder, name, int(number) if at else None, server)
        console().print(f"{name}{at}{number} is removed")


main.add_command(verify)
main.add_command(bench)


if __name__ == "__main__":
    sys.exit(main())
